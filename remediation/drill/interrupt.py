"""Interrupts the drill only where it waits, so that nothing is left half-done."""

from __future__ import annotations

import select
import subprocess
import time
from contextlib import suppress
from os import close

from remediation.drill.results import InterruptedDrillError
from remediation.engines.spawn import reap
from remediation.system.process import pidfd
from remediation.system.signals import Signals

# How often a child is polled, in seconds.
_POLL_SECONDS = 0.02


class Interrupts:
    """Waits, and notices meanwhile that the drill should end."""

    def __init__(self, signals: Signals) -> None:
        """Listen to `signals`."""
        self._signals = signals
        self._asked = False

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal has asked the drill to end."""
        self._asked = self._asked or bool(self._signals.wishes())
        return self._asked

    def raise_if_asked(self) -> None:
        """Raise InterruptedDrillError if a signal has asked the drill to end."""
        if self.asked_to_end:
            raise InterruptedDrillError

    def sleep(self, seconds: float) -> None:
        """Sleep; InterruptedDrillError as soon as a signal asks the drill to end."""
        self._wait(seconds, None)
        self.raise_if_asked()

    def child(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        """Return whether a child ends within some seconds; InterruptedDrillError as in `sleep`.

        Meanwhile, services that the drill itself has started, and that the child ends, do not stay as zombies: servers
        that look at their old PID would take one for themselves.
        """
        deadline, fd = time.monotonic() + seconds, pidfd(child.pid)
        try:
            while child.poll() is None and (left := deadline - time.monotonic()) > 0:
                self.raise_if_asked()
                self._wait(min(left, _POLL_SECONDS), fd)
                reap()
            self.raise_if_asked()
            return child.poll() is not None
        finally:
            if fd is not None:
                close(fd)

    def _wait(self, seconds: float, fd: int | None) -> None:
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        if fd is not None:
            poll.register(fd, select.POLLIN)
        with suppress(OverflowError):
            poll.poll(max(0.0, seconds) * 1000)
