"""The monitor's side of the fork server: start it, give it orders, hear its news, end it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from remediation.config.model import Project
from remediation.monitor.protocol import News, Order
from remediation.supervision.channel import Channel
from remediation.supervision.family import end_family
from remediation.supervision.round_files import TERMINAL_FD
from remediation.system.process import pidfd
from remediation.system.secrets import redacted

# The end of what it printed that explains why it did not come up, in lines and bytes.
_LINES, _OUTPUT = 30, 8_000
# How long it may take to collect, in seconds, before it counts as hung.
COLLECT_TIMEOUT = 120.0


# How soon it has to confirm an order, in seconds, before it counts as hung.
_CONFIRMED_WITHIN = 15.0


class WarmSession:
    """A fork server with the checks as they are now."""

    def __init__(self, project: Project, arguments: Sequence[str], terminal_fd: int) -> None:
        """Start one in the project's folder; it tells when it is ready."""
        self._project = project
        ours, its = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        with its:
            command = [sys.executable, "-m", "remediation.monitor.forkserver", str(its.fileno()), *arguments]
            self._process = subprocess.Popen(
                command, cwd=project.root, env=os.environ | {TERMINAL_FD: str(terminal_fd)},
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
                # The terminal's Ctrl+C is for the monitor alone.
                start_new_session=True, pass_fds=(its.fileno(), terminal_fd),
            )  # fmt: skip
        self.channel = Channel(ours)
        self.began = time.monotonic()
        self._pidfd = pidfd(self._process.pid)
        self.late_at: float | None = None
        self.services: list[str] = []
        """The services that have checks, once it is ready."""
        self.files: list[str] = []

    def order(self, message: Order) -> None:
        """Give an order, which it has to confirm before `late_at`, on the monotonic clock."""
        self.channel.send(message)
        if self.late_at is None:
            self.late_at = time.monotonic() + _CONFIRMED_WITHIN

    def taken(self, *, is_busy: bool) -> None:
        """Note that it has confirmed; as long as it is busy, it does so again and again."""
        self.late_at = time.monotonic() + _CONFIRMED_WITHIN if is_busy else None

    @property
    def fds(self) -> list[int]:
        """The descriptors that tell of it: a process that it has started could keep the channel open."""
        fds = [self.channel.fileno()] if self.channel.open else []
        return fds if self._pidfd is None else [*fds, self._pidfd]

    def notice_end(self) -> None:
        """If its process has ended and all that it has said is heard, close the channel, whoever else holds it."""
        if self.channel.open and self._process.poll() is not None and not self.channel.has_news:
            self.channel.close()

    def news(self) -> list[News]:
        """Return what it has said; waits if it says nothing."""
        return self.channel.receive(News)

    def wait(self) -> int:
        """Wait for its end, after its channel closed, and return its exit code."""
        try:
            return self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End it at once, with all that it started but for services."""
        if self._process.poll() is None:
            end_family(self._process.pid, self._project)
            # What it could not do itself.
            for left in self._project.memory.glob(f"run-{self._process.pid}-*"):
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """Let go of it."""
        self.channel.close()
        self._output.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def last_words(self) -> list[str]:
        """Return the end of what it printed."""
        end = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, end - _OUTPUT))
        return redacted(self._output.read().decode(errors="backslashreplace")).splitlines()[-_LINES:]
