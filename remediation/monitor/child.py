"""A fork of the fork server, seen from there."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time

from remediation.monitor.family import end_family
from remediation.monitor.messages import Channel
from remediation.monitor.pulse import FOR_EVER, NO_CHECK, Board
from remediation.primitives.process import group, pidfd, terminate
from remediation.primitives.secrets import redacted
from remediation.project.model import Project

# How long one that is broken off has to tear its fixtures down, in seconds.
_TEARDOWN = 2.0
# How long what its checks left running may take to disappear, in seconds.
_LEFT = 1.0
# Without a pidfd, how long after the end of its channel it is looked for again, in seconds.
_LOOK_AGAIN = 0.02
# The end of what it printed, in bytes.
_OUTPUT = 4_000


class Child:
    """A process of ours that was not waited for yet, so that its PID is its own."""

    def __init__(self, board: Board, slot: int, project: Project) -> None:
        """Make what it and we share, before the fork."""
        self._board = board
        self._project = project
        self.slot = slot
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        self._ours, self.its = socket.socketpair()
        self.pid = 0
        self.pidfd: int | None = None
        self.problem = ""
        self.hung = False
        """Whether it was ended because it did not go on."""
        self.check = NO_CHECK
        """The index of the check that it hung in."""
        self._broken_off: float | None = None
        self.code: int | None = None
        """Its exit code, once it has ended."""

    def born(self, pid: int) -> None:
        """In the parent: watch it."""
        self.pid = pid
        self.its.close()
        self.channel = Channel(self._ours)
        self.pidfd = pidfd(pid)

    def forget(self) -> None:
        """Let go of what we share: in a sibling, or when it has ended."""
        self.channel.close()
        self.output.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def become(self) -> Channel:
        """In the child: lead a group, print into the file of its own, and return its end of the channel."""
        os.setpgid(0, 0)
        self._ours.close()
        os.dup2(self.output.fileno(), 1)
        os.dup2(self.output.fileno(), 2)
        self.output.close()
        return Channel(self.its)

    @property
    def fds(self) -> list[int]:
        """The descriptors that tell of it."""
        fds = [self.channel.fileno()] if self.channel.open else []
        return fds if self.pidfd is None else [*fds, self.pidfd]

    @property
    def moment(self) -> float:
        """When to look after it at the latest, on the monotonic clock."""
        if self.pidfd is None and not self.channel.open:
            return time.monotonic() + _LOOK_AGAIN
        return self._broken_off + _TEARDOWN if self._broken_off else self._board.read(self.slot).deadline

    @property
    def only_checks(self) -> bool:
        """Whether it has not begun to heal."""
        return not self._board.read(self.slot).heals

    def has_ended(self) -> bool:
        """Return whether it has ended; then what its checks left running is ended, and its exit code collected."""
        if hasattr(os, "waitid"):
            if not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return False
            # Not collected yet, so that the number of its group is still its own. Services have groups of their own.
            if left := group(self.pid):
                terminate(lambda: left, signum=signal.SIGKILL, timeout=_LEFT)
        # Where there is no waitid, as on macOS, what the checks left running cannot be known for sure.
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        self.code = os.waitstatus_to_exitcode(status)
        if self.code < 0 and not self.problem:
            self.problem = f"killed by {_name(-self.code)}"
        return True

    def break_off(self) -> None:
        """Interrupt it, as Ctrl+C does; after a while it is ended."""
        if self._broken_off is None:
            self._broken_off = time.monotonic()
            os.kill(self.pid, signal.SIGINT)

    def end_if_overdue(self) -> None:
        """End it with its children if it has not gone on by the moment that it named."""
        now = time.monotonic()
        if self._broken_off is not None and now >= self._broken_off + _TEARDOWN:
            self.end()
        elif self._broken_off is None and now >= self._board.read(self.slot).deadline:
            self.hung, self.check = True, self._board.read(self.slot).check
            self._board.put(self.slot, FOR_EVER)
            self.end()

    def end(self) -> None:
        """End it at once, with all that it started but for services."""
        end_family(self.pid, self._project)

    def last_words(self) -> str:
        """Return the end of what it printed."""
        end = self.output.seek(0, os.SEEK_END)
        self.output.seek(max(0, end - _OUTPUT))
        return redacted(self.output.read().decode(errors="backslashreplace"))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
