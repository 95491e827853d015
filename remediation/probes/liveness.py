"""Look at a service without touching it: whether its process lives, it answers, and it is meant to be up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import Enum

from remediation.config.model import Service
from remediation.messages.message import Phrase
from remediation.probes import deadline_io, http
from remediation.state.service_state import Store
from remediation.system import ports
from remediation.system.process import Identity, Life, descendants

# Readiness is polled at first this often, then at a twentieth of the time waited, at most every
# quarter second: a fast start is seen at once, a slow one is not pestered.
_FIRST_POLL = 0.002
_LONGEST_POLL = 0.25
# How long somebody who listens in place of a dead process has to answer, in seconds: a server that was started by
# hand does, a stranger that keeps silent does not.
_STRANGER_TIMEOUT = 0.5


class Condition(Enum):
    """What is known of a service's process."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DEAD = "dead"
    REPLACED = "replaced"
    """The process that we started is dead, and somebody else answers on its port."""
    BY_HAND = "stopped by hand"
    UNKNOWN = "unknown"
    """Something else runs it, or somebody unproven answers in its place: only the checks can tell."""


def condition(service: Service, store: Store) -> Condition:
    """Return what is known of the service's process, in well under a millisecond."""
    memory = store.recall(service)
    if memory.stopped_by_hand:
        return Condition.BY_HAND
    if not service.command:
        return Condition.UNKNOWN
    life = memory.identity.life if memory.identity else Life.GONE
    if life is Life.SUSPENDED:
        return Condition.SUSPENDED
    if life is Life.RUNNING:
        return Condition.RUNNING
    address = service.address
    if address is None or ports.refuses(address.host, address.port):
        return Condition.DEAD
    return Condition.REPLACED if memory.identity else Condition.UNKNOWN


def retry_can_help(service: Service, store: Store) -> bool:
    """Return whether another attempt at a failed check could pass without a heal."""
    match condition(service, store):
        case Condition.RUNNING:
            # A PID file that is wrong stays wrong; the heal writes it anew.
            return store.pid_file_problem(service) is None
        case Condition.UNKNOWN:
            return True
        case _:
            return False


def hopeless(service: Service, store: Store) -> str | None:
    """Say why asking the service anything is pointless until it is healed, or None if it is not."""
    match condition(service, store):
        case Condition.DEAD:
            return f"{service.name}: its process is not running"
        case Condition.SUSPENDED:
            identity = store.recall(service).identity
            return f"{service.name}: its process {identity.pid if identity else ''} is stopped (SIGSTOP)"
        case Condition.BY_HAND:
            return f"{service.name}: stopped by hand; `auto-heal start {service.name}` ends that"
        case Condition.REPLACED if not answers(service, timeout=min(service.probe_timeout, _STRANGER_TIMEOUT)):
            return f"{service.name}: its process is not running, and whoever listens on its port does not answer for it"
        case _:
            return None


def answers(service: Service, *, timeout: float) -> bool:
    """Return whether the service is ready; takes at most about `timeout` seconds."""
    return unready(service, timeout=timeout) is None


def unready(service: Service, *, timeout: float) -> str | None:
    """Say why the service is not ready, or None if it is: 2xx at its path, a TCP connection, or nothing to ask.

    Takes at most about `timeout` seconds. No redirect is followed and no body is read.
    """
    address = service.address
    if address is None or service.ready == "none":
        return None
    deadline = time.monotonic() + timeout
    try:
        if service.ready == "tcp":
            deadline_io.connect(address.host, address.port, deadline).close()
            return None
        return http.get(service, service.ready, deadline=deadline).problem
    except (OSError, ValueError) as error:
        return http.why(error, service, deadline)


def asked(service: Service) -> Phrase:
    """Return what a service is asked to know whether it is ready, in words."""
    return Phrase("asked_tcp", {}) if service.ready == "tcp" else Phrase("asked_path", {"path": service.ready})


def polls(timeout: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[float]:
    """Yield at each moment to poll the seconds that are left of `timeout`, and `sleep` in between."""
    start = time.monotonic()
    while True:
        waited = time.monotonic() - start
        yield max(0.001, timeout - waited)
        waited = time.monotonic() - start
        if waited >= timeout:
            return
        sleep(min(timeout - waited, max(_FIRST_POLL, min(_LONGEST_POLL, waited / 20))))


def owns_port(number: int, pid: int) -> bool:
    """Return whether the process, or one of its descendants, listens on a port."""
    if ports.listens({pid}, number):
        return True
    identity = Identity.of(pid)
    return identity is not None and ports.listens({member.pid for member in descendants([identity])}, number)
