"""A pipe between a supervisor and one session, which shows each of them the end of the other.

The supervisor keeps the write end, and never writes. The session and all its forks have the read end.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import tempfile
import time
from contextlib import suppress
from types import FrameType

from remediation.system.capabilities import has_chosen_signals, has_proc
from remediation.system.environment import RUN_MARK, value
from remediation.system.process import Identity, pids, value_of

# What a process writes before it forks.
_FORKS = "forks"
# How long a fork may take to register, and how often to check, in seconds.
_REGISTERED_WITHIN, _POLL = 1.0, 0.005


class Lifeline:
    """The pipe. It is created before the fork, and then each side keeps its own end."""

    def __init__(self) -> None:
        """Create both ends."""
        self._reader, self._writer = os.pipe()
        self._ends = os.fstat(self._reader), os.fstat(self._writer)
        self._forks = None if has_proc() else _Forks()

    def keep(self) -> None:
        """Keep only the supervisor's end, in the supervisor."""
        os.close(self._reader)

    def close(self) -> None:
        """Close the supervisor's end, in the supervisor or in its fork for another session."""
        os.close(self._writer)
        if self._forks:
            self._forks.close()

    def become(self) -> None:
        """Keep only the session's end, in the session. It receives SIGTERM when the supervisor has ended, fcntl(2).

        Where the kernel sends nothing but SIGIO, a handler turns that into SIGTERM, once the interpreter runs again.
        """
        os.close(self._writer)
        if self._forks:
            self._forks.register()
        with suppress(OSError):
            fcntl.fcntl(self._reader, fcntl.F_SETOWN, os.getpid())
            if has_chosen_signals():
                fcntl.fcntl(self._reader, fcntl.F_SETSIG, signal.SIGTERM)
            else:
                signal.signal(signal.SIGIO, _terminate)
            fcntl.fcntl(self._reader, fcntl.F_SETFL, fcntl.fcntl(self._reader, fcntl.F_GETFL) | os.O_ASYNC)

    def holders(self) -> list[Identity]:
        """Return the forks that have outlived the session, and have executed no other program.

        They have the session's end open under the same number, and not the other end. Their environment shows nothing.
        """
        if not self._is_held:
            return []
        if self._forks:
            return self._forks.unexecuted()
        holders = []
        for pid in pids():
            identity = Identity.of(pid) if self._is_holder(pid) else None
            if identity and self._is_holder(pid):
                holders.append(identity)
        return holders

    @property
    def _is_held(self) -> bool:
        """Whether any process has the session's end open, pipe(7). Without an answer, as on macOS, one may have."""
        poll = select.poll()
        poll.register(self._writer, 0)
        return not poll.poll(0)

    def _is_holder(self, pid: int) -> bool:
        reader, writer = self._ends
        return _has_open(pid, self._reader, reader) and not _has_open(pid, self._writer, writer)


class _Forks:
    """The forks of a session and of its forks, where no proc(5) shows who has the pipe open: each registers itself."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - closed with the lifeline

    def register(self) -> None:
        """Let all forks of this process register."""
        # Needs what a fork then need not import.
        Identity.of(os.getpid())
        os.register_at_fork(before=lambda: self._write(_FORKS), after_in_child=self._register)

    def _register(self) -> None:
        identity = Identity.of(os.getpid())
        self._write(f"{identity.pid} {identity.born}" if identity else "")

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._file.write(f"{line}\n".encode())

    def unexecuted(self) -> list[Identity]:
        """Return the live forks that have executed no other program, which would have the run's mark."""
        import psutil

        program, run, found = psutil.Process().cmdline(), value(RUN_MARK), []
        for identity in self._registered():
            with suppress(psutil.Error):
                is_fork = value_of(RUN_MARK, identity.pid) != run and psutil.Process(identity.pid).cmdline() == program
                if is_fork and identity.alive:
                    found.append(identity)
        return found

    def _registered(self) -> list[Identity]:
        deadline = time.monotonic() + _REGISTERED_WITHIN
        while True:
            lines = os.pread(self._file.fileno(), os.fstat(self._file.fileno()).st_size, 0).decode().splitlines()
            forks = [line.split() for line in lines if line != _FORKS]
            if len(forks) >= len(lines) - len(forks) or time.monotonic() >= deadline:
                return [Identity(int(fork[0]), fork[1]) for fork in forks if fork]
            time.sleep(_POLL)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _has_open(pid: int, fd: int, file: os.stat_result) -> bool:
    """Return whether a process has a file open as a certain descriptor."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), file)  # noqa: PTH116 - of all processes
    except OSError:
        return False
