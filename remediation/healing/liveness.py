"""Liveness: inspect a service without touching it, to see whether its process lives and is meant to be up."""

from __future__ import annotations

import time

from remediation.config.model import Service
from remediation.engines import engine_of
from remediation.engines.engine import Condition, FoundProcess
from remediation.messages.message import english
from remediation.probes import readiness
from remediation.state.service_state import ServiceState, Store

# Seconds that a process that listens in place of a dead one has to answer: a server started by hand answers,
# an unrelated silent process does not.
_STRANGER_TIMEOUT = 0.5


def condition(service: Service, store: Store) -> Condition:
    """Return the condition of the service's process, in well under a millisecond."""
    return engine_of(service).condition(store.recall(service))


def retry_can_help(service: Service, store: Store) -> bool:
    """Return whether another attempt at a failed check could pass without a heal."""
    match condition(service, store):
        case Condition.RUNNING:
            # A wrong PID file stays wrong until a heal rewrites it.
            return store.pid_file_problem(service) is None
        case Condition.UNKNOWN:
            return True
        case _:
            return False


def hopeless(service: Service, store: Store) -> str | None:
    """Return why asking the service anything is pointless until it is healed, or None if it is not."""
    match condition(service, store):
        case Condition.DEAD:
            return english("not_running", name=service.name)
        case Condition.SUSPENDED:
            identity = store.recall(service).identity
            return english("suspended", name=service.name, pid=identity.pid if identity else "")
        case Condition.BY_HAND:
            return english("by_hand", name=service.name)
        case Condition.REPLACED if not readiness.answers(
            service, timeout=min(service.probe_timeout, _STRANGER_TIMEOUT)
        ):
            return english("replaced", name=service.name)
        case _:
            return None


def starting_until(service: Service, store: Store) -> float | None:
    """Return until when a failing check starts no heal because the service was just started, in epoch seconds.

    None if it was not. A process that has died or was suspended does not become ready by itself.
    """
    if not service.start_period:
        return None
    started_at, now = store.recall(service).started_at, time.time()
    if not started_at <= now < started_at + service.start_period:
        return None
    is_alive = condition(service, store) in (Condition.RUNNING, Condition.UNKNOWN)
    return started_at + service.start_period if is_alive else None


def is_unknown(service: Service, store: Store) -> bool:
    """Return whether something answers in the place of a service whose process we do not know."""
    engine = engine_of(service)
    if not engine.owns_processes or service.address is None:
        return False
    state = store.recall(service)
    if state.stopped_by_hand or engine.main_process(state):
        return False
    return not service.address.endpoint.refuses()


def never_ran(service: Service, store: Store) -> bool:
    """Return whether a service is yet to be started for the first time: nobody started it, and it never answered."""
    if not engine_of(service).owns_processes:
        return False
    state = store.recall(service)
    if state.pid or state.start or state.heals or state.stopped_by_hand or state.session:
        return False
    from remediation.state.history import History, HistoryError
    from remediation.state.statistics import has_passed

    try:
        with History(store.project).reading() as database:
            return not has_passed(database, service.name)
    except HistoryError:
        return True


def lost_process(service: Service, state: ServiceState, store: Store) -> FoundProcess | None:
    """Return a main process that answers, but is missing from PID file or state; None if there is none."""
    found = engine_of(service).lost_process(state, store)
    return found if found and readiness.answers(service, timeout=service.probe_timeout) else None
