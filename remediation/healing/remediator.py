"""Decide what may be done to one service: its lock, its budget, its ladder, and who else was at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from msgspec.structs import replace

from remediation.config.model import LadderStep, Service
from remediation.engines import engine_of
from remediation.engines.errors import ForeignPortError, HealError
from remediation.healing import backoff
from remediation.healing.backoff import Spent
from remediation.healing.context import RemediationContext
from remediation.healing.incident import Incident
from remediation.healing.rollback import RollbackRunner
from remediation.state.event_log import EventLog
from remediation.state.remediation import Origin, Remediation, RemediationResult
from remediation.state.service_state import ServiceState, Store


class Remediator:
    """Acts on services. Every public method takes the service's lock; several may run in threads."""

    def __init__(
        self, store: Store, event_log: EventLog, *, record: Callable[[Remediation], None], origin: Origin
    ) -> None:
        """Remember in `store`, tell by `event_log`, and `record` what was done as the work of `origin`."""
        self._store = store
        self._event_log = event_log
        self._context = RemediationContext(store, event_log, record=record, origin=origin)
        self._actions = self._context.steps

    # By hand.

    def start(self, service: Service) -> None:
        """Start a service unless it is up; ends a stop by hand. HealError if it does not come up."""
        with self._held(service) as state:
            self._begin_anew(service, state)
            if not self._actions.already_up(service, state):
                self._actions.start(service, state)
                self._count(service, state, "start")

    def stop(self, service: Service) -> None:
        """Stop a service and free its port; it stays stopped until started by hand. HealError if it lives on."""
        engine = engine_of(service)
        if engine.can_start and not engine.can_stop:
            raise HealError("no_stop", name=service.name)
        with self._held(service) as state:
            self._actions.stop(service, state)
            state.stopped_by_hand = True
            self._store.keep(service, state)
            self._event_log.log("stopped", name=service.name)

    def restart(self, service: Service) -> None:
        """Stop and start a service, whatever its state; ends a stop by hand. HealError if it does not come up."""
        with self._held(service) as state:
            self._begin_anew(service, state)
            self._actions.restart(service, state)
            self._count(service, state, "restart")

    def _count(self, service: Service, state: ServiceState, action: str) -> None:
        """Count what somebody did by hand."""
        now = time.time()
        done = Remediation(
            service.name, now, self._context.origin, "by hand", f"{action} by hand", RemediationResult.READY,
            answered_at=now,
        )  # fmt: skip
        self._context.count(service, state, done)

    def _begin_anew(self, service: Service, state: ServiceState) -> None:
        """Forget a stop by hand and the budget: whoever starts a service by hand has looked at it."""
        state.stopped_by_hand = False
        state.restarts = []
        state.delay = state.not_before = 0.0
        self._store.keep(service, state)

    # On behalf of the checks.

    def heal(self, incident: Incident) -> Remediation:
        """Take one step of the ladder, unless there is a reason not to."""
        try:
            with self._held(incident.service) as state:
                return self._heal(incident, state)
        except HealError as error:
            return self._context.refused(incident, error.message)

    def roll_back(self, incidents: list[Incident]) -> list[Remediation]:
        """Run the rollback that all of these have, once, and restart them, unless there is a reason not to.

        It is the last resort: a spent restart budget is no such reason. All have the same working directory, too.
        """
        rollback = incidents[0].service.rollback
        if rollback is None:
            raise ValueError(f"{incidents[0].service.name} has no rollback")
        return RollbackRunner(self._context, rollback, incidents).take()

    def _held(self, service: Service) -> AbstractContextManager[ServiceState]:
        """Hold the service's lock, and lend what is remembered. HealError if nothing may or can be done."""
        if unreachable := engine_of(service).out_of_reach():
            raise unreachable
        return self._context.held(service)

    def _heal(self, incident: Incident, state: ServiceState) -> Remediation:
        service = incident.service
        if spared := self._context.spared(incident, state):
            return spared
        # Once a run: a service that writes its own PID file is found again as often as it is looked for.
        if not incident.adopted and self._actions.adopt(service, state):
            found = incident.remediation(self._context.origin, RemediationResult.ADOPTED, "found its process again")
            return self._context.count(service, state, found)
        before = Spent.of(state)
        if refusal := backoff.refusal(service, state):
            self._store.keep(service, state)
            # To a monitor, the waiting that follows is no news at every check.
            quiet = self._context.origin == "monitor" and not refusal.first
            return self._context.refused(incident, refusal.why, quiet=quiet, gave_up=refusal.first)
        rung = service.ladder[incident.steps_used]
        state.port_holder = None
        # A command of the rung may be what mends that.
        if not rung.run and (problem := engine_of(service).obstacle(state)):
            state.port_holder = _port_holder(problem)
            self._not_spent(service, state, before)
            if engine_of(service).is_running(state) is False:
                self._event_log.log("not_started", name=service.name)
            self._event_log.log_message(problem.message)
            return incident.remediation(self._context.origin, RemediationResult.HINDERED, reason=str(problem))
        # Before anything is done: a healer that is killed half-way has restarted it all the same.
        state.restarts.append(time.time())
        self._store.keep(service, state)
        try:
            return self._climb(incident, state, rung)
        finally:
            if not self._actions.has_acted(service):
                self._not_spent(service, state, before)

    def _not_spent(self, service: Service, state: ServiceState, before: Spent) -> None:
        """Take the restart back from the budget, since nothing was done; that it was asked for remains noted."""
        replace(before, troubled_at=state.troubled_at).put(state)
        self._store.keep(service, state)

    def _climb(self, incident: Incident, state: ServiceState, rung: LadderStep) -> Remediation:
        service = incident.service
        evidence = self._context.evidence(incident, state)
        try:
            if rung.run:
                self._actions.try_running(service, state, rung.run, rung.timeout)
            self._actions.restart(service, state)
            reason = ""
        except HealError as error:
            reason = str(error)
            state.port_holder = _port_holder(error)
            self._event_log.log_message(error.message)
        if not self._actions.has_acted(service):
            return incident.remediation(
                self._context.origin, RemediationResult.HINDERED, reason=reason, evidence=evidence
            )  # fmt: skip
        # Counted whether it helped or not: those who wait for the lock must not repeat it.
        result = RemediationResult.FAILED if reason else RemediationResult.READY
        done = incident.remediation(self._context.origin, result, rung.action, reason, evidence=evidence)
        return self._context.count(service, state, done)


def _port_holder(error: HealError) -> int | None:
    return error.pid if isinstance(error, ForeignPortError) else None
