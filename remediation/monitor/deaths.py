"""Which services have to be checked at once, because their process died and nobody does anything about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from remediation.healer import look
from remediation.healer.look import Condition
from remediation.monitor.watch import Watch
from remediation.project.memory import Store
from remediation.project.model import Project

# While somebody else is at work on a service that died, or a cycle that may be about to notice, how often to look
# again, in seconds.
_LOOK_AGAIN = 0.05
# How long such a cycle is waited for before the death is looked into beside it, in seconds.
_PATIENCE = 0.25


class Deaths:
    """Watches the services that have checks, and keeps in mind whose process died."""

    def __init__(self, project: Project) -> None:
        """Watch nobody yet."""
        self._project = project
        self._store = Store(project)
        self._watch = Watch(self._store)
        self._checked: list[str] = []
        self._noticed: dict[str, float] = {}

    def watch(self, checked: Iterable[str]) -> None:
        """Watch the processes that the services which have checks have now."""
        self._checked = [name for name in checked if name in self._project.services]
        self.refresh()

    def refresh(self) -> None:
        """Watch the processes that they have by now."""
        services = (self._project.services[name] for name in self._checked)
        self._watch.refresh(service for service in services if service.command)

    def close(self) -> None:
        """Watch nobody any more."""
        self._watch.close()

    @property
    def fds(self) -> list[int]:
        """The descriptors that tell of a death."""
        return self._watch.fds

    @property
    def moment(self) -> float | None:
        """When to ask again at the latest, on the monotonic clock."""
        pauses = [_LOOK_AGAIN] if self._noticed else []
        pauses += [seconds] if (seconds := self._watch.poll_seconds) else []
        return time.monotonic() + min(pauses) if pauses else None

    def urgent(self, is_checked_now: Callable[[str], bool]) -> list[str]:
        """Return the services to check at once; what a cycle checks now is left to it for a moment."""
        now = time.monotonic()
        for name in self._watch.dead():
            self._noticed.setdefault(name, now)
        urgent = []
        for name, noticed in list(self._noticed.items()):
            service = self._project.services[name]
            if self._store.is_locked(service):
                # A restart by hand, another process, or a cycle of ours.
                continue
            if look.condition(service, self._store) not in (Condition.DEAD, Condition.REPLACED):
                del self._noticed[name]
                self.refresh()
            elif now >= noticed + _PATIENCE or not is_checked_now(name):
                del self._noticed[name]
                urgent.append(name)
        return urgent
