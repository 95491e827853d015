"""The latest version of each service. A thread asks for it, so a service that hangs does not delay the monitor.

It asks a service once after each run that found it up, if a source of its version is configured.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Container, Iterable

from remediation.config.model import Service
from remediation.deployment.baseline import LONGEST
from remediation.probes import version
from remediation.probes.version import NoVersionError


class Versions:
    """The versions, and the thread that asks for them as long as services are waiting."""

    def __init__(self) -> None:
        """Begin without any version."""
        self._lock = threading.Lock()
        self._pending: dict[str, Service] = {}
        self._latest: dict[str, str] = {}
        self._is_running = False

    @property
    def latest(self) -> dict[str, str]:
        """The version of each service that returned one when last asked."""
        with self._lock:
            return dict(self._latest)

    def retain(self, services: Container[str]) -> None:
        """Forget all services except these."""
        with self._lock:
            self._latest = {name: text for name, text in self._latest.items() if name in services}
            self._pending = {name: service for name, service in self._pending.items() if name in services}

    def ask(self, services: Iterable[Service]) -> None:
        """Ask services for their versions in the background, one after the other."""
        with self._lock:
            self._pending |= {service.name: service for service in services if service.version}
            if not self._pending or self._is_running:
                return
            self._is_running = True
        try:
            threading.Thread(target=self._ask, name="versions", daemon=True).start()
        except RuntimeError:
            # The system allows no more threads; the next run asks again.
            self._is_running = False

    def close(self) -> None:
        """Ask no more services."""
        self.retain(())

    def _ask(self) -> None:
        # Only the main thread handles signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while service := self._next():
            try:
                text = version.answering(service, timeout=service.probe_timeout)
            except NoVersionError:
                text = ""
            with self._lock:
                if 0 < len(text) <= LONGEST:
                    self._latest[service.name] = text
                else:
                    self._latest.pop(service.name, None)

    def _next(self) -> Service | None:
        with self._lock:
            name = next(iter(self._pending), None)
            self._is_running = name is not None
            return self._pending.pop(name) if name is not None else None
