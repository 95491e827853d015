"""A child process that runs a session, seen from its parent: whether it makes progress, and how it ended."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
import warnings

from remediation.config.model import Project
from remediation.supervision.attempt_log import AttemptLog
from remediation.supervision.channel import Channel
from remediation.supervision.death import STACK_SIGNAL, Death, await_stack, read_stack
from remediation.supervision.family import end_family
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import FOR_EVER, Heartbeats, Phase
from remediation.system.capabilities import has_waitid
from remediation.system.process import Identity, group, of_this_user, pidfd, signal_name, terminate
from remediation.system.secrets import redacted

# How long an interrupted child has to tear its fixtures down, in seconds.
_TEARDOWN = 2.0
# How long to wait for the end of killed processes that its checks left running, in seconds.
_LEFT = 1.0
# Without a pidfd, how often to check for the child's end once its channel is closed, in seconds.
_POLL_CLOSED = 0.02
# How often to check the child, in seconds.
_POLL = 0.25
# How much of the end of its output to keep, in bytes.
_OUTPUT = 4_000


def fork() -> int:
    """Fork. Threads that the project's modules have started stay in the parent."""
    with warnings.catch_warnings():
        # Python 3.12 warns about any other thread. The child does not need them: it begins a session of its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Child:
    """A child process whose exit status is not collected yet, so that no other process can have its PID."""

    def __init__(
        self, heartbeats: Heartbeats, slot: int, project: Project, handover: Handover, *, is_separate: bool
    ) -> None:
        """Create what parent and child share, before the fork.

        A child that `is_separate` prints into a file of its own and leads a process group. Any other one uses the
        parent's terminal.
        """
        self._heartbeats = heartbeats
        self._project = project
        self._is_separate = is_separate
        self.slot = slot
        self.handover = handover
        """The findings of the sessions before it."""
        self.log = AttemptLog()
        self.stacks = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - closed when the child has ended
        self.output = tempfile.TemporaryFile() if is_separate else None  # noqa: SIM115 - closed when the child has ended
        self._ours, self.its = socket.socketpair()
        self.pid = 0
        self.pidfd: int | None = None
        self.problem = ""
        self._death_phase = Phase.OUTSIDE
        self._hung_for: float | None = None
        self._interrupted_at: float | None = None
        self.code: int | None = None
        """The exit code, once the child has ended."""

    def watch(self, pid: int) -> None:
        """Watch the child process `pid`, in the parent."""
        self.pid = pid
        self.its.close()
        self.channel = Channel(self._ours)
        self.pidfd = pidfd(pid)

    def close(self) -> None:
        """Close what parent and child share: in a sibling, or when the child has ended."""
        self.channel.close()
        self.log.close()
        self.stacks.close()
        if self.output:
            self.output.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def become(self) -> Channel:
        """Keep the child's end of the channel, in the child. A separate child also sets up its group and its output."""
        self._ours.close()
        if self.output:
            os.setpgid(0, 0)
            os.dup2(self.output.fileno(), 1)
            os.dup2(self.output.fileno(), 2)
            self.output.close()
        return Channel(self.its)

    @property
    def fds(self) -> list[int]:
        """The descriptors that turn readable when the child sends a message or ends."""
        fds = [self.channel.fileno()] if self.channel.open else []
        return fds if self.pidfd is None else [*fds, self.pidfd]

    @property
    def moment(self) -> float:
        """When to check the child at the latest, on the monotonic clock."""
        if self.pidfd is None and not self.channel.open:
            return time.monotonic() + _POLL_CLOSED
        if self._interrupted_at:
            return self._interrupted_at + _TEARDOWN
        # Each phase of the child may set an earlier deadline, and does not wake the parent for that.
        return min(self._heartbeats.read(self.slot).deadline, time.monotonic() + _POLL)

    @property
    def only_checks(self) -> bool:
        """Whether the child is not healing."""
        return not self._heartbeats.read(self.slot).heals

    @property
    def death(self) -> Death:
        """How the child ended, once it has."""
        code = self.code if self.code is not None else -signal.SIGKILL
        return Death(self._death_phase, code, self._hung_for, read_stack(self.stacks.fileno()))

    def has_ended(self) -> bool:
        """Return whether the child has ended. If so, kill what its checks left running, and collect its exit code."""
        if self._is_separate:
            if not self._is_zombie:
                return False
            # The status is not collected yet, so the group ID cannot be reused. Services have groups of their own.
            if left := of_this_user(group(self.pid)):
                terminate(lambda: left, signum=signal.SIGKILL, timeout=_LEFT)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        self.code = os.waitstatus_to_exitcode(status)
        if self._hung_for is None:
            self._death_phase = self._heartbeats.read(self.slot).phase
        if self.code < 0 and not self.problem:
            self.problem = f"killed by {signal_name(-self.code)}"
        return True

    @property
    def _is_zombie(self) -> bool:
        """Whether the child has ended. Its exit code stays uncollected."""
        if has_waitid():
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        # The PID still belongs to the child, so only its zombie can have no identity.
        return Identity.of(self.pid) is None

    def interrupt(self) -> None:
        """Interrupt the child, as Ctrl+C does. `end_if_overdue` kills it if that takes too long."""
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            os.kill(self.pid, signal.SIGINT)

    @property
    def is_overdue(self) -> bool:
        """Whether the child has missed the deadline of its heartbeat."""
        return time.monotonic() >= self._heartbeats.read(self.slot).deadline

    def end_if_overdue(self) -> None:
        """Kill the child and its descendants if it has missed its deadline."""
        if self._interrupted_at is not None:
            if time.monotonic() >= self._interrupted_at + _TEARDOWN:
                self.end()
        elif self.is_overdue:
            self.end_hung()

    def end_hung(self) -> None:
        """Kill the hung child, once it has written its stack."""
        heartbeat = self._heartbeats.read(self.slot)
        self._death_phase, self._hung_for = heartbeat.phase, heartbeat.limit
        self._heartbeats.put(self.slot, FOR_EVER, heartbeat.phase)
        os.kill(self.pid, STACK_SIGNAL)
        await_stack(self.stacks.fileno())
        self.end()

    @property
    def hung(self) -> bool:
        """Whether the child was killed because it hung."""
        return self._hung_for is not None

    def end(self) -> None:
        """Kill the child with everything that it started, except services."""
        end_family(self.pid, self._project)

    def last_output(self) -> str:
        """Return the end of a separate child's output, without secrets."""
        if self.output is None:
            return ""
        end = self.output.seek(0, os.SEEK_END)
        self.output.seek(max(0, end - _OUTPUT))
        return redacted(self.output.read().decode(errors="backslashreplace"))
