"""Decide what may be done to one service: check its lock, its budget, its ladder and the work of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from threading import Event

from msgspec.structs import replace

from remediation.config.model import LadderStep, Service
from remediation.engines import engine_of
from remediation.engines.engine import FoundProcess
from remediation.engines.errors import (
    CommandFailedError,
    DiedError,
    ForeignPortError,
    HealError,
    NotValidError,
    SlowStartError,
    StillServedError,
)
from remediation.healing import backoff
from remediation.healing.actions import start_allowance
from remediation.healing.backoff import Spent
from remediation.healing.context import RemediationContext
from remediation.healing.hooks import Hooks, UnknownStepError, heal_result, incident_info, service_info
from remediation.healing.incident import Incident
from remediation.healing.rollback import RollbackRunner
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.probes.readiness import polls
from remediation.state.event_log import EventLog
from remediation.state.remediation import Origin, Remediation, RemediationResult
from remediation.state.service_state import ServiceState, Store
from remediation.system.files import LockTimeoutError
from remediation.system.telling import excerpt

# The output of the key `validate`, in the evidence.
VALIDATION_FILE = "validate.txt"


class Remediator:
    """Acts on services. Every public method takes the service's lock; several may run in threads."""

    def __init__(
        self,
        store: Store,
        event_log: EventLog,
        *,
        record: Callable[[Remediation], None],
        origin: Origin,
        hooks: Hooks | None = None,
    ) -> None:
        """Keep state in `store`, log to `event_log`, and `record` each remediation as the work of `origin`.

        `hooks` are called around each step that is taken for a check.
        """
        self._store = store
        self._event_log = event_log
        self._context = RemediationContext(store, event_log, record=record, origin=origin, hooks=hooks)
        self._actions = self._context.actions
        self._stop = Event()

    def stop_waiting(self) -> None:
        """Let heals in other threads wait for nothing more, and try no start again: the run is about to end."""
        self._stop.set()

    # By hand.

    def start(self, service: Service) -> None:
        """Start a service unless it is up, and end a stop by hand. HealError if it does not come up."""
        with self._held(service) as state:
            self._reset(service, state)
            if not self._actions.already_up(service, state):
                self._actions.start(service, state)
                self._count(service, state, "start")

    def stop(self, service: Service) -> None:
        """Stop a service and free its port; it stays stopped until started by hand. HealError if it survives."""
        engine = engine_of(service)
        if engine.can_start and not engine.can_stop:
            raise HealError("no_stop", name=service.name)
        with self._held(service) as state:
            self._actions.adopt_at_rest(service, state)
            try:
                self._actions.stop(service, state)
            except StillServedError:
                # The service itself is stopped; another process answers in its place.
                self._stop_by_hand(service, state)
                raise
            self._stop_by_hand(service, state)
            self._event_log.log("stopped", name=service.name)

    def _stop_by_hand(self, service: Service, state: ServiceState) -> None:
        state.stopped_by_hand = True
        self._store.keep(service, state)

    def adopt(self, service: Service, found: FoundProcess) -> None:
        """Record a process that a person has named as the service's main one, and end a stop by hand."""
        with self._held(service) as state:
            if problem := engine_of(service).main_process(state):
                raise HealError("already_known", name=service.name, pid=problem.pid)
            self._reset(service, state)
            self._actions.record(service, state, found)

    def adopt_if_certain(self, service: Service) -> None:
        """Record a main process that is missing from the state and answers, unless another process is at work on it."""
        with suppress(LockTimeoutError, HealError, OSError), self._store.lock(service, timeout=0):
            state = self._store.recall(service)
            if not state.stopped_by_hand:
                self._actions.adopt(service, state)

    def restart(self, service: Service) -> None:
        """Stop and start a service in any state, and end a stop by hand. HealError if it does not come up."""
        with self._held(service) as state:
            self._reset(service, state)
            self._actions.adopt_at_rest(service, state)
            self._actions.restart(service, state)
            self._count(service, state, "restart")

    def reload(self, service: Service) -> None:
        """Let a service read its configuration again. HealError if it cannot, or is not ready afterwards."""
        if not service.reload:
            raise HealError("no_reload", name=service.name)
        with self._held(service) as state:
            if state.stopped_by_hand:
                raise HealError("by_hand", name=service.name)
            self._actions.adopt_at_rest(service, state)
            self._actions.reload(service, state)
            self._count(service, state, "reload")

    def _count(self, service: Service, state: ServiceState, action: str) -> None:
        """Count an action by hand."""
        now = time.time()
        remediation = Remediation(
            service.name, now, self._context.origin, "by hand", f"{action} by hand", RemediationResult.READY,
            answered_at=now,
        )  # fmt: skip
        self._context.count(service, state, remediation)

    def _reset(self, service: Service, state: ServiceState) -> None:
        """Clear a stop by hand and the budget: a person who starts a service has looked at it."""
        state.stopped_by_hand = False
        state.restarts, state.slow_starts = [], 0
        backoff.reset(state)
        self._store.keep(service, state)

    # On behalf of the checks.

    def heal(self, incident: Incident) -> Remediation:
        """Take one step of the ladder, unless there is a reason not to; wait until few enough heals are under way."""
        try:
            with self._store.heal_slot(self._stop), self._held(incident.service) as state:
                return self._heal(incident, state)
        except HealError as error:
            return self._context.refuse(incident, error.message)

    def roll_back(self, incidents: list[Incident]) -> list[Remediation]:
        """Run the rollback of these services once, and restart them, unless there is a reason not to.

        The services share the rollback and the working directory. As the last resort, it ignores a spent budget.
        """
        rollback = incidents[0].service.rollback
        if rollback is None:
            raise ValueError(f"{incidents[0].service.name} has no rollback")
        return RollbackRunner(self._context, rollback, incidents).roll_back()

    def _held(self, service: Service) -> AbstractContextManager[ServiceState]:
        """Hold the service's lock, and yield its state. HealError if nothing may or can be done."""
        if unreachable := engine_of(service).out_of_reach():
            raise unreachable
        return self._context.held(service)

    def _heal(self, incident: Incident, state: ServiceState) -> Remediation:
        service = incident.service
        if skipped := self._context.skipped(incident, state):
            return skipped
        # Only once a run: a service that writes its own PID file could be adopted again and again.
        if not incident.adopted and self._actions.adopt(service, state):
            adopted = incident.remediation(self._context.origin, RemediationResult.ADOPTED, "found its process again")
            return self._context.count(service, state, adopted)
        if self._context.origin != "monitor":
            self._await_next_try(incident, state)
        if self._is_ready_after_all(incident, state):
            backoff.count_ready_start(state)
            recovered = incident.remediation(self._context.origin, RemediationResult.RECOVERED, "was ready after all")
            self._event_log.log("ready_after_all", name=service.name)
            return self._context.count(service, state, recovered)
        before = Spent.of(state)
        refusal = backoff.refusal(service, state, since=incident.since)
        # The next step of the ladder is more than another try, and follows at once.
        if refusal and not (refusal.waits_for_try and incident.steps_used):
            self._store.keep(service, state)
            # A monitor logs a refusal once, not at every check.
            quiet = self._context.origin == "monitor" and not refusal.first
            return self._context.refuse(incident, refusal.why, quiet=quiet, gave_up=refusal.first)
        state.port_holder = None
        if hindered := self._hindered(incident, state) or self._objection(incident, state):
            self._restore_budget(service, state, before)
            return hindered
        # Count it before acting: a healer that is killed half-way may have restarted the service.
        backoff.count_restart(state)
        self._store.keep(service, state)
        try:
            remediation = self._take_step(incident, state)
            self._context.hooks.after(service_info(service, state), heal_result(remediation), incident_info(incident))
            return remediation
        finally:
            if not self._actions.has_acted(service):
                self._restore_budget(service, state, before)

    def _log_not_valid(self, error: NotValidError) -> None:
        """Log what is wrong with the service's own configuration."""
        for line in excerpt(error.output.splitlines()).lines:
            self._event_log.log("detail", line=line)
        self._event_log.log_message(error.message)

    def _await_next_try(self, incident: Incident, state: ServiceState) -> None:
        """Wait for the next try of a start that failed, if it is due within start_timeout."""
        service, wait = incident.service, state.not_before - time.time()
        is_due = not state.failed_starts or state.tried_since < incident.since or wait <= 0
        if is_due or incident.steps_used or wait > service.start_timeout:
            return
        self._event_log.log("trying_again", name=service.name, delay=round(wait, 1))
        for _ in polls(wait, self._stop.wait):
            if self._stop.is_set() or self._is_ready_after_all(incident, state):
                return

    def _is_ready_after_all(self, incident: Incident, state: ServiceState) -> bool:
        """Return whether a process whose start was too slow is ready by now."""
        service, last = incident.service, state.last_heal
        if not state.slow_starts or last is None or last.ok or last.at < incident.since:
            return False
        engine = engine_of(service)
        if engine.knows_process and not (engine.main_process(state) and engine.owns_address(state)):
            return False
        return readiness.answers(service, timeout=service.probe_timeout)

    def _hindered(self, incident: Incident, state: ServiceState) -> Remediation | None:
        """Return the remediation of a service for which the next step would fail; None if nothing is known."""
        service, step = incident.service, incident.service.ladder[incident.steps_used]
        if step.run or step.hook:
            # The command or the hook may remove the obstacle.
            return None
        if not step.reloads and (problem := engine_of(service).obstacle(state)):
            state.port_holder = _port_holder(problem)
            if engine_of(service).is_running(state) is False:
                self._event_log.log("not_started", name=service.name)
            self._event_log.log_message(problem.message)
            return incident.remediation(self._context.origin, RemediationResult.HINDERED, reason=str(problem))
        try:
            self._actions.validate(service, state)
        except NotValidError as error:
            return self._not_valid(incident, state, error)
        state.not_valid = ""
        return None

    def _objection(self, incident: Incident, state: ServiceState) -> Remediation | None:
        """Return a refusal if a hook of the project objects to the next step; None if none does."""
        service, action = incident.service, incident.service.ladder[incident.steps_used].action
        why = self._context.hooks.before(service_info(service, state), action, incident_info(incident))
        if self._stop.is_set():
            # The run was interrupted meanwhile, and nothing has been done yet.
            raise KeyboardInterrupt
        if why is None:
            return None
        return self._context.refuse(incident, Message("hook_objects", {"name": service.name, "reason": why}))

    def _not_valid(self, incident: Incident, state: ServiceState, error: NotValidError) -> Remediation:
        """Keep what is wrong with the service's own configuration; a monitor does so once, not at every check."""
        evidence = ""
        if state.not_valid != str(error):
            evidence = self._context.evidence(incident, state)
            self._context.add_evidence(evidence, VALIDATION_FILE, error.output)
        if state.not_valid != str(error) or self._context.origin != "monitor":
            self._log_not_valid(error)
        state.not_valid = str(error)
        return incident.remediation(
            self._context.origin, RemediationResult.HINDERED, reason=str(error), evidence=evidence
        )  # fmt: skip

    def _restore_budget(self, service: Service, state: ServiceState, before: Spent) -> None:
        """Uncount the restart, since nothing was done; keep the time at which the heal was requested."""
        replace(before, troubled_at=state.troubled_at).put(state)
        self._store.keep(service, state)

    def _take_step(self, incident: Incident, state: ServiceState) -> Remediation:
        """Take the next step of the ladder; a reload or a hook that fails is followed by the one after it."""
        service, taken, reason = incident.service, list[str](), ""
        evidence = self._context.evidence(incident, state)
        steps = service.ladder[incident.steps_used :]
        for number, step in enumerate(steps, start=1):
            try:
                if taken and not (step.run or step.hook) and (problem := engine_of(service).obstacle(state)):
                    # After a reload that failed: it must not end what it could not replace.
                    raise problem
                taken.append(step.action)
                self._act(incident, state, step, is_last=number == len(steps))
                reason = ""
            except HealError as error:
                reason = str(error)
                state.port_holder = _port_holder(error)
                if isinstance(error, NotValidError):
                    self._log_not_valid(error)
                    self._context.add_evidence(evidence, VALIDATION_FILE, error.output)
                    break
                self._event_log.log_message(error.message)
                if step.reloads or step.hook:
                    continue
            break
        if not self._actions.has_acted(service):
            return incident.remediation(
                self._context.origin, RemediationResult.HINDERED, reason=reason, evidence=evidence
            )  # fmt: skip
        # Count it whether or not it helped: processes that wait for the lock must not repeat it.
        result = RemediationResult.FAILED if reason else RemediationResult.READY
        remediation = incident.remediation(
            self._context.origin, result, ", ".join(taken), reason, evidence=evidence, steps=len(taken)
        )  # fmt: skip
        return self._context.count(service, state, remediation)

    def _act(self, incident: Incident, state: ServiceState, step: LadderStep, *, is_last: bool) -> None:
        """Take one step of the ladder. HealError if the service is not ready after it."""
        service = incident.service
        if step.hook:
            self._call_hook(incident, state, step)
            return
        if step.reloads:
            self._actions.reload(service, state)
            return
        if step.run:
            self._actions.try_running(service, state, step.run, step.timeout)
        self._restart(service, state, is_last=is_last)

    def _call_hook(self, incident: Incident, state: ServiceState, step: LadderStep) -> None:
        """Let a hook of the project take a step, and wait until the service is ready."""
        service, has_acted = incident.service, self._actions.has_acted(incident.service)
        self._actions.begin_action(service)
        info = service_info(service, state)
        try:
            self._context.hooks.step(info, step.hook, incident_info(incident), timeout=step.timeout)
        except UnknownStepError:
            # Nothing was done, which costs nothing.
            self._actions.set_acted(service, acted=has_acted)
            raise
        self._actions.await_answer(service, state, step.hook)

    def _restart(self, service: Service, state: ServiceState, *, is_last: bool) -> None:
        """Restart the service; in a run of its own, try a start that failed again within start_timeout.

        A further step of the ladder is more than another try, so only the last one is repeated.
        """
        deadline = time.monotonic() + service.start_timeout
        while True:
            try:
                self._actions.restart(service, state)
            except HealError as error:
                if not self._actions.has_acted(service):
                    raise
                patience = start_allowance(service, state) / 2 if isinstance(error, SlowStartError) else 0.0
                backoff.count_failed_start(service, state, patience=patience)
                self._store.keep(service, state)
                if self._context.origin == "monitor":
                    # It goes on in a later cycle.
                    delay = round(state.not_before - time.time(), 1)
                    self._event_log.log("next_try_in", name=service.name, delay=delay)
                    raise
                can_pass = isinstance(error, (DiedError, CommandFailedError))
                if not (can_pass and is_last) or time.monotonic() + state.delay > deadline:
                    raise
                self._event_log.log_message(error.message)
                self._event_log.log("trying_again", name=service.name, delay=state.delay)
                if self._stop.wait(state.delay):
                    raise
            else:
                backoff.count_ready_start(state)
                return


def _port_holder(error: HealError) -> int | None:
    return error.pid if isinstance(error, ForeignPortError) else None
