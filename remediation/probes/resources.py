"""What processes use: memory, CPU time and open files.

Reading about a process that hangs in the kernel can block, so each function runs in a thread that it can abandon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from remediation.probes.deadline_io import left, within
from remediation.system.capabilities import has_proc
from remediation.system.process import Identity

if TYPE_CHECKING:
    import psutil

Fact = TypeVar("Fact")

# Seconds over which CPU time is measured; the clock that counts it ticks a hundred times a second.
_WINDOW = 0.5
_KIB = 1024


class UnreadableError(Exception):
    """What the processes use cannot be read: they are gone, or it `is_denied`."""

    def __init__(self, *, is_denied: bool) -> None:
        """Say whether reading is denied to us."""
        super().__init__("denied" if is_denied else "gone")
        self.is_denied = is_denied


class Memory(NamedTuple):
    """The memory of several processes."""

    size: int
    """In bytes."""
    is_proportional: bool
    """Whether memory that processes share counts once (PSS), and not once for each (RSS)."""


def memory(processes: Sequence[Identity], *, deadline: float) -> Memory:
    """Return the memory that processes use: PSS if we may read it of all of them, else RSS; never what is swapped out.

    TimeoutError if that is not known before `deadline`, on the monotonic clock. UnreadableError if it may not be known.
    """
    return within(deadline, lambda: _memory(processes))


def _memory(processes: Sequence[Identity]) -> Memory:
    if has_proc():
        with suppress(PermissionError):
            # It is 0 if all are gone, or if the kernel, before 4.14, does not tell.
            if size := sum(map(_proportional, processes)):
                return Memory(size, is_proportional=True)
    sizes = list(_each(processes, lambda process: process.memory_info().rss))
    return Memory(sum(sizes), is_proportional=False)


def _proportional(identity: Identity) -> int:
    """Return the PSS of a process in bytes, proc_pid_smaps(5); 0 once it is gone."""
    try:
        text = Path(f"/proc/{identity.pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except PermissionError:
        raise
    except OSError:
        return 0
    return next((int(line.split()[1]) * _KIB for line in text.splitlines() if line.startswith("Pss:")), 0)


def cpu(find: Callable[[], Sequence[Identity]], *, deadline: float) -> float:
    """Return the CPU time that the processes that `find` returns use together, in percent of one core.

    It is measured over half a second, or half of the time until `deadline` if that is less. Processes that ended
    meanwhile count as far as their parents have waited for them. TimeoutError as for `memory`.
    """
    return within(deadline, lambda: _cpu(find, min(_WINDOW, left(deadline) / 2)))


def _cpu(find: Callable[[], Sequence[Identity]], window: float) -> float:
    before, began = _cpu_times(find()), time.monotonic()
    time.sleep(window)
    after, ended = _cpu_times(find()), time.monotonic()
    # A process that is new has used its time since. One that has ended has handed its time to its parent.
    used = sum(after.values()) - sum(before.values())
    return max(0.0, used / (ended - began) * 100)


def _cpu_times(processes: Sequence[Identity]) -> dict[int, float]:
    return dict(_each(processes, lambda process: (process.pid, sum(process.cpu_times()[:4]))))


class OpenFiles(NamedTuple):
    """The open files of one process, and how many it may have open; None if there is no limit."""

    pid: int
    opened: int
    limit: int | None

    @property
    def share(self) -> float:
        """The part of the limit in use, in percent."""
        return 100 * self.opened / self.limit if self.limit else 0.0


def open_files(processes: Sequence[Identity], *, deadline: float) -> OpenFiles:
    """Return the open files of the process that is nearest to its own limit, RLIMIT_NOFILE of getrlimit(2).

    TimeoutError and UnreadableError as for `memory`.
    """
    counts = within(deadline, lambda: list(_each(processes, _open_files)))
    return max(counts, key=lambda each: (each.share, each.opened))


def _open_files(process: psutil.Process) -> OpenFiles:
    return OpenFiles(process.pid, process.num_fds(), _limit(process))


def _limit(process: psutil.Process) -> int | None:
    import psutil

    if has_proc():
        # prlimit(2) is for the owner alone; proc_pid_limits(5) is for all.
        text = Path(f"/proc/{process.pid}/limits").read_text(encoding="ascii", errors="replace")
        soft = next((line.split()[3] for line in text.splitlines() if line.startswith("Max open files")), "")
        return int(soft) if soft.isdigit() else None
    if not hasattr(process, "rlimit"):
        return None
    soft_limit, _ = process.rlimit(psutil.RLIMIT_NOFILE)
    return None if soft_limit == psutil.RLIM_INFINITY else soft_limit


def _each(processes: Iterable[Identity], read: Callable[[psutil.Process], Fact]) -> Iterator[Fact]:
    """Yield a fact about each process that is still there. UnreadableError if there is none of which we may know it."""
    import psutil

    known = denied = 0
    for identity in processes:
        try:
            fact = read(psutil.Process(identity.pid))
        except (psutil.AccessDenied, PermissionError):
            denied += 1
        except (psutil.Error, OSError, ValueError):
            continue
        else:
            known += 1
            yield fact
    if not known:
        raise UnreadableError(is_denied=denied > 0)
