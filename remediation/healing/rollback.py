"""Roll back a deployment: one command restores the previous version of all services that share it.

The command may itself call auto-heal, as in `git checkout v1 && auto-heal restart api`. That auto-heal is a guest of
our locks while the command runs; we do not repeat what it did.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from remediation.config.model import Rollback, Service
from remediation.engines import engine_of
from remediation.engines.errors import CommandFailedError, CommandLateError, HealError
from remediation.healing.commands import run_command
from remediation.healing.context import RemediationContext, as_heal_errors, longest
from remediation.healing.incident import Incident
from remediation.messages.message import Message, seconds
from remediation.state import lock_grants
from remediation.state.remediation import Remediation, RemediationResult
from remediation.state.service_state import ServiceState
from remediation.system.process import Identity


class _Case(Struct, frozen=True):
    """An incident whose service is rolled back, and the state of the service before that."""

    incident: Incident
    heals: int
    budgeted_at: float
    """The moment of its entry in the restart budget."""
    evidence: str

    @property
    def service(self) -> Service:
        return self.incident.service


class RollbackRunner:
    """One rollback of all the services that share it."""

    def __init__(self, context: RemediationContext, rollback: Rollback, incidents: list[Incident]) -> None:
        """Handle `incidents`, whose services all have this rollback and the same working directory."""
        self._context = context
        self._rollback = rollback
        self._incidents = incidents
        self._store = context.store
        self._has_run = False

    def roll_back(self) -> list[Remediation]:
        """Roll back and restart, unless there is a reason not to; return the remediation of each service."""
        states: dict[str, ServiceState] = {}
        try:
            with ExitStack() as locks:
                # Everybody takes the locks in the same order, so that no two wait for each other.
                for service in sorted((incident.service for incident in self._incidents), key=lambda each: each.name):
                    states[service.name] = locks.enter_context(self._context.held(service))
                return self._roll_back(states)
        except HealError as error:
            refuse = partial(self._context.refuse, why=error.message)
            # Log it once for all of them.
            refused = [refuse(incident, quiet=number > 0) for number, incident in enumerate(self._incidents)]
            return [replace(remediation, rolled_back=self._has_run) for remediation in refused]

    def _roll_back(self, states: dict[str, ServiceState]) -> list[Remediation]:
        remediations: dict[str, Remediation] = {}
        cases: list[_Case] = []
        for incident in self._incidents:
            name = incident.service.name
            if skipped := self._skipped(incident, states[name]):
                remediations[name] = skipped
            else:
                cases.append(self._case(incident, states[name]))
        try:
            return self._roll_back_cases(cases, remediations)
        finally:
            for case in cases:
                self._restore_budget(case)

    def _roll_back_cases(self, cases: list[_Case], remediations: dict[str, Remediation]) -> list[Remediation]:
        if cases:
            # Another auto-heal may just have rolled back some of them; a second rollback would go too far.
            already = any(remediation.rolled_back for remediation in remediations.values())
            problem = "" if already else self._run([case.service for case in cases])
            how = "by another auto-heal" if already else problem and f"failed: {problem}"
            action = f"{self._rollback.action} ({how})" if how else self._rollback.action
            by_name = {case.service.name: case for case in cases}
            for service in self._store.project.ordered(by_name):
                remediation = self._try_bringing_up(by_name[service.name], action, problem)
                remediations[service.name] = replace(remediation, rolled_back=True, rollback_problem=problem)
        return [remediations[incident.service.name] for incident in self._incidents]

    def _skipped(self, incident: Incident, state: ServiceState) -> Remediation | None:
        """Return the remediation of a service that must not be rolled back; None if it may be."""
        if lock_grants.is_granted(incident.service):
            # The rollback command itself led here, and would again.
            return self._context.refuse(incident, Message("rollback_within", {"name": incident.service.name}))
        # A restart by another process is not a reason: the ladder's own restarts did not help either.
        again = state.rolled_back > incident.seen
        is_held = state.stopped_by_hand or self._store.why_paused(incident.service.name)
        return self._context.skipped(incident, state) if again or is_held else None

    def _case(self, incident: Incident, state: ServiceState) -> _Case:
        """Count a restart of the service, and keep the evidence. The last resort may exceed the budget."""
        moment = time.time()
        state.restarts.append(moment)
        self._store.keep(incident.service, state)
        return _Case(incident, state.heals, moment, self._context.evidence(incident, state))

    def _restore_budget(self, case: _Case) -> None:
        """Uncount the restart if the command did not run and the service was not touched."""
        state = self._store.recall(case.service)
        acted = self._has_run or self._context.actions.has_acted(case.service)
        if not acted and case.budgeted_at in state.restarts:
            state.restarts.remove(case.budgeted_at)
            self._store.keep(case.service, state)

    # The command.

    def _run(self, services: list[Service]) -> str:
        """Run the command, and return why it failed; empty if it did not."""
        names, command = ", ".join(service.name for service in services), " ".join(self._rollback.run)
        self._context.event_log.log("rolling_back", name=names, command=command)
        try:
            self._run_with_guests(services)
        except HealError as error:
            self._context.event_log.log_message(error.message)
            return self._failure(error)
        return ""

    def _run_with_guests(self, services: list[Service]) -> None:
        """Run the command as the first of these services, and share the locks of all of them with it."""
        exclusive = ExitStack()
        try:
            # The command must not change any state before its own PID is in the state.
            for service in services:
                exclusive.enter_context(self._store.guests(service, timeout=longest(service)))

            def on_start(identity: Identity | None) -> None:
                self._has_run = True
                for service in services:
                    state = self._store.recall(service)
                    state.command = (identity.pid, identity.born) if identity else None
                    self._store.keep(service, state)
                exclusive.close()

            run_command(
                services[0],
                self._rollback.run,
                timeout=self._rollback.timeout,
                on_start=on_start,
                extra_environ=lock_grants.granted(services),
            )
        finally:
            exclusive.close()
            # The command may have removed untracked files, our locks among them.
            for service in services:
                self._store.retake_lock(service)

    def _failure(self, error: HealError) -> str:
        """Return why the command failed, worded to follow the command."""
        match error:
            case CommandLateError():
                return f"did not end within {seconds(self._rollback.timeout)}s"
            case CommandFailedError(how=how):
                return str(how)
            case _:
                return str(error).removeprefix(f"{error.message.values['name']}: ")

    # The service.

    def _try_bringing_up(self, case: _Case, action: str, problem: str) -> Remediation:
        """Bring a service up; if its state cannot be written, the rollback still counts."""
        try:
            with as_heal_errors(case.service):
                return self._bring_up(case, action, problem)
        except HealError as error:
            self._context.event_log.log_message(error.message)
            return case.incident.remediation(self._context.origin, RemediationResult.FAILED, action, str(error))

    def _bring_up(self, case: _Case, action: str, problem: str) -> Remediation:
        """Restart a service unless the command has done so, and wait until it is ready."""
        service, reason = case.service, ""
        # An auto-heal that the command left in the background may still be changing the service.
        with self._store.guests(service, timeout=longest(service)):
            state = self._store.recall(service)
            state.command = None
            needs_restart = self._needs_restart(case, state)
            try:
                with as_heal_errors(service):
                    self._restart_or_verify(service, state, needs_restart=needs_restart)
            except HealError as error:
                reason = str(error)
                self._context.event_log.log_message(error.message)
            action = f"{action}, restart" if needs_restart else action
            result = RemediationResult.FAILED if reason else RemediationResult.READY
            remediation = case.incident.remediation(
                self._context.origin, result, action, reason, evidence=case.evidence
            )  # fmt: skip
            state.rolled_back, state.rollback_problem = state.heals + 1, problem
            return self._context.count(service, state, remediation)

    def _needs_restart(self, case: _Case, state: ServiceState) -> bool:
        """Return whether we have to restart the service: not if the command already did."""
        if not self._rollback.restart or engine_of(case.service).out_of_reach():
            return False
        last = state.last_heal
        was_restarted = state.heals != case.heals and last and last.ok
        return state.stopped_by_hand or not was_restarted

    def _restart_or_verify(self, service: Service, state: ServiceState, *, needs_restart: bool) -> None:
        """Restart the service, or wait until it is ready. HealError if it does not come up."""
        if needs_restart:
            # The command may have stopped the service while it ran.
            state.stopped_by_hand = False
            self._context.actions.restart(service, state)
        elif service.ready != "none":
            self._context.actions.verify(service)
            self._context.event_log.log("started", name=service.name)
