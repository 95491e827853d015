"""Describe what a heal would do now, and why, from the same conditions that the heal itself checks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from signal import Signals
from typing import TYPE_CHECKING

from remediation.config.model import LadderStep, Service
from remediation.engines import engine_of
from remediation.engines.errors import HealError
from remediation.healing import backoff, liveness
from remediation.healing.actions import VALIDATE_SECONDS
from remediation.healing.dependencies import with_dependencies
from remediation.healing.incident import Incident
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import introduce

if TYPE_CHECKING:
    from remediation.state.statistics import Step


def plan(
    incidents: list[Incident], services: Mapping[str, Service], store: Store, *, rollback: bool = False
) -> Iterator[Message]:
    """Yield what a heal would do in each incident, dependencies first, without touching anything.

    With `rollback`, yield the rollback as well.
    """
    failing = {incident.service.name for incident in incidents}
    by_name, graph = with_dependencies(incidents, services, store)
    steps = _steps_so_far(store)
    for name in TopologicalSorter(graph).static_order():
        yield Message("plan", {"name": name, "cause": by_name[name].cause.removeprefix(f"{name}: ")})
        service, state = by_name[name].service, store.recall(by_name[name].service)
        if why := _skip_reason(service, state, store):
            yield Message("plan_nothing", {"why": why})
            continue
        yield from _remediation(by_name[name], state, store)
        yield from map(_helped, steps.get(name, []))
        if rollback and service.rollback and name in failing:
            values = {"command": " ".join(service.rollback.run), "timeout": service.rollback.timeout}
            yield Message("plan_rollback", values)


def _steps_so_far(store: Store) -> dict[str, list[Step]]:
    """Return what the history knows of the steps for each service; nothing if it cannot be read."""
    from remediation.state.history import History, HistoryError
    from remediation.state.statistics import steps_of

    try:
        with History(store.project).reading() as database:
            return steps_of(database, now=time.time())
    except HistoryError:
        return {}


def _helped(step: Step) -> Message:
    values = {"step": step.action, "count": step.helped, "total": step.total}
    if step.downtime is None:
        return Message("plan_helped", values)
    return Message("plan_helped_within", values | {"downtime": float(f"{step.downtime:.2g}")})


def nothing_may_be_done(incidents: list[Incident], services: Mapping[str, Service], store: Store) -> bool:
    """Return whether neither the services of these incidents nor their dependencies may be healed."""
    by_name, _ = with_dependencies(incidents, services, store)
    for incident in by_name.values():
        state = store.recall(incident.service)
        is_held = state.stopped_by_hand or store.why_paused(incident.service.name)
        if not is_held and _refusal(incident.service, state) is None:
            return False
    return True


def _skip_reason(service: Service, state: ServiceState, store: Store) -> Message | None:
    """Return why nothing would be done for a service, not even a rollback; None if something would."""
    if paused := store.why_paused(service.name):
        return paused
    if state.stopped_by_hand:
        return Message("by_hand", {"name": service.name})
    return Message("plan_at_work", {}) if store.is_locked(service) else None


def _remediation(incident: Incident, state: ServiceState, store: Store) -> Iterator[Message]:
    service = incident.service
    if why := _refusal(service, state):
        yield Message("plan_nothing", {"why": why})
        return
    if lost := liveness.lost_process(service, state, store):
        key = "plan_adopt_by_hand" if lost.how == "adopted" else "plan_adopt"
        yield Message(key, {"holder": introduce(lost.identity.pid)})
        return
    step, *others = service.ladder[incident.steps_used :]
    if step.hook:
        yield Message("plan_hook", {"hook": step.hook, "timeout": step.timeout})
        yield from _readiness(service)
        yield from _further(others)
        return
    if step.run:
        yield Message("plan_command", {"command": " ".join(step.run), "timeout": step.timeout})
    if service.validate_command and engine_of(service).is_running(state) is not False:
        yield Message("plan_validate", {"command": " ".join(service.validate_command), "timeout": VALIDATE_SECONDS})
    try:
        if step.reloads:
            how = service.reload.name if isinstance(service.reload, Signals) else " ".join(service.reload)
            yield Message("plan_reload", {"command": how})
        else:
            yield from engine_of(service).plan(state)
    except HealError as error:
        yield Message("plan_fails", {"why": error.message})
    else:
        yield from _readiness(service)
    yield from _further(others)


def _further(steps: list[LadderStep]) -> Iterator[Message]:
    if steps:
        yield Message("plan_next", {"actions": "; ".join(step.action for step in steps)})


def _refusal(service: Service, state: ServiceState) -> Message | None:
    """Return why the service would not be healed, or None if it would be."""
    if problem := engine_of(service).out_of_reach():
        return problem.message
    # This changes `state`, but nothing writes that to disk.
    refusal = backoff.refusal(service, state)
    return refusal.why if refusal else None


def _readiness(service: Service) -> Iterator[Message]:
    if service.ready != "none":
        yield Message("plan_ready", {"asked": readiness.asked(service), "timeout": service.start_timeout})
