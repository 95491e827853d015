"""A process forked from this one in which a session runs, seen from here: whether it goes on, how it ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
import warnings
from contextlib import suppress

from remediation.config.model import Project
from remediation.supervision.attempt_log import AttemptLog
from remediation.supervision.channel import Channel
from remediation.supervision.death import STACK_SIGNAL, Death, await_stack, read_stack
from remediation.supervision.family import end_family
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import FOR_EVER, Heartbeats, Phase
from remediation.system.process import group, pidfd, signal_name, terminate
from remediation.system.secrets import redacted

# How long one that is broken off has to tear its fixtures down, in seconds.
_TEARDOWN = 2.0
# How long what its checks left running may take to disappear, in seconds.
_LEFT = 1.0
# Without a pidfd, how long after the end of its channel it is looked for again, in seconds.
_LOOK_AGAIN = 0.02
# How often it is looked at, in seconds.
_LOOK = 0.25
# The end of what it printed, in bytes.
_OUTPUT = 4_000


def fork() -> int:
    """Fork; whatever threads the project's modules have started stay here."""
    with warnings.catch_warnings():
        # Python 3.12 warns of any other thread. The child has what it needs: it begins a session of its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def flush() -> None:
    """Write out what was printed, as far as there is somewhere to write it."""
    for stream in (sys.stdout, sys.stderr):
        # None if we were started without it.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


class Child:
    """A process of ours that was not waited for yet, so that its PID is its own."""

    def __init__(self, heartbeats: Heartbeats, slot: int, project: Project, known: Handover, *, apart: bool) -> None:
        """Make what it and we share, before the fork.

        One that is `apart` prints into a file of its own and leads a process group; else it has our terminal.
        """
        self._heartbeats = heartbeats
        self._project = project
        self._apart = apart
        self.slot = slot
        self.known = known
        """What it was told of the sessions before it."""
        self.log = AttemptLog()
        self.stacks = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - closed when it has ended
        self.output = tempfile.TemporaryFile() if apart else None  # noqa: SIM115 - likewise
        self._ours, self.its = socket.socketpair()
        self.pid = 0
        self.pidfd: int | None = None
        self.problem = ""
        self._death_phase = Phase.OUTSIDE
        self._hung_for: float | None = None
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
        self.log.close()
        self.stacks.close()
        if self.output:
            self.output.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def become(self) -> Channel:
        """In the child: keep its end of the channel; one that is apart gets its own group, and prints into its file."""
        self._ours.close()
        if self.output:
            os.setpgid(0, 0)
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
        if self._broken_off:
            return self._broken_off + _TEARDOWN
        # It names an earlier moment with each phase, and wakes nobody for that.
        return min(self._heartbeats.read(self.slot).deadline, time.monotonic() + _LOOK)

    @property
    def only_checks(self) -> bool:
        """Whether it has not begun to heal."""
        return not self._heartbeats.read(self.slot).heals

    @property
    def death(self) -> Death:
        """How it ended, once it has."""
        code = self.code if self.code is not None else -signal.SIGKILL
        return Death(self._death_phase, code, self._hung_for, read_stack(self.stacks.fileno()))

    def has_ended(self) -> bool:
        """Return whether it has ended; then what its checks left running is ended, and its exit code collected."""
        if self._apart and hasattr(os, "waitid"):
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
        if self._hung_for is None:
            self._death_phase = self._heartbeats.read(self.slot).phase
        if self.code < 0 and not self.problem:
            self.problem = f"killed by {signal_name(-self.code)}"
        return True

    def break_off(self) -> None:
        """Interrupt it, as Ctrl+C does; after a while it is ended."""
        if self._broken_off is None:
            self._broken_off = time.monotonic()
            os.kill(self.pid, signal.SIGINT)

    @property
    def is_overdue(self) -> bool:
        """Whether it has not gone on by the moment that it named."""
        return time.monotonic() >= self._heartbeats.read(self.slot).deadline

    def end_if_overdue(self) -> None:
        """End it with its children if it has not gone on by the moment that it named."""
        if self._broken_off is not None:
            if time.monotonic() >= self._broken_off + _TEARDOWN:
                self.end()
        elif self.is_overdue:
            self.end_hung()

    def end_hung(self) -> None:
        """End it since it hangs, once it has left its stack."""
        place = self._heartbeats.read(self.slot)
        self._death_phase, self._hung_for = place.phase, place.limit
        self._heartbeats.put(self.slot, FOR_EVER, place.phase)
        os.kill(self.pid, STACK_SIGNAL)
        await_stack(self.stacks.fileno())
        self.end()

    @property
    def hung(self) -> bool:
        """Whether it was ended because it did not go on."""
        return self._hung_for is not None

    def end(self) -> None:
        """End it at once, with all that it started but for services."""
        end_family(self.pid, self._project)

    def last_words(self) -> str:
        """Return the end of what it printed, if it printed apart."""
        if self.output is None:
            return ""
        end = self.output.seek(0, os.SEEK_END)
        self.output.seek(max(0, end - _OUTPUT))
        return redacted(self.output.read().decode(errors="backslashreplace"))
