"""Which services have to be checked at once, because their process died and nobody does anything about it."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable

from remediation.config.model import Project, Service
from remediation.engines import engine_of
from remediation.engines.engine import Condition
from remediation.healing import liveness
from remediation.monitor.service_status import ServiceStatus
from remediation.state.service_state import Store
from remediation.system.process import Identity, pidfd

# Where no pidfd tells of a death, how often it is looked for, in seconds.
POLL_SECONDS = 0.5


class Watch:
    """Watches the process of each service: by a pidfd, pidfd_open(2), or by a look now and then."""

    def __init__(self, store: Store) -> None:
        """Learn from `store` which processes these are."""
        self._store = store
        self._watched: dict[str, tuple[Identity, int | None]] = {}

    def refresh(self, services: Iterable[Service]) -> None:
        """Watch the processes that these services have now, and no others."""
        processes = {one.name: engine_of(one).main_process(self._store.recall(one)) for one in services}
        wanted = {name: identity for name, identity in processes.items() if identity}
        for name, (identity, _) in list(self._watched.items()):
            if wanted.get(name) != identity and identity.alive:
                self._drop(name)
        for name, identity in wanted.items():
            if name not in self._watched:
                self._watched[name] = (identity, pidfd(identity.pid))

    @property
    def fds(self) -> list[int]:
        """The descriptors that turn readable when a process dies."""
        return [fd for _, fd in self._watched.values() if fd is not None]

    @property
    def poll_seconds(self) -> float | None:
        """How often to look, if there is a process whose death no descriptor tells."""
        return POLL_SECONDS if any(fd is None for _, fd in self._watched.values()) else None

    def dead(self) -> list[str]:
        """Return the services whose process has died, once each; it is watched no longer."""
        poll = select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(0)}
        # Of a hundred services, only those that have something to tell are looked at.
        suspects = [(name, found[0]) for name, found in self._watched.items() if found[1] is None or found[1] in ready]
        names = [name for name, identity in suspects if not identity.alive]
        for name in names:
            self._drop(name)
        return names

    def close(self) -> None:
        """Watch nobody any more."""
        for name in list(self._watched):
            self._drop(name)

    def _drop(self, name: str) -> None:
        _, fd = self._watched.pop(name)
        if fd is not None:
            os.close(fd)


# While somebody else is at work on a service that died, or a cycle that may be about to notice, how often to look
# again, in seconds.
_LOOK_AGAIN = 0.05
# A cycle that began longer ago than this, in seconds, is held up by something else, and not waited for.
_PATIENCE = 0.25


class ProcessWatch:
    """Watches the services that have checks, and keeps in mind whose process died."""

    def __init__(self, project: Project, service_status: ServiceStatus) -> None:
        """Watch nobody yet; `standing` is told at once who died, and who came back without us."""
        self._project = project
        self._service_status = service_status
        self._store = Store(project)
        self._watch = Watch(self._store)
        self._checked: list[str] = []
        self._noticed: set[str] = set()

    def watch(self, checked: Iterable[str]) -> None:
        """Watch the processes that the services which have checks have now."""
        self._checked = [name for name in checked if name in self._project.services]
        self.refresh()

    def refresh(self, started: Iterable[str] = ()) -> None:
        """Watch the processes that they have by now; of those `started` meanwhile, nobody may have seen the death."""
        services = (self._project.services[name] for name in self._checked)
        self._watch.refresh(service for service in services if engine_of(service).knows_process)
        # After that: who dies from here on is watched.
        for name in started:
            service = self._project.services.get(name)
            if service and liveness.condition(service, self._store) in (Condition.DEAD, Condition.REPLACED):
                self._notice(name)

    def notice(self) -> None:
        """Keep in mind who has died since the last look, though nothing may be done about it now."""
        for name in self._watch.dead():
            self._notice(name)

    def _notice(self, name: str) -> None:
        self._noticed.add(name)
        if name in self._checked:
            self._service_status.died(name, before=self._began_anew(self._project.services[name]))

    def _began_anew(self, service: Service) -> float | None:
        """Return when a service was started again, in epoch seconds, if it was: we may hear late of its death."""
        if self._store.proven_process(service) is None:
            return None
        try:
            # Written at once after the start, long before it is ready.
            return service.pid_file.stat().st_mtime
        except OSError:
            return None

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

    def _is_worked_on(self, service: Service) -> bool:
        """Return whether there is a restart by hand, another process, or a cycle of ours at it."""
        try:
            return self._store.is_locked(service)
        except OSError:
            # A lock that cannot be had is no reason to look away; the check says what is wrong.
            return False

    def take_over(self, before: ProcessWatch) -> None:
        """Keep in mind what the watch over an earlier configuration has noticed, and end that."""
        self._noticed = {name for name in before._noticed if name in self._project.services}
        before.close()

    def urgent(self, checked_since: Callable[[str], float | None]) -> list[str]:
        """Return the services to check at once; what a cycle has just begun to check is left to it for a moment."""
        self.notice()
        urgent = []
        for name in sorted(self._noticed):
            service, since = self._project.services[name], checked_since(name)
            if self._is_worked_on(service):
                continue
            if liveness.condition(service, self._store) not in (Condition.DEAD, Condition.REPLACED):
                self._noticed.remove(name)
                self.refresh()
                self._tell_return(service)
            elif since is None or time.time() > since + _PATIENCE:
                self._noticed.remove(name)
                if name in self._checked:
                    urgent.append(name)
        return urgent

    def _tell_return(self, service: Service) -> None:
        """Tell that a service is back, if whoever was at work on it saw it ready, or that it is meant to be down."""
        state = self._store.recall(service)
        last = state.last_heal
        if state.stopped_by_hand:
            self._service_status.stopped(service.name)
        elif last and last.ok and liveness.condition(service, self._store) is Condition.RUNNING:
            self._service_status.returned(service.name, last.at)
