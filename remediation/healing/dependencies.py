"""Heal several services: dependencies first, independent ones at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from queue import SimpleQueue
from threading import Thread

from remediation.config.model import Service
from remediation.engines.engine import Condition
from remediation.healing import liveness
from remediation.healing.incident import Incident
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.state.event_log import EventLog
from remediation.state.remediation import Origin, Remediation, RemediationResult
from remediation.state.service_state import Store

# Whoever answers in place of such a process, it has not come back.
_NOT_ITSELF = (Condition.DEAD, Condition.REPLACED, Condition.SUSPENDED)


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
    """Heal the service of every incident, and before it whatever it depends on that is not there; each once.

    A dependent that answers again once its dependency was healed is left to the next checks. `earlier` is what was done
    in the rounds before: a dependency whose ladder they have used up is not healed again, and its dependents neither.
    """
    sick, graph = treated(incidents, services, store, earlier)
    done: dict[str, Remediation] = {}

    def treat(name: str) -> Remediation:
        before = [done[need] for need in graph[name]]
        return (
            _after_dependencies(sick[name], before, store, event_log, origin)
            or _spent(sick[name], (earlier or {}).get(name, ()), origin)
            or remediator.heal(sick[name])
        )

    if len(sick) == 1:
        # In this thread, so that Ctrl+C ends it at once.
        return [treat(name) for name in sick]
    over: SimpleQueue[tuple[str, Remediation | BaseException]] = SimpleQueue()

    def work(name: str) -> None:
        try:
            over.put((name, treat(name)))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            over.put((name, error))

    sorter, threads = TopologicalSorter(graph), list[Thread]()
    sorter.prepare()
    try:
        while sorter.is_active():
            for name in sorter.get_ready():
                _begin(work, name, threads)
            name, result = over.get()
            if isinstance(result, BaseException):
                raise result
            done[name] = result
            sorter.done(name)
    finally:
        for thread in threads:
            thread.join()
    return list(done.values())


def _begin(work: Callable[[str], None], name: str, threads: list[Thread]) -> None:
    """Work in a thread or, if the system allows no more of them, at once."""
    thread = Thread(target=work, args=(name,), name=f"heal-{name}")
    try:
        thread.start()
    except RuntimeError:
        work(name)
    else:
        threads.append(thread)


def treated(
    incidents: list[Incident],
    services: Mapping[str, Service],
    store: Store,
    earlier: Mapping[str, Sequence[Remediation]] | None = None,
) -> tuple[dict[str, Incident], dict[str, set[str]]]:
    """Return all who are to be healed by name, and which of them have to be healed before each."""
    past = earlier or {}
    sick = {incident.service.name: incident for incident in incidents}
    for incident in incidents:
        for name in sorted(_needs(incident.service.name, services)):
            if name not in sick and (found := _down(services[name], incident, store, past.get(name, ()))):
                sick[name] = found
    return sick, {name: _needs(name, services) & sick.keys() for name in sick}


def _needs(name: str, services: Mapping[str, Service]) -> set[str]:
    """Return all that a service depends on, directly or not."""
    found, pending = set[str](), [name]
    while pending:
        new = set(services[pending.pop()].depends_on) - found
        found |= new
        pending += new
    return found


def _down(service: Service, dependent: Incident, store: Store, earlier: Sequence[Remediation]) -> Incident | None:
    """Return the incident of a dependency without failing checks, if it is not there for its dependent."""
    condition = liveness.condition(service, store)
    if condition is Condition.RUNNING:
        return None
    if condition is Condition.UNKNOWN and readiness.answers(service, timeout=service.probe_timeout):
        return None
    state = "down" if condition is Condition.UNKNOWN else condition.value
    cause = f"{dependent.service.name} depends on it and it is {state}"
    return Incident(
        service, cause, dependent.since, store.recall(service).heals,
        steps_used=sum(one.result.used_step for one in earlier),
        adopted=any(one.result is RemediationResult.ADOPTED for one in earlier),
    )  # fmt: skip


def _spent(incident: Incident, earlier: Sequence[Remediation], origin: Origin) -> Remediation | None:
    """Return a refusal if nothing more is to be done for a service in this run, as was told before."""
    if incident.steps_used < len(incident.service.ladder) and not any(one.result.refused for one in earlier):
        return None
    reason = earlier[-1].reason if earlier else ""
    return incident.remediation(origin, RemediationResult.REFUSED, reason=reason)


def _after_dependencies(
    incident: Incident, before: list[Remediation], store: Store, event_log: EventLog, origin: Origin
) -> Remediation | None:
    """Return why the service is to be left alone, if it is, now that its dependencies were treated."""
    service = incident.service
    if not before or liveness.condition(service, store) in _NOT_ITSELF:
        return None
    if failed := [one.service for one in before if not one.ok]:
        why = Message("dependency", {"name": service.name, "others": ", ".join(failed)})
        event_log.log_message(why)
        return incident.remediation(origin, RemediationResult.SKIPPED, reason=str(why))
    for left in readiness.polls(service.probe_timeout):
        if readiness.answers(service, timeout=left):
            others = ", ".join(one.service for one in before)
            event_log.log("recovered", name=service.name, others=others)
            return incident.remediation(origin, RemediationResult.RECOVERED, f"recovered after {others}")
    return None
