"""A pipe between a supervisor and one session, which shows each of them the end of the other.

The supervisor keeps the write end, and never writes. The session and all its forks have the read end.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from contextlib import suppress
from types import FrameType

from remediation.system.capabilities import has_chosen_signals, has_proc
from remediation.system.process import Identity, pids


class Lifeline:
    """The pipe. It is created before the fork, and then each side keeps its own end."""

    def __init__(self) -> None:
        """Create both ends."""
        self._reader, self._writer = os.pipe()
        self._ends = os.fstat(self._reader), os.fstat(self._writer)

    def keep(self) -> None:
        """Keep only the supervisor's end, in the supervisor."""
        os.close(self._reader)

    def close(self) -> None:
        """Close the supervisor's end, in the supervisor or in its fork for another session."""
        os.close(self._writer)

    def become(self) -> None:
        """Keep only the session's end, in the session. It receives SIGTERM when the supervisor has ended, fcntl(2).

        Where the kernel sends nothing but SIGIO, a handler turns that into SIGTERM, once the interpreter runs again.
        """
        os.close(self._writer)
        with suppress(OSError):
            fcntl.fcntl(self._reader, fcntl.F_SETOWN, os.getpid())
            if has_chosen_signals():
                fcntl.fcntl(self._reader, fcntl.F_SETSIG, signal.SIGTERM)
            else:
                signal.signal(signal.SIGIO, _terminate)
            fcntl.fcntl(self._reader, fcntl.F_SETFL, fcntl.fcntl(self._reader, fcntl.F_GETFL) | os.O_ASYNC)

    def holders(self) -> list[Identity]:
        """Return the forks that have outlived the session, and have executed no other program.

        They have the session's end open under the same number, and not the other end. Their environment shows nothing,
        so only proc(5) proves which they are.
        """
        if not self._is_held:
            return []
        holders = []
        for pid in pids() if has_proc() else ():
            identity = Identity.of(pid) if self._is_holder(pid) else None
            if identity and self._is_holder(pid):
                holders.append(identity)
        return holders

    @property
    def _is_held(self) -> bool:
        """Whether any process has the session's end open, pipe(7)."""
        poll = select.poll()
        poll.register(self._writer, 0)
        return not poll.poll(0)

    def _is_holder(self, pid: int) -> bool:
        reader, writer = self._ends
        return _has_open(pid, self._reader, reader) and not _has_open(pid, self._writer, writer)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _has_open(pid: int, fd: int, file: os.stat_result) -> bool:
    """Return whether a process has a file open as a certain descriptor."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), file)  # noqa: PTH116 - of all processes
    except OSError:
        return False
