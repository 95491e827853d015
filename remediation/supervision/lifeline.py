"""A pipe between a supervisor and one session, whose two ends tell each of them when the other one is gone.

The supervisor keeps the end to write to, and never writes; the session, and all that it forks, has the end to read.
"""

from __future__ import annotations

import os
import select
import signal

from remediation.system.process import Identity, has_proc, pids


class Lifeline:
    """Made before the fork; then each side keeps its end of it."""

    def __init__(self) -> None:
        """Make both ends."""
        self._reader, self._writer = os.pipe()
        self._ends = os.fstat(self._reader), os.fstat(self._writer)

    def keep(self) -> None:
        """In the supervisor: keep its end."""
        os.close(self._reader)

    def close(self) -> None:
        """In the supervisor, and in what it forks for another session: let go of its end."""
        os.close(self._writer)

    def become(self) -> None:
        """In the session: be asked to end when the supervisor is gone, however it went, fcntl(2)."""
        os.close(self._writer)
        import fcntl

        if hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(self._reader, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(self._reader, fcntl.F_SETSIG, signal.SIGTERM)
            fcntl.fcntl(self._reader, fcntl.F_SETFL, fcntl.fcntl(self._reader, fcntl.F_GETFL) | os.O_ASYNC)

    def holders(self) -> list[Identity]:
        """Return what the session has forked that lives on after it, and has executed nothing since.

        It has this descriptor of the session's, and not the other end. Its environment tells nothing.
        """
        if not self._is_held:
            return []
        found = []
        for pid in pids() if has_proc() else ():
            one = Identity.of(pid) if self._is_holder(pid) else None
            if one and self._is_holder(pid):
                found.append(one)
        return found

    @property
    def _is_held(self) -> bool:
        """Whether anybody has the other end, pipe(7)."""
        poll = select.poll()
        poll.register(self._writer, 0)
        return not poll.poll(0)

    def _is_holder(self, pid: int) -> bool:
        kept, closed = self._ends
        return _has_open(pid, self._reader, kept) and not _has_open(pid, self._writer, closed)


def _has_open(pid: int, fd: int, file: os.stat_result) -> bool:
    """Return whether a process has a file open as a certain descriptor."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), file)  # noqa: PTH116 - of all processes
    except OSError:
        return False
