"""Finds services whose process died and that no heal is working on, so that the monitor checks them at once."""

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

# How often to check a process for which there is no pidfd, in seconds.
POLL_SECONDS = 0.5


class Watch:
    """Watches the process of each service: by a pidfd, pidfd_open(2), or else by polling."""

    def __init__(self, store: Store) -> None:
        """Watch the processes that `store` holds."""
        self._store = store
        self._watched: dict[str, tuple[Identity, int | None]] = {}

    def refresh(self, services: Iterable[Service]) -> None:
        """Watch the processes that these services have now, and no others."""
        processes = {service.name: engine_of(service).main_process(self._store.recall(service)) for service in services}
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
        """How often to check, in seconds; None if every process has a descriptor."""
        return POLL_SECONDS if any(fd is None for _, fd in self._watched.values()) else None

    def dead(self) -> list[str]:
        """Return the services whose process has died, and stop watching them."""
        poll = select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(0)}
        # Only these are checked, since there may be a hundred services.
        suspects = [(name, identity) for name, (identity, fd) in self._watched.items() if fd is None or fd in ready]
        names = [name for name, identity in suspects if not identity.alive]
        for name in names:
            self._drop(name)
        return names

    def close(self) -> None:
        """Stop watching all processes."""
        for name in list(self._watched):
            self._drop(name)

    def _drop(self, name: str) -> None:
        _, fd = self._watched.pop(name)
        if fd is not None:
            os.close(fd)


# How often to check again while another process, or a cycle that has just begun, may handle a death, in seconds.
_RETRY_SECONDS = 0.05
# How long to leave a death to a cycle that has just begun, in seconds. An older cycle is busy with something else.
_PATIENCE = 0.25


class ProcessWatch:
    """Watches the services that have checks, and remembers those whose process died."""

    def __init__(self, project: Project, service_status: ServiceStatus) -> None:
        """Watch nothing yet. `service_status` learns at once of deaths, and of services that others have restored."""
        self._project = project
        self._service_status = service_status
        self._store = Store(project)
        self._watch = Watch(self._store)
        self._checked: list[str] = []
        self._noticed: set[str] = set()

    def watch(self, checked: Iterable[str]) -> None:
        """Watch the current processes of the services that have checks."""
        self._checked = [name for name in checked if name in self._project.services]
        self.refresh()

    def refresh(self, started: Iterable[str] = ()) -> None:
        """Watch the current processes. Services `started` meanwhile may have died before they were watched."""
        services = (self._project.services[name] for name in self._checked)
        self._watch.refresh(service for service in services if engine_of(service).knows_process)
        # Only now: a process that dies from here on is watched.
        for name in started:
            service = self._project.services.get(name)
            if service and liveness.condition(service, self._store) in (Condition.DEAD, Condition.REPLACED):
                self._notice(name)

    def notice(self) -> None:
        """Remember the services that died since the last call, even if nothing can be done for them now."""
        for name in self._watch.dead():
            self._notice(name)

    def _notice(self, name: str) -> None:
        self._noticed.add(name)
        if name in self._checked:
            self._service_status.died(name, before=self._restarted_at(self._project.services[name]))

    def _restarted_at(self, service: Service) -> float | None:
        """Return when a service was restarted, in epoch seconds, or None. The monitor may notice a death only later."""
        if self._store.proven_process(service) is None:
            return None
        try:
            # The PID file is written right after the start, long before the service is ready.
            return service.pid_file.stat().st_mtime
        except OSError:
            return None

    def close(self) -> None:
        """Stop watching all services."""
        self._watch.close()

    @property
    def fds(self) -> list[int]:
        """The descriptors that turn readable when a process dies."""
        return self._watch.fds

    @property
    def moment(self) -> float | None:
        """When to check again at the latest, on the monotonic clock; None if only descriptors matter."""
        pauses = [_RETRY_SECONDS] if self._noticed else []
        pauses += [seconds] if (seconds := self._watch.poll_seconds) else []
        return time.monotonic() + min(pauses) if pauses else None

    def _is_locked(self, service: Service) -> bool:
        """Return whether a restart by hand, another process or one of our cycles is working on a service."""
        try:
            return self._store.is_locked(service)
        except OSError:
            # If the lock cannot be read, check the service anyway. The check reports the problem.
            return False

    def take_over(self, before: ProcessWatch) -> None:
        """Take over the deaths that the watch of an earlier configuration has noticed, and close it."""
        self._noticed = {name for name in before._noticed if name in self._project.services}
        before.close()

    def urgent(self, checked_since: Callable[[str], float | None]) -> list[str]:
        """Return the services to check at once. A cycle that has just begun to check a service gets a moment first."""
        self.notice()
        urgent = []
        for name in sorted(self._noticed):
            service, since = self._project.services[name], checked_since(name)
            if self._is_locked(service):
                continue
            if liveness.condition(service, self._store) not in (Condition.DEAD, Condition.REPLACED):
                self._noticed.remove(name)
                self.refresh()
                self._report_return(service)
            elif since is None or time.time() > since + _PATIENCE:
                self._noticed.remove(name)
                if name in self._checked:
                    urgent.append(name)
        return urgent

    def _report_return(self, service: Service) -> None:
        """Report that a service is back, if its last heal saw it ready, or that it was stopped by hand."""
        state = self._store.recall(service)
        last = state.last_heal
        if state.stopped_by_hand:
            self._service_status.stopped(service.name)
        elif last and last.ok and liveness.condition(service, self._store) is Condition.RUNNING:
            self._service_status.returned(service.name, last.at)
