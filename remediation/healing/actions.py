"""The steps of a heal: have the service's engine act, and wait until it is ready. Whoever takes one holds its lock."""

from __future__ import annotations

import time

from remediation.config.model import Service
from remediation.engines import engine_of
from remediation.engines.engine import Condition, Operation, Start
from remediation.engines.errors import DiedError, HealError
from remediation.healing import liveness
from remediation.healing.commands import run_command
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.probes.readiness import polls
from remediation.state import lock_grants
from remediation.state.event_log import EventLog
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity, descendants, terminate

# With ready = "none" nobody can be asked; a command that lives this long counts as started.
SETTLE_SECONDS = 0.2
# The least time for one look, so that the last one before the deadline can still say why there is no answer.
_LAST_LOOK = 0.1


class Actions:
    """What is done to a service, and told while it is done."""

    def __init__(self, store: Store, event_log: EventLog) -> None:
        """Remember in `store`, tell by `event_log`."""
        self.store = store
        self.event_log = event_log
        self._acted: set[str] = set()
        self._dead: dict[str, set[Identity]] = {}

    def has_acted(self, service: Service) -> bool:
        """Return whether anything was signalled, ended or started since the service was recalled."""
        return service.name in self._acted

    def acts(self, service: Service) -> None:
        """Note that something is about to be done to the service. LockLostError if its lock is lost."""
        self.store.insist(service)
        # Noted before it is done: whoever is interrupted in between may have done it.
        self.set_acted(service, done=True)

    def set_acted(self, service: Service, *, done: bool) -> None:
        """Note whether anything was done to the service."""
        (self._acted.add if done else self._acted.discard)(service.name)

    def recall(self, service: Service) -> ServiceState:
        """Return what is remembered, once a command that a healer left behind when it was killed is ended.

        Two must not run side by side, and what it runs may remember something as well.
        """
        self.set_acted(service, done=False)
        self._dead[service.name] = set()
        state = self.store.recall(service)
        left = Identity(*state.command) if state.command else None
        if left and not lock_grants.runs_us(left):
            terminate(lambda: descendants([left]), timeout=service.stop_timeout)
            state = self.store.recall(service)
            state.command = None
        return state

    def restart(self, service: Service, state: ServiceState) -> None:
        """Replace the service by a new start of it, or ask whoever runs it to."""
        self.event_log.log("restart", name=service.name)
        engine_of(service).restart(self.operation(service, state))
        self.event_log.log("started", name=service.name)
        self.event_log.log("restarted", name=service.name)

    def start(self, service: Service, state: ServiceState) -> None:
        """Start the service; if its process lives but does not serve, replace it."""
        engine, operation = engine_of(service), self.operation(service, state)
        if engine.main_process(state):
            engine.restart(operation)
        else:
            engine.start(operation)
        self.event_log.log("started", name=service.name)

    def stop(self, service: Service, state: ServiceState) -> None:
        """End the service."""
        engine_of(service).stop(self.operation(service, state))

    def operation(self, service: Service, state: ServiceState) -> Operation:
        """Return what an engine is lent to change a service whose lock we hold."""
        return _Operation(self, service, state, self._dead.setdefault(service.name, set()))

    def already_up(self, service: Service, state: ServiceState) -> bool:
        """Return whether the service answers and its process, if it should be ours, is; adopt it if need be."""
        engine = engine_of(service)
        self.adopt(service, state)
        if engine.knows_process and engine.condition(state) is not Condition.RUNNING:
            return False
        # If it is not the service's own, somebody else answers in its place.
        if not readiness.answers(service, timeout=service.probe_timeout) or not engine.owns_address(state):
            return False
        if process := engine.main_process(state):
            self.event_log.log("already_up", name=service.name, pid=process.pid)
        else:
            self.event_log.log("started", name=service.name)
        return True

    def adopt(self, service: Service, state: ServiceState) -> Identity | None:
        """Remember again a process of ours that answers, but that PID file or memory lost; None if there is none."""
        identity = liveness.lost_process(service, state, self.store)
        if identity:
            self.event_log.log("adopted", name=service.name, pid=identity.pid)
            self.store.remember_process(service, state, identity)
        return identity

    def verify(self, service: Service, start: Start | None = None) -> None:
        """Wait until the service is ready. HealError if it is not within start_timeout, or `start` dies."""
        timeout = service.start_timeout
        if service.ready == "none":
            timeout = min(timeout, SETTLE_SECONDS)
        problem: str | None = None
        for left in polls(timeout, start.sleep if start else time.sleep):
            self._notice_death(service, start)
            if service.ready != "none":
                problem = readiness.unready(service, timeout=min(max(left, _LAST_LOOK), service.probe_timeout))
                if problem is None:
                    self._notice_death(service, start)
                    return
        self._notice_death(service, start)
        if service.ready == "none":
            return
        self._tell_tail(service, start)
        raise HealError("no_answer", name=service.name, asked=readiness.asked(service), timeout=timeout, last=problem)

    def _notice_death(self, service: Service, start: Start | None) -> None:
        if start and (how := start.death()):
            last = self._tell_tail(service, start)
            key = "died_saying" if last else "died"
            raise DiedError(key, name=service.name, command=start.command, how=how, last=last)

    def _tell_tail(self, service: Service, start: Start | None) -> str:
        """Tell that the service did not start, with the last lines of its log; return the most telling one."""
        self.event_log.log("not_started", name=service.name)
        tail = start.log_tail() if start else []
        for line in tail:
            self.event_log.log("detail", line=line)
        # Many programs end with a trace or a version after the line that says what is wrong.
        telling = [line for line in tail if "error" in line.lower()] or tail
        return telling[-1].strip() if telling else ""

    def run(self, service: Service, state: ServiceState, command: tuple[str, ...], timeout: float) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds."""
        # That of a healer whose command we are is left in place.
        before = state.command

        def begun(identity: Identity | None) -> None:
            self.acts(service)
            remember(identity)

        def remember(identity: Identity | None) -> None:
            state.command = (identity.pid, identity.born) if identity else before
            self.store.keep(service, state)

        self.event_log.log("running_command", command=" ".join(command))
        try:
            run_command(service, command, timeout=timeout, begun=begun)
        finally:
            remember(None)

    def falls_silent(self, service: Service) -> bool:
        """Return whether the service stops answering within stop_timeout; True if nobody can be asked."""
        if service.address is None or service.ready == "none":
            return True
        # With all the time of a probe: a look cut short by our own deadline would prove nothing.
        return any(not readiness.answers(service, timeout=service.probe_timeout) for _ in polls(service.stop_timeout))

    def try_running(self, service: Service, state: ServiceState, command: tuple[str, ...], timeout: float) -> None:
        """Run a rung's command; if it fails the restart is tried all the same, and the checks decide."""
        try:
            self.run(service, state, command, timeout)
        except HealError as error:
            self.event_log.log_message(error.message)


class _Operation(Operation):
    """An operation of an engine on one service, in the steps of a heal."""

    def __init__(self, steps: Actions, service: Service, state: ServiceState, dead: set[Identity]) -> None:
        self.state = state
        self.store = steps.store
        self.dead = dead
        self._actions = steps
        self._service = service

    @property
    def has_acted(self) -> bool:
        return self._actions.has_acted(self._service)

    @has_acted.setter
    def has_acted(self, done: bool) -> None:
        self._actions.set_acted(self._service, done=done)

    def acts(self) -> None:
        self._actions.acts(self._service)

    def log(self, key: str, **values: object) -> None:
        self._actions.event_log.log(key, **values)

    def log_message(self, message: Message) -> None:
        self._actions.event_log.log_message(message)

    def run(self, command: tuple[str, ...], timeout: float) -> None:
        self._actions.run(self._service, self.state, command, timeout)

    def await_ready(self, start: Start | None) -> None:
        self._actions.verify(self._service, start)

    def falls_silent(self) -> bool:
        return self._actions.falls_silent(self._service)
