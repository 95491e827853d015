"""Observes a service from a fault until its own process answers again, and finds its stray processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from remediation.config.model import Service
from remediation.drill.results import InjectedFault
from remediation.engines import ownership
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.state.service_state import Store
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity, Life, descendants, describe, value_of

# How often the service is polled, in seconds. Polling a dead service costs next to nothing.
_POLL_SECONDS = 0.005


def is_up(service: Service, store: Store, *, owns_port: bool) -> bool:
    """Return whether the service's proven process runs and answers, and with `owns_port` listens on its port."""
    identity = store.proven_process(service)
    if identity is None or identity.life is not Life.RUNNING:
        return False
    if not readiness.answers(service, timeout=service.probe_timeout):
        return False
    return not owns_port or service.address is None or ownership.owns(service.address.endpoint, identity.pid)


def is_back(service: Service, store: Store, injected: InjectedFault, *, owns_port: bool) -> bool:
    """Return whether the service is up as in `is_up`, by a process that the fault neither hit nor made."""
    # The state may still name such a process, and it may not answer for as long as we would wait.
    return store.proven_process(service) not in injected.victims and is_up(service, store, owns_port=owns_port)


class Observer:
    """Measures a downtime, in a thread of its own."""

    def __init__(self, service: Service, store: Store, injected: InjectedFault, *, owns_port: bool) -> None:
        """Begin to poll."""
        self._service = service
        self._store = store
        self._injected = injected
        self._owns_port = owns_port
        self._end = threading.Event()
        self._up = threading.Event()
        self._seconds: float | None = None
        self._thread = threading.Thread(target=self._poll, name="drill-watch", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._end.wait(_POLL_SECONDS):
            if is_back(self._service, self._store, self._injected, owns_port=self._owns_port):
                self._seconds = time.monotonic() - self._injected.at
                self._up.set()
                return

    def downtime(self, timeout: float) -> float | None:
        """Return the seconds from the fault until the service answered; None if it does not within `timeout`."""
        self._up.wait(timeout)
        return self._seconds

    def end(self) -> None:
        """Stop polling."""
        self._end.set()
        self._thread.join(self._service.probe_timeout + 1)


# A service may start and end processes itself. A process that ends within this many seconds is not a stray.
_PATIENCE = 1.0
_END_POLL_SECONDS = 0.02


def strays(service: Service, store: Store, victims: Iterable[Identity] = ()) -> list[Message]:
    """Return a message for each process of a service that is left over besides its server."""
    deadline = time.monotonic() + _PATIENCE
    while left_over := _strays(service, store, victims):
        if time.monotonic() > deadline:
            return [Message("drill_left", {"holder": describe(process.pid)}) for process in left_over]
        time.sleep(_END_POLL_SECONDS)
    return []


def _strays(service: Service, store: Store, victims: Iterable[Identity]) -> list[Identity]:
    server = store.proven_process(service)
    own = set(descendants([server])) if server else set()
    suspects = [
        *ownership.family(service, store.recall(service)),
        *(victim for victim in victims if value_of(SERVICE_MARK, victim.pid) is None),
    ]
    return [suspect for suspect in dict.fromkeys(suspects) if suspect not in own and suspect.alive]
