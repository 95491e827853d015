"""Tell the project's hooks of events, in forks of the fork server: a hook there can neither delay nor break a cycle."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from remediation.healing.hooks import HOOK_SECONDS, HealEvent
from remediation.supervision.child import fork
from remediation.system.process_exit import clear_exit_functions, exit_at_once

# Forks at the same time; further events are dropped, since hooks that take so long hang.
MOST = 10
# How long a fork may live, in whole seconds, alarm(2): a hook may hang where no thread of Python can go on.
_LONGEST_LIFE = int(HOOK_SECONDS) + 5
# How often to look for forks that have ended, in seconds, while there are any.
_POLL = 0.5


class HookForks:
    """The forks that call hooks now. Each ends by itself."""

    def __init__(self, notify: Callable[[HealEvent], None], close: Callable[[], None]) -> None:
        """Call `notify` with each event, in a fork that first calls `close`."""
        self._notify = notify
        self._close = close
        self._pids: set[int] = set()

    def tell(self, event: HealEvent) -> None:
        """Call the hooks for an event, unless too many hang or the system refuses a process."""
        if len(self._pids) >= MOST:
            return
        with suppress(OSError):
            pid = fork()
            if pid == 0:
                self._run(event)
            self._pids.add(pid)

    def _run(self, event: HealEvent) -> None:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LONGEST_LIFE)
            clear_exit_functions()
            self._close()
            self._notify(event)
        finally:
            # Even after an exception: this process must not go on as a second fork server.
            exit_at_once(0)

    @property
    def are_running(self) -> bool:
        """Whether a fork is running. Those that have ended are waited for."""
        for pid in list(self._pids):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            self._pids.discard(pid)
        return bool(self._pids)

    @property
    def moment(self) -> float | None:
        """When to look again, on the monotonic clock; None if no fork is running."""
        return time.monotonic() + _POLL if self._pids else None
