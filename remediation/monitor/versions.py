"""Which version of each service answered last, asked beside the watch: a service that hangs holds up nobody.

A service is asked once after each run that found it well, if it is configured where it tells its version.
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
    """The versions, and the thread that asks for them while there is somebody to ask."""

    def __init__(self) -> None:
        """Know none yet."""
        self._lock = threading.Lock()
        self._to_ask: dict[str, Service] = {}
        self._known: dict[str, str] = {}
        self._at_work = False

    @property
    def known(self) -> dict[str, str]:
        """The version of each service that told one when it was asked last."""
        with self._lock:
            return dict(self._known)

    def keep(self, services: Container[str]) -> None:
        """Forget the services that are not among these."""
        with self._lock:
            self._known = {name: found for name, found in self._known.items() if name in services}
            self._to_ask = {name: service for name, service in self._to_ask.items() if name in services}

    def ask(self, services: Iterable[Service]) -> None:
        """Have services asked, one after the other; returns at once."""
        with self._lock:
            self._to_ask |= {service.name: service for service in services if service.version}
            if not self._to_ask or self._at_work:
                return
            self._at_work = True
        try:
            threading.Thread(target=self._ask, name="versions", daemon=True).start()
        except RuntimeError:
            # The system allows no more threads; the next run asks again.
            self._at_work = False

    def close(self) -> None:
        """Ask nobody any more."""
        self.keep(())

    def _ask(self) -> None:
        # Signals are for the thread that knows what to do with them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while service := self._next():
            try:
                found = version.answering(service, timeout=service.probe_timeout)
            except NoVersionError:
                found = ""
            with self._lock:
                if 0 < len(found) <= LONGEST:
                    self._known[service.name] = found
                else:
                    self._known.pop(service.name, None)

    def _next(self) -> Service | None:
        with self._lock:
            name = next(iter(self._to_ask), None)
            self._at_work = name is not None
            return self._to_ask.pop(name) if name is not None else None
