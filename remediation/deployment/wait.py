"""Waits for a deployment: until each service is ready and answers with its new version."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from remediation.config.model import Service
from remediation.deployment.versions import mismatch
from remediation.engines.engine import Condition
from remediation.healing import liveness
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store

# The wait ends when a process has been dead for this long, in seconds, and no healer holds its lock. It does not end
# earlier, since a deployment script may end a process just before it starts the next.
_SETTLED = 1.0
# The shortest time for one probe, in seconds, so that the last one before the deadline can still find the reason.
_LAST_PROBE = 0.1


def await_arrival(
    services: Iterable[Service], store: Store, event_log: EventLog, *, wait: float | None, versions: Mapping[str, str]
) -> None:
    """Wait until services are ready and answer with the expected `versions`, and log the outcome.

    All services together have `wait` seconds; with None, each has its own start_timeout. The checks find the services
    that did not arrive.
    """
    began = time.monotonic()
    for service in services:
        deadline = began + (service.start_timeout if wait is None else wait)
        _Arrival(service, store, event_log, versions.get(service.name), began).wait_until(deadline)


class _Arrival:
    """The wait for one service."""

    def __init__(self, service: Service, store: Store, event_log: EventLog, version: str | None, began: float) -> None:
        self._service = service
        self._store = store
        self._event_log = event_log
        self._version = version
        self._began = began
        self._dead_since: float | None = None

    def wait_until(self, deadline: float) -> None:
        """Poll until the service has arrived or cannot arrive any more, or until `deadline` on the monotonic clock."""
        logged, problem = False, None
        for left in readiness.polls(max(0.0, deadline - time.monotonic())):
            problem = self._problem(min(max(left, _LAST_PROBE), self._service.probe_timeout))
            if problem is None:
                if logged:
                    self._log("arrived", seconds=self._waited)
                return
            if self._cannot_arrive:
                self._log("no_arrival", problem=problem)
                return
            if not logged:
                logged = True
                self._log("waiting", problem=problem)
        self._log("not_arrived", seconds=self._waited, problem=problem)

    def _log(self, key: str, **values: object) -> None:
        self._event_log.log(key, name=self._service.name, **values)

    @property
    def _waited(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _problem(self, timeout: float) -> Message | str | None:
        """Return why the service has not arrived yet, or None."""
        if problem := readiness.unready(self._service, timeout=timeout):
            return problem
        return mismatch(self._service, self._version, timeout=timeout) if self._version else None

    @property
    def _cannot_arrive(self) -> bool:
        """Whether the process is dead, suspended or stopped by hand, and nothing is about to start it."""
        dead = liveness.condition(self._service, self._store) in (
            Condition.DEAD,
            Condition.SUSPENDED,
            Condition.BY_HAND,
        )
        if not dead or self._store.is_locked(self._service):
            self._dead_since = None
            return False
        self._dead_since = self._dead_since or time.monotonic()
        return time.monotonic() - self._dead_since >= _SETTLED
