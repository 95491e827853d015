"""The way back: what was deployed before is put in place again, by one command for all services that share it.

It may itself call auto-heal, as in `git checkout v1 && auto-heal restart api`. While it runs, the auto-heal that it
calls is a guest of our locks; what that one did is not done again.
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
from remediation.healing.context import RemediationContext, explained, longest
from remediation.healing.incident import Incident
from remediation.messages.message import Message, seconds
from remediation.state import lock_grants
from remediation.state.remediation import Remediation, RemediationResult
from remediation.state.service_state import ServiceState
from remediation.system.process import Identity


class _Case(Struct, frozen=True):
    """An incident whose service is rolled back, and what there was of it before."""

    incident: Incident
    heals: int
    noted: float
    """The moment of its entry in the restart budget."""
    evidence: str

    @property
    def service(self) -> Service:
        return self.incident.service


class RollbackRunner:
    """One rollback, of all the services that it is for."""

    def __init__(self, context: RemediationContext, rollback: Rollback, incidents: list[Incident]) -> None:
        """Take `care` of `incidents`, whose services all have this rollback and the same working directory."""
        self._context = context
        self._rollback = rollback
        self._incidents = incidents
        self._store = context.store
        self._ran = False

    def take(self) -> list[Remediation]:
        """Roll back and restart, unless there is a reason not to; return what became of each service."""
        memories: dict[str, ServiceState] = {}
        try:
            with ExitStack() as locks:
                # In one order for all, so that no two wait for each other.
                for service in sorted((incident.service for incident in self._incidents), key=lambda found: found.name):
                    memories[service.name] = locks.enter_context(self._context.held(service))
                return self._take(memories)
        except HealError as error:
            refused = partial(self._context.refused, why=error.message)
            # Told once, for all of them.
            done = [refused(incident, quiet=number > 0) for number, incident in enumerate(self._incidents)]
            return [replace(one, rolled_back=self._ran) for one in done]

    def _take(self, memories: dict[str, ServiceState]) -> list[Remediation]:
        done: dict[str, Remediation] = {}
        cases: list[_Case] = []
        for incident in self._incidents:
            name = incident.service.name
            if spared := self._spared(incident, memories[name]):
                done[name] = spared
            else:
                cases.append(self._case(incident, memories[name]))
        try:
            return self._take_all(cases, done)
        finally:
            for case in cases:
                self._take_back(case)

    def _take_all(self, cases: list[_Case], done: dict[str, Remediation]) -> list[Remediation]:
        if cases:
            # Another auto-heal may have taken it a moment ago, for some of them: twice back is too far.
            taken = any(one.rolled_back for one in done.values())
            problem = "" if taken else self._run([case.service for case in cases])
            how = "by another auto-heal" if taken else problem and f"failed: {problem}"
            action = f"{self._rollback.action} ({how})" if how else self._rollback.action
            by_name = {case.service.name: case for case in cases}
            for service in self._store.project.ordered(by_name):
                back = self._brought_back(by_name[service.name], action, problem)
                done[service.name] = replace(back, rolled_back=True, rollback_problem=problem)
        return [done[incident.service.name] for incident in self._incidents]

    def _spared(self, incident: Incident, state: ServiceState) -> Remediation | None:
        if lock_grants.is_granted(incident.service):
            # Its command has come to this by itself, and would again.
            return self._context.refused(incident, Message("rollback_within", {"name": incident.service.name}))
        # A restart by somebody else meanwhile is no reason: the ladder's own did not help either.
        again = state.rolled_back > incident.seen
        return self._context.spared(incident, state) if again or state.stopped_by_hand else None

    def _case(self, incident: Incident, state: ServiceState) -> _Case:
        """Note that a service is acted on, and keep the evidence. A spent budget is no obstacle to the last resort."""
        moment = time.time()
        state.restarts.append(moment)
        self._store.keep(incident.service, state)
        return _Case(incident, state.heals, moment, self._context.evidence(incident, state))

    def _take_back(self, case: _Case) -> None:
        """Give the budget back what was not done: the command was not run, and the service not touched."""
        state = self._store.recall(case.service)
        if not self._ran and not self._context.steps.has_acted(case.service) and case.noted in state.restarts:
            state.restarts.remove(case.noted)
            self._store.keep(case.service, state)

    # The command.

    def _run(self, services: list[Service]) -> str:
        """Run the command, and return why it failed, in words; empty if it did not."""
        names, command = ", ".join(service.name for service in services), " ".join(self._rollback.run)
        self._context.event_log.log("rolling_back", name=names, command=command)
        try:
            self._run_with_guests(services)
        except HealError as error:
            self._context.event_log.log_message(error.message)
            return self._why(error)
        return ""

    def _run_with_guests(self, services: list[Service]) -> None:
        """Run the command as the first of these services, and share the locks of all of them with it."""
        alone = ExitStack()
        try:
            # It must not have begun to remember anything before it is itself remembered.
            for service in services:
                alone.enter_context(self._store.guests(service, timeout=longest(service)))

            def begun(identity: Identity | None) -> None:
                self._ran = True
                for service in services:
                    state = self._store.recall(service)
                    state.command = (identity.pid, identity.born) if identity else None
                    self._store.keep(service, state)
                alone.close()

            run_command(
                services[0],
                self._rollback.run,
                timeout=self._rollback.timeout,
                begun=begun,
                more=lock_grants.granted(services),
            )
        finally:
            alone.close()
            # What git does not know may be swept away by it.
            for service in services:
                self._store.lock_again(service)

    def _why(self, error: HealError) -> str:
        """Return why the command failed, as it stands beside the command."""
        match error:
            case CommandLateError():
                return f"did not end within {seconds(self._rollback.timeout)}s"
            case CommandFailedError(how=how):
                return str(how)
            case _:
                return str(error).removeprefix(f"{error.message.values['name']}: ")

    # And the service.

    def _brought_back(self, case: _Case, action: str, problem: str) -> Remediation:
        """Bring a service back; if not even that can be noted, the rollback is one all the same."""
        try:
            with explained(case.service):
                return self._bring_back(case, action, problem)
        except HealError as error:
            self._context.event_log.log_message(error.message)
            return case.incident.remediation(self._context.origin, RemediationResult.FAILED, action, str(error))

    def _bring_back(self, case: _Case, action: str, problem: str) -> Remediation:
        """Restart a service unless the command has done so, and wait until it is ready."""
        service, reason = case.service, ""
        # What the command left running in the background may still be at work on it.
        with self._store.guests(service, timeout=longest(service)):
            state = self._store.recall(service)
            state.command = None
            restarts = self._restarts(case, state)
            try:
                with explained(service):
                    self._up_again(service, state, restarts=restarts)
            except HealError as error:
                reason = str(error)
                self._context.event_log.log_message(error.message)
            action = f"{action}, restart" if restarts else action
            result = RemediationResult.FAILED if reason else RemediationResult.READY
            done = case.incident.remediation(self._context.origin, result, action, reason, evidence=case.evidence)
            state.rolled_back, state.rollback_problem = state.heals + 1, problem
            return self._context.count(service, state, done)

    def _restarts(self, case: _Case, state: ServiceState) -> bool:
        """Return whether it is on us to restart the service."""
        if not self._rollback.restart or engine_of(case.service).out_of_reach():
            return False
        last = state.last_heal
        was_restarted = state.heals != case.heals and last and last.ok
        return state.stopped_by_hand or not was_restarted

    def _up_again(self, service: Service, state: ServiceState, *, restarts: bool) -> None:
        """Restart the service, or wait for it. HealError if it does not come up."""
        if restarts:
            # The command may have stopped it for the time that it takes.
            state.stopped_by_hand = False
            self._context.steps.restart(service, state)
        elif service.ready != "none":
            self._context.steps.verify(service)
            self._context.event_log.log("started", name=service.name)
