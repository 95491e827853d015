"""Readiness probes: whether a service answers as it should, and how often to ask it while it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from remediation.config.model import Service
from remediation.messages.message import Message
from remediation.probes import deadline_io, http

# Seconds between polls: the first value at first, then a twentieth of the time waited, up to the second value. So we
# notice a fast start at once, and do not flood a slow one.
_FIRST_POLL = 0.002
_LONGEST_POLL = 0.25


def polls(timeout: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[float]:
    """Yield the seconds that are left of `timeout` each time to poll, and `sleep` in between."""
    start = time.monotonic()
    while True:
        waited = time.monotonic() - start
        yield max(0.001, timeout - waited)
        waited = time.monotonic() - start
        if waited >= timeout:
            return
        sleep(min(timeout - waited, max(_FIRST_POLL, min(_LONGEST_POLL, waited / 20))))


def answers(service: Service, *, timeout: float) -> bool:
    """Return whether the service is ready, after at most about `timeout` seconds."""
    return unready(service, timeout=timeout) is None


def unready(service: Service, *, timeout: float) -> str | None:
    """Return why the service is not ready, or None if it is: 2xx at its path, a TCP connection, or no probe at all.

    It takes at most about `timeout` seconds, follows no redirect and reads no body.
    """
    address = service.address
    if address is None or service.ready == "none":
        return None
    deadline = time.monotonic() + timeout
    try:
        if service.ready == "tcp":
            deadline_io.connect_to(address, deadline).close()
            return None
        return http.get(service, service.ready, deadline=deadline).problem
    except (OSError, ValueError) as error:
        return http.why(error, service, deadline)


def asked(service: Service) -> Message:
    """Return in words what the readiness probe of a service asks."""
    return Message("asked_tcp", {}) if service.ready == "tcp" else Message("asked_path", {"path": service.ready})
