"""Tell the project's hooks of events, in forks of the fork server: a hook there can neither delay nor break a cycle."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from remediation.healing.hooks import HOOK_SECONDS, HealEvent
from remediation.supervision.child import fork
from remediation.system.process_exit import clear_exit_functions, exit_at_once

# Events that wait; the oldest are dropped, since a hook that is so far behind hangs.
MOST_WAITING = 20
# How much longer than its hooks a fork may live, in seconds: one may hang where no thread of Python can go on.
_GRACE = 5.0
# How often to look whether the fork has ended, in seconds.
_POLL = 0.25


class HookForks:
    """The fork that calls hooks now, one at a time, so that events keep their order. It ends by itself."""

    def __init__(self, notify: Callable[[HealEvent], None], close: Callable[[], None]) -> None:
        """Call `notify` with each event, in a fork that first calls `close`."""
        self._notify = notify
        self._close = close
        self._waiting = deque[HealEvent](maxlen=MOST_WAITING)
        self._pid: int | None = None

    def tell(self, event: HealEvent) -> None:
        """Call the hooks for an event, after those for all earlier ones."""
        self._waiting.append(event)

    def attend(self) -> bool:
        """Begin what waits, and return whether a fork is running."""
        if self._pid is not None and _has_ended(self._pid):
            self._pid = None
        if self._pid is None and self._waiting:
            events = list(self._waiting)
            self._waiting.clear()
            # Without a process for it, the events are lost.
            with suppress(OSError):
                pid = fork()
                if pid == 0:
                    self._run(events)
                self._pid = pid
        return self._pid is not None

    def _run(self, events: list[HealEvent]) -> None:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, len(events) * HOOK_SECONDS + _GRACE)
            clear_exit_functions()
            self._close()
            for event in events:
                self._notify(event)
        finally:
            # Even after an exception: this process must not go on as a second fork server.
            exit_at_once(0)

    @property
    def moment(self) -> float | None:
        """When to look again, on the monotonic clock; None if no fork is running."""
        return time.monotonic() + _POLL if self._pid is not None else None


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
