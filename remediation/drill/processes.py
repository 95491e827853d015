"""What a fault does to a process of the service, and only to the one that was meant."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable
from pathlib import Path

from remediation.system.process import Identity, Life, send, terminate

# How long a process may take to be gone after SIGKILL.
_SECONDS = 5.0
_FEWEST_PIDS = 32_768


def kill(identities: Iterable[Identity]) -> list[Identity]:
    """Kill processes by SIGKILL, and return those that are left."""
    fixed = list(identities)
    return terminate(lambda: fixed, signum=signal.SIGKILL, timeout=_SECONDS)


def resume(identities: Iterable[Identity]) -> None:
    """Let suspended processes go on."""
    send((one for one in identities if one.life is Life.SUSPENDED), signal.SIGCONT)


def nobodys_pid(rng: random.Random) -> int:
    """Return a PID that no process and no thread has now, as far from those to come as can be."""
    try:
        limit = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        limit = _FEWEST_PIDS
    while True:
        # The kernel gives them out in order, so that the ones above are free for longest.
        pid = rng.randrange(limit // 2, limit)
        if Identity.of(pid) is None and not Path(f"/proc/{pid}").exists():
            return pid
