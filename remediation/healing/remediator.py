"""Decide what may be done to one service: its lock, its budget, its ladder, and who else was at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from msgspec.structs import replace

from remediation.config.model import Rung, Service
from remediation.engines import engine_of
from remediation.engines.errors import ForeignPortError, HealError
from remediation.healing import backoff
from remediation.healing.backoff import Spent
from remediation.healing.context import Care
from remediation.healing.incident import Incident
from remediation.healing.rollback import WayBack
from remediation.state.event_log import Voice
from remediation.state.remediation import Origin, Remediation, RemediationResult
from remediation.state.service_state import Memory, Store


class Healer:
    """Acts on services. Every public method takes the service's lock; several may run in threads."""

    def __init__(self, store: Store, voice: Voice, *, record: Callable[[Remediation], None], origin: Origin) -> None:
        """Remember in `store`, tell by `voice`, and `record` what was done as the work of `origin`."""
        self._store = store
        self._voice = voice
        self._care = Care(store, voice, record=record, origin=origin)
        self._steps = self._care.steps

    # By hand.

    def start(self, service: Service) -> None:
        """Start a service unless it is up; ends a stop by hand. HealError if it does not come up."""
        with self._held(service) as memory:
            self._begin_anew(service, memory)
            if not self._steps.already_up(service, memory):
                self._steps.start(service, memory)
                self._count(service, memory, "start")

    def stop(self, service: Service) -> None:
        """Stop a service and free its port; it stays stopped until started by hand. HealError if it lives on."""
        engine = engine_of(service)
        if engine.can_start and not engine.can_stop:
            raise HealError("no_stop", name=service.name)
        with self._held(service) as memory:
            self._steps.stop(service, memory)
            memory.stopped_by_hand = True
            self._store.keep(service, memory)
            self._voice.say("stopped", name=service.name)

    def restart(self, service: Service) -> None:
        """Stop and start a service, whatever its state; ends a stop by hand. HealError if it does not come up."""
        with self._held(service) as memory:
            self._begin_anew(service, memory)
            self._steps.restart(service, memory)
            self._count(service, memory, "restart")

    def _count(self, service: Service, memory: Memory, action: str) -> None:
        """Count what somebody did by hand."""
        now = time.time()
        done = Remediation(
            service.name, now, self._care.origin, "by hand", f"{action} by hand", RemediationResult.READY,
            answered_at=now,
        )  # fmt: skip
        self._care.count(service, memory, done)

    def _begin_anew(self, service: Service, memory: Memory) -> None:
        """Forget a stop by hand and the budget: whoever starts a service by hand has looked at it."""
        memory.stopped_by_hand = False
        memory.restarts = []
        memory.delay = memory.not_before = 0.0
        self._store.keep(service, memory)

    # On behalf of the checks.

    def heal(self, incident: Incident) -> Remediation:
        """Take one step of the ladder, unless there is a reason not to."""
        try:
            with self._held(incident.service) as memory:
                return self._heal(incident, memory)
        except HealError as error:
            return self._care.refused(incident, error.phrase)

    def roll_back(self, incidents: list[Incident]) -> list[Remediation]:
        """Run the rollback that all of these have, once, and restart them, unless there is a reason not to.

        It is the last resort: a spent restart budget is no such reason. All have the same working directory, too.
        """
        rollback = incidents[0].service.rollback
        if rollback is None:
            raise ValueError(f"{incidents[0].service.name} has no rollback")
        return WayBack(self._care, rollback, incidents).take()

    def _held(self, service: Service) -> AbstractContextManager[Memory]:
        """Hold the service's lock, and lend what is remembered. HealError if nothing may or can be done."""
        if unreachable := engine_of(service).out_of_reach():
            raise unreachable
        return self._care.held(service)

    def _heal(self, incident: Incident, memory: Memory) -> Remediation:
        service = incident.service
        if spared := self._care.spared(incident, memory):
            return spared
        # Once a run: a service that writes its own PID file is found again as often as it is looked for.
        if not incident.adopted and self._steps.adopt(service, memory):
            found = incident.remediation(self._care.origin, RemediationResult.ADOPTED, "found its process again")
            return self._care.count(service, memory, found)
        before = Spent.of(memory)
        if refusal := backoff.refusal(service, memory):
            self._store.keep(service, memory)
            # To a monitor, the waiting that follows is no news at every check.
            quiet = self._care.origin == "monitor" and not refusal.first
            return self._care.refused(incident, refusal.why, quiet=quiet, gave_up=refusal.first)
        rung = service.ladder[incident.steps_used]
        memory.port_holder = None
        # A command of the rung may be what mends that.
        if not rung.run and (problem := engine_of(service).obstacle(memory)):
            memory.port_holder = _port_holder(problem)
            self._not_spent(service, memory, before)
            if engine_of(service).is_running(memory) is False:
                self._voice.say("not_started", name=service.name)
            self._voice.tell(problem.phrase)
            return incident.remediation(self._care.origin, RemediationResult.HINDERED, reason=str(problem))
        # Before anything is done: a healer that is killed half-way has restarted it all the same.
        memory.restarts.append(time.time())
        self._store.keep(service, memory)
        try:
            return self._climb(incident, memory, rung)
        finally:
            if not self._steps.has_acted(service):
                self._not_spent(service, memory, before)

    def _not_spent(self, service: Service, memory: Memory, before: Spent) -> None:
        """Take the restart back from the budget, since nothing was done; that it was asked for remains noted."""
        replace(before, troubled_at=memory.troubled_at).put(memory)
        self._store.keep(service, memory)

    def _climb(self, incident: Incident, memory: Memory, rung: Rung) -> Remediation:
        service = incident.service
        evidence = self._care.evidence(incident, memory)
        try:
            if rung.run:
                self._steps.try_running(service, memory, rung.run, rung.timeout)
            self._steps.restart(service, memory)
            reason = ""
        except HealError as error:
            reason = str(error)
            memory.port_holder = _port_holder(error)
            self._voice.tell(error.phrase)
        if not self._steps.has_acted(service):
            return incident.remediation(
                self._care.origin, RemediationResult.HINDERED, reason=reason, evidence=evidence
            )  # fmt: skip
        # Counted whether it helped or not: those who wait for the lock must not repeat it.
        result = RemediationResult.FAILED if reason else RemediationResult.READY
        done = incident.remediation(self._care.origin, result, rung.action, reason, evidence=evidence)
        return self._care.count(service, memory, done)


def _port_holder(error: HealError) -> int | None:
    return error.pid if isinstance(error, ForeignPortError) else None
