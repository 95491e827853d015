"""Readiness probes: whether a service answers as it should, and how often to ask it while it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from remediation.config.model import Service
from remediation.messages.message import Message
from remediation.probes import deadline_io, http

# Seconds between polls: the first value at first, then a twentieth of the time waited, up to the second value. So we
# notice a fast start at once, and do not flood a slow one.
_FIRST_POLL = 0.002
_LONGEST_POLL = 0.25

_UNAUTHORIZED = 401


def polls(timeout: float, sleep: Callable[[float], object] = time.sleep) -> Iterator[float]:
    """Yield the seconds that are left of `timeout` each time to poll, and `sleep` in between."""
    start = time.monotonic()
    while True:
        waited = time.monotonic() - start
        yield max(0.001, timeout - waited)
        waited = time.monotonic() - start
        if waited >= timeout:
            return
        sleep(min(timeout - waited, max(_FIRST_POLL, min(_LONGEST_POLL, waited / 20))))


class Probed(NamedTuple):
    """The result of a readiness probe."""

    problem: str | None = None
    """Why the service is not ready; None if it is."""
    asks_credentials: bool = False
    """Whether it is up, but asks for credentials that the configuration does not have."""


def answers(service: Service, *, timeout: float) -> bool:
    """Return whether the service is ready, after at most about `timeout` seconds."""
    return unready(service, timeout=timeout) is None


def unready(service: Service, *, timeout: float) -> str | None:
    """Return why the service is not ready, or None if it is."""
    return probe(service, timeout=timeout).problem


def probe(service: Service, *, timeout: float) -> Probed:
    """Ask whether the service is ready: 2xx at its path, a TCP connection, or no probe at all.

    If the configuration has no credentials, 401 is an answer of a service that is up, RFC 9110 section 15.5.2: no
    restart would give us any. It takes at most about `timeout` seconds, follows no redirect and reads no body.
    """
    address = service.address
    if address is None or service.ready == "none":
        return Probed()
    deadline = time.monotonic() + timeout
    try:
        if service.ready == "tcp":
            deadline_io.connect_to(address, deadline).close()
            return Probed()
        answer = http.get(service, service.ready, deadline=deadline)
    except (OSError, ValueError) as error:
        return Probed(http.why(error, service, deadline))
    if answer.status == _UNAUTHORIZED and not service.has_credentials:
        return Probed(asks_credentials=True)
    return Probed(answer.problem)


def asked(service: Service) -> Message:
    """Return in words what the readiness probe of a service asks."""
    return Message("asked_tcp", {}) if service.ready == "tcp" else Message("asked_path", {"path": service.ready})
