"""The monitor's side of the fork server: start it, give it orders, hear its news, end it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from remediation.monitor.family import end_family
from remediation.monitor.messages import Channel, News, Order
from remediation.session.rounds import TERMINAL_FD

# The end of what it printed that explains why it did not come up, in lines and bytes.
_LINES, _OUTPUT = 30, 8_000
# How long it may take to collect, in seconds, before it counts as hung.
COLLECT_TIMEOUT = 120.0


class WarmSession:
    """A fork server with the checks as they are now."""

    def __init__(self, root: Path, arguments: Sequence[str], terminal_fd: int) -> None:
        """Start one in the project's folder; it tells when it is ready."""
        self._root = root
        ours, its = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        with its:
            command = [sys.executable, "-m", "remediation.monitor.forkserver", str(its.fileno()), *arguments]
            self._process = subprocess.Popen(
                command, cwd=root, env=os.environ | {TERMINAL_FD: str(terminal_fd)},
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
                # The terminal's Ctrl+C is for the monitor alone.
                start_new_session=True, pass_fds=(its.fileno(), terminal_fd),
            )  # fmt: skip
        self.channel = Channel(ours)
        self.began = time.monotonic()
        self.services: list[str] = []
        """The services that have checks, once it is ready."""
        self.files: list[str] = []

    def order(self, message: Order) -> None:
        """Give an order."""
        self.channel.send(message)

    def news(self) -> list[News]:
        """Return what it has said; waits if it says nothing."""
        return self.channel.receive(News)

    def pending(self) -> bool:
        """Return whether there is something to hear."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        return self.channel.open and bool(poll.poll(0))

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
            end_family(self._process.pid)
            # What it could not do itself.
            for left in (self._root / ".auto-heal").glob(f"run-{self._process.pid}-*"):
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """Let go of it."""
        self.channel.close()
        self._output.close()

    def last_words(self) -> list[str]:
        """Return the end of what it printed."""
        end = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, end - _OUTPUT))
        return self._output.read().decode(errors="backslashreplace").splitlines()[-_LINES:]
