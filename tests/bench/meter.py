"""What processes have used: CPU time to the nanosecond where the system tells, and how often they woke up."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def cpu(processes: Iterable[psutil.Process]) -> float:
    """Return the seconds of CPU that processes have used, with the children that they have waited for."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error, OSError):
            times = process.cpu_times()
            # Their own time comes in hundredths of a second, which is more than a cheap watch uses.
            own = _own(process.pid) if sys.platform == "linux" else times.user + times.system
            total += own + times.children_user + times.children_system
    return total


def switches(processes: Iterable[psutil.Process]) -> int:
    """Return how often the threads of processes gave up the CPU or lost it; Linux only."""
    total = 0
    for process in processes:
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            with suppress(OSError):
                lines = (line.partition(":") for line in status.read_text().splitlines())
                total += sum(int(value) for name, _, value in lines if name.endswith("_ctxt_switches"))
    return total


def _own(pid: int) -> float:
    """Ask the clock of a process, whose number clock_getcpuclockid(3) makes of its PID in this way."""
    return time.clock_gettime(~pid << 3 | 2)
