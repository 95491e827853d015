"""Watches one service from a fault on, until it answers again by a process of its own."""

from __future__ import annotations

import threading
import time

from remediation.config.model import Service
from remediation.drill.results import Struck
from remediation.probes import liveness
from remediation.state.service_state import Store
from remediation.system.process import Life

# How often it is looked at, in seconds; a look at a dead one takes next to nothing.
_POLL_SECONDS = 0.005


def is_up(service: Service, store: Store, *, owns_port: bool) -> bool:
    """Return whether the service's proven process runs and answers, and with `owns_port` listens on its port."""
    identity = store.proven_process(service)
    if identity is None or identity.life is not Life.RUNNING:
        return False
    if not liveness.answers(service, timeout=service.probe_timeout):
        return False
    return not owns_port or service.address is None or liveness.owns_port(service.address.port, identity.pid)


def is_back(service: Service, store: Store, struck: Struck, *, owns_port: bool) -> bool:
    """Return whether the service is up as `is_up` has it, by none of those that the fault left or made."""
    # One of them can still be remembered, or taken for the service, and answer nobody for as long as we would wait.
    return store.proven_process(service) not in struck.victims and is_up(service, store, owns_port=owns_port)


class Watch:
    """Measures a downtime, in a thread of its own."""

    def __init__(self, service: Service, store: Store, struck: Struck, *, owns_port: bool) -> None:
        """Begin to look."""
        self._service = service
        self._store = store
        self._struck = struck
        self._owns_port = owns_port
        self._end = threading.Event()
        self._up = threading.Event()
        self._seconds: float | None = None
        self._thread = threading.Thread(target=self._look, name="drill-watch", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(_POLL_SECONDS):
            if is_back(self._service, self._store, self._struck, owns_port=self._owns_port):
                self._seconds = time.monotonic() - self._struck.at
                self._up.set()
                return

    def downtime(self, timeout: float) -> float | None:
        """Return the seconds from the fault until the service answered; None if it does not within `timeout`."""
        self._up.wait(timeout)
        return self._seconds

    def end(self) -> None:
        """Look no longer."""
        self._end.set()
        self._thread.join(self._service.probe_timeout + 1)
