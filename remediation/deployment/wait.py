"""Wait for what was deployed: until each service is ready, and its new version is the one that answers."""

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

# A process that is dead for so long, in seconds, while nobody is at work on it, is not waited for: the script of a
# deployment may end one just before it starts the next.
_SETTLED = 1.0
# The least time for one look, so that the last one before the deadline can still say why there is no answer.
_LAST_LOOK = 0.1


def await_arrival(
    services: Iterable[Service], store: Store, event_log: EventLog, *, wait: float | None, versions: Mapping[str, str]
) -> None:
    """Wait until services are ready and answer with the `versions` that are expected, and tell how that went.

    All together have `wait` seconds; with None, each has its own start_timeout. What did not arrive is for the
    checks to find.
    """
    began = time.monotonic()
    for service in services:
        deadline = began + (service.start_timeout if wait is None else wait)
        _Arrival(service, store, event_log, versions.get(service.name), began).awaited(deadline)


class _Arrival:
    """One service that is waited for."""

    def __init__(self, service: Service, store: Store, event_log: EventLog, version: str | None, began: float) -> None:
        self._service = service
        self._store = store
        self._event_log = event_log
        self._version = version
        self._began = began
        self._dead_since: float | None = None

    def awaited(self, deadline: float) -> None:
        """Poll until it is there, until `deadline` on the monotonic clock, or until it is known not to come."""
        told, problem = False, None
        for left in readiness.polls(max(0.0, deadline - time.monotonic())):
            problem = self._problem(min(max(left, _LAST_LOOK), self._service.probe_timeout))
            if problem is None:
                if told:
                    self._say("arrived", seconds=self._waited)
                return
            if self._is_hopeless:
                self._say("no_arrival", problem=problem)
                return
            if not told:
                told = True
                self._say("waiting", problem=problem)
        self._say("not_arrived", seconds=self._waited, problem=problem)

    def _say(self, key: str, **values: object) -> None:
        self._event_log.log(key, name=self._service.name, **values)

    @property
    def _waited(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _problem(self, timeout: float) -> Message | str | None:
        """Say what is still missing."""
        if problem := readiness.unready(self._service, timeout=timeout):
            return problem
        return mismatch(self._service, self._version, timeout=timeout) if self._version else None

    @property
    def _is_hopeless(self) -> bool:
        """Whether its process is dead, or it was stopped by hand, and nobody is about to start it."""
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
