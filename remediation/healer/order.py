"""Heal several services: dependencies first, independent ones at the same time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter

from remediation.healer import look
from remediation.healer.healer import Healer
from remediation.healer.look import Condition
from remediation.healer.outcome import Outcome, Patient
from remediation.project.memory import Store
from remediation.project.model import Service
from remediation.project.phrase import Phrase
from remediation.project.voice import Voice


def heal_all(
    patients: list[Patient], services: Mapping[str, Service], *, healer: Healer, store: Store, voice: Voice
) -> list[Outcome]:
    """Heal every patient, and before it whatever it depends on that is not there.

    A dependent that answers again once its dependency was healed is left to the next checks.
    """
    sick, graph = treated(patients, services, store)
    outcomes: dict[str, Outcome] = {}

    def treat(name: str) -> Outcome:
        before = [outcomes[need] for need in graph[name]]
        return _after_dependencies(sick[name], before, store, voice) or healer.heal(sick[name])

    if len(sick) == 1:
        # In this thread, so that Ctrl+C ends it at once.
        return [treat(name) for name in sick]
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    with ThreadPoolExecutor(max_workers=len(sick), thread_name_prefix="heal") as pool:
        running: dict[Future[Outcome], str] = {}
        while sorter.is_active():
            running |= {pool.submit(treat, name): name for name in sorter.get_ready()}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                outcomes[name] = future.result()
                sorter.done(name)
    return list(outcomes.values())


def treated(
    patients: list[Patient], services: Mapping[str, Service], store: Store
) -> tuple[dict[str, Patient], dict[str, set[str]]]:
    """Return all who are to be healed by name, and which of them have to be healed before each."""
    sick = {patient.service.name: patient for patient in patients}
    for patient in patients:
        for name in sorted(_needs(patient.service.name, services)):
            if name not in sick and (found := _down(services[name], patient, store)):
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


def _down(service: Service, dependent: Patient, store: Store) -> Patient | None:
    """Return a dependency without failing checks as a patient, if it is not there for its dependent."""
    condition = look.condition(service, store)
    if condition is Condition.RUNNING:
        return None
    if condition is Condition.UNKNOWN and look.answers(service, timeout=service.probe_timeout):
        return None
    state = "down" if condition is Condition.UNKNOWN else condition.value
    cause = f"{dependent.service.name} depends on it and it is {state}"
    return Patient(service, cause, dependent.since, store.recall(service).heals)


def _after_dependencies(patient: Patient, before: list[Outcome], store: Store, voice: Voice) -> Outcome | None:
    """Return an outcome if the service is to be left alone, now that its dependencies were treated."""
    service = patient.service
    if not before or look.condition(service, store) in (Condition.DEAD, Condition.SUSPENDED):
        return None
    if failed := [outcome.service for outcome in before if not outcome.ok]:
        why = Phrase("dependency", {"name": service.name, "others": ", ".join(failed)})
        voice.tell(why)
        return Outcome(service.name, patient.cause, "", ok=False, reason=str(why))
    for left in look.polls(service.probe_timeout):
        if look.answers(service, timeout=left):
            others = ", ".join(outcome.service for outcome in before)
            voice.say("recovered", name=service.name, others=others)
            return Outcome(service.name, patient.cause, f"recovered after {others}", ok=True, answered_at=time.time())
    return None
