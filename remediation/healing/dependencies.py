"""Heal several services: dependencies first, independent ones at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from queue import SimpleQueue
from threading import Thread

from msgspec.structs import replace

from remediation.config.model import Service
from remediation.engines.engine import Condition
from remediation.healing import liveness
from remediation.healing.incident import Incident
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.state.event_log import EventLog
from remediation.state.remediation import Origin, Remediation, RemediationResult, steps_used
from remediation.state.service_state import Store

# In these conditions the service's own process does not serve, whatever answers at its address.
_NOT_SERVING = (Condition.DEAD, Condition.REPLACED, Condition.SUSPENDED)


def heal_all(
    incidents: list[Incident],
    services: Mapping[str, Service],
    *,
    remediator: Remediator,
    store: Store,
    event_log: EventLog,
    origin: Origin = "check",
    earlier: Mapping[str, Sequence[Remediation]] | None = None,
) -> list[Remediation]:
    """Heal the service of every incident once, after the dependencies that are down.

    If a dependent answers again once its dependency is healed, the next checks decide. `earlier` has the remediations
    of the rounds before: a dependency that has used up its ladder is not healed again, nor are its dependents.
    """
    by_name, graph = with_dependencies(incidents, services, store, earlier)
    done: dict[str, Remediation] = {}

    def handle(name: str) -> Remediation:
        before = [done[dependency] for dependency in graph[name]]
        if not before and not (earlier or {}).get(name):
            before = _healed_meanwhile(by_name[name], services, store, origin)
        return (
            _after_dependencies(by_name[name], before, store, event_log, origin)
            or _used_up(by_name[name], (earlier or {}).get(name, ()), origin)
            or remediator.heal(by_name[name])
        )

    if len(by_name) == 1:
        # In this thread, so that Ctrl+C ends it at once.
        return [handle(name) for name in by_name]
    results: SimpleQueue[tuple[str, Remediation | BaseException]] = SimpleQueue()

    def work(name: str) -> None:
        try:
            results.put((name, handle(name)))
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it again
            results.put((name, error))

    sorter, threads = TopologicalSorter(graph), list[Thread]()
    waiting, at_work = deque[str](), 0
    sorter.prepare()
    try:
        while sorter.is_active():
            waiting += sorter.get_ready()
            while waiting and at_work < store.project.limits.at_once:
                at_work += 1
                _begin(work, waiting.popleft(), threads)
            name, result = results.get()
            at_work -= 1
            if isinstance(result, BaseException):
                raise result
            done[name] = result
            sorter.done(name)
    finally:
        # After an interrupt, heals under way come to their end, and begin nothing more.
        remediator.stop_waiting()
        for thread in threads:
            thread.join()
    return list(done.values())


def _begin(work: Callable[[str], None], name: str, threads: list[Thread]) -> None:
    """Work in a new thread; if the system allows no more threads, work in this one."""
    thread = Thread(target=work, args=(name,), name=f"heal-{name}")
    try:
        thread.start()
    except RuntimeError:
        work(name)
    else:
        threads.append(thread)


def with_dependencies(
    incidents: list[Incident],
    services: Mapping[str, Service],
    store: Store,
    earlier: Mapping[str, Sequence[Remediation]] | None = None,
) -> tuple[dict[str, Incident], dict[str, set[str]]]:
    """Return all incidents to heal by name of their service, and for each the names that come before it."""
    past = earlier or {}
    by_name = {incident.service.name: incident for incident in incidents}
    for incident in incidents:
        for name in sorted(_dependencies(incident.service.name, services)):
            if name not in by_name and (down := _down(services[name], incident, store, past.get(name, ()))):
                by_name[name] = down
    return by_name, {name: _dependencies(name, services) & by_name.keys() for name in by_name}


def _dependencies(name: str, services: Mapping[str, Service]) -> set[str]:
    """Return all direct and indirect dependencies of a service."""
    dependencies, pending = set[str](), [name]
    while pending:
        new = set(services[pending.pop()].depends_on) - dependencies
        dependencies |= new
        pending += new
    return dependencies


def _down(service: Service, dependent: Incident, store: Store, earlier: Sequence[Remediation]) -> Incident | None:
    """Return an incident for a dependency that is down, even if no check of its own fails; None if it is up."""
    condition = liveness.condition(service, store)
    # The process of a service that another auto-heal starts lives before it answers.
    is_starting = condition is Condition.RUNNING and store.is_locked(service)
    if condition is Condition.RUNNING and not is_starting:
        return None
    if (condition is Condition.UNKNOWN or is_starting) and readiness.answers(service, timeout=service.probe_timeout):
        return None
    state = "down" if condition is Condition.UNKNOWN or is_starting else condition.value
    cause = f"{dependent.service.name} depends on it and it is {state}"
    return Incident(
        service, cause, dependent.since, store.recall(service).heals,
        steps_used=steps_used(earlier),
        adopted=any(remediation.result is RemediationResult.ADOPTED for remediation in earlier),
        id=dependent.id,
    )  # fmt: skip


def _healed_meanwhile(
    incident: Incident, services: Mapping[str, Service], store: Store, origin: Origin
) -> list[Remediation]:
    """Return the last remediations of dependencies that were brought back after the failing attempt of an incident.

    Another process, or a person, did so: the failure may have had no other cause.
    """
    found = []
    for name in sorted(_dependencies(incident.service.name, services)) if incident.failed_at else ():
        last = store.recall(services[name]).last_heal
        if last and last.ok and last.at >= incident.failed_at:
            found.append(replace(last, origin=origin))
    return found


def _used_up(incident: Incident, earlier: Sequence[Remediation], origin: Origin) -> Remediation | None:
    """Return a refusal if an earlier round of this run used up the ladder, or was refused; the log has the reason."""
    was_refused = any(remediation.result.refused for remediation in earlier)
    if incident.steps_used < len(incident.service.ladder) and not was_refused:
        return None
    reason = earlier[-1].reason if earlier else ""
    return incident.remediation(origin, RemediationResult.REFUSED, reason=reason)


def _after_dependencies(
    incident: Incident, before: list[Remediation], store: Store, event_log: EventLog, origin: Origin
) -> Remediation | None:
    """Return the remediation of a service that we leave alone once its dependencies were handled; None if we heal it.

    We leave it alone if a dependency is still down, or if it answers again.
    """
    service = incident.service
    if not before or liveness.condition(service, store) in _NOT_SERVING:
        return None
    if failed := [remediation.service for remediation in before if not remediation.ok]:
        why = Message("dependency", {"name": service.name, "others": ", ".join(failed)})
        event_log.log_message(why)
        return incident.remediation(origin, RemediationResult.SKIPPED, reason=str(why))
    for left in readiness.polls(service.probe_timeout):
        if readiness.answers(service, timeout=left):
            others = ", ".join(remediation.service for remediation in before)
            event_log.log("recovered", name=service.name, others=others)
            return incident.remediation(origin, RemediationResult.RECOVERED, f"recovered after {others}")
    return None
