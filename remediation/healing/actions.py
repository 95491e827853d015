"""The actions of a heal: let the service's engine act, and wait until the service is ready.

The caller holds the service's lock.
"""

from __future__ import annotations

import time

from remediation.config.model import Service
from remediation.engines import engine_of
from remediation.engines.adoption import lost_variables
from remediation.engines.engine import Condition, FoundProcess, Operation, Start
from remediation.engines.errors import DiedError, HealError, NotValidError, SlowStartError
from remediation.engines.listening import elsewhere
from remediation.engines.spawn import child_environment, credentials
from remediation.healing import liveness
from remediation.healing.commands import capture, run_command
from remediation.messages.message import Message
from remediation.probes import readiness
from remediation.probes.readiness import polls
from remediation.state import lock_grants
from remediation.state.event_log import EventLog
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity, descendants, introduce, terminate
from remediation.system.secrets import redacted_words
from remediation.system.telling import NOTHING, Excerpt, excerpt
from remediation.system.tracebacks import redacted_output

# With ready = "none" there is no probe; a command that lives this long counts as started.
SETTLE_SECONDS = 0.2
# How long the key `validate` may take, in seconds.
VALIDATE_SECONDS = 20.0
# How long a start may take after starts that were too slow, in seconds, unless start_timeout is longer.
_LONGEST_START = 600.0
_MOST_OUTPUT = 65_536
# The least time for one probe, so that the last one before the deadline can still tell why there is no answer.
_SHORTEST_PROBE = 0.1


class Actions:
    """Act on services, and log each action."""

    def __init__(self, store: Store, event_log: EventLog) -> None:
        """Keep state in `store`, and log to `event_log`."""
        self.store = store
        self.event_log = event_log
        self._acted: set[str] = set()
        self._dead: dict[str, set[Identity]] = {}
        self._valid: set[str] = set()

    def has_acted(self, service: Service) -> bool:
        """Return whether anything was signalled, ended or started since `recall` read the service's state."""
        return service.name in self._acted

    def begin_action(self, service: Service) -> None:
        """Note that we are about to act on the service. LockLostError if its lock is lost."""
        self.store.require_lock(service)
        # Note it before acting: an interrupt in between may come after the action.
        self.set_acted(service, acted=True)

    def set_acted(self, service: Service, *, acted: bool) -> None:
        """Note whether we have acted on the service."""
        (self._acted.add if acted else self._acted.discard)(service.name)

    def recall(self, service: Service) -> ServiceState:
        """Return the service's state, after ending a command that a killed healer left behind.

        Two commands must not run at the same time, and the old one may change the state as well.
        """
        self.set_acted(service, acted=False)
        self._valid.discard(service.name)
        self._dead[service.name] = set()
        state = self.store.recall(service)
        leftover = Identity(*state.command) if state.command else None
        if leftover and not lock_grants.runs_us(leftover):
            terminate(lambda: descendants([leftover]), timeout=service.stop_timeout)
            state = self.store.recall(service)
            state.command = None
        return state

    def restart(self, service: Service, state: ServiceState) -> None:
        """Restart the service by its engine. NotValidError if it runs, and would not start again."""
        self.validate(service, state)
        self.event_log.log("restart", name=service.name)
        engine_of(service).restart(self.operation(service, state))
        self.event_log.log("started", name=service.name)
        self.event_log.log("restarted", name=service.name)

    def reload(self, service: Service, state: ServiceState) -> None:
        """Let the service read its configuration again. NotValidError if it could not use that."""
        self.validate(service, state)
        engine_of(service).reload(self.operation(service, state))
        self.event_log.log("reloaded", name=service.name)

    def validate(self, service: Service, state: ServiceState) -> None:
        """Run the service's `validate` command if a process of the service may be running, and only once in a heal.

        NotValidError unless it exits with 0: a server that runs must not be ended for one that cannot start.
        """
        command = service.validate_command
        if not command or service.name in self._valid or engine_of(service).is_running(state) is False:
            return
        from remediation.system.environment import unmarked

        self.event_log.log("validating", command=" ".join(redacted_words(command)))
        captured = capture(
            command, cwd=service.cwd, environ=unmarked(child_environment(service)), timeout=VALIDATE_SECONDS,
            limit=_MOST_OUTPUT, credentials=credentials(service),
        )  # fmt: skip
        if captured.problem:
            output = redacted_output(captured.output.decode(errors="backslashreplace"))
            raise NotValidError(
                name=service.name, command=" ".join(redacted_words(command)), how=captured.problem,
                last=excerpt(output.splitlines()).telling, output=output,
            )  # fmt: skip
        self._valid.add(service.name)

    def start(self, service: Service, state: ServiceState) -> None:
        """Start the service; restart it if its process lives but does not serve."""
        engine, operation = engine_of(service), self.operation(service, state)
        if engine.main_process(state):
            self.validate(service, state)
            engine.restart(operation)
        else:
            engine.start(operation)
        self.event_log.log("started", name=service.name)

    def stop(self, service: Service, state: ServiceState) -> None:
        """End the service."""
        engine_of(service).stop(self.operation(service, state))

    def operation(self, service: Service, state: ServiceState) -> Operation:
        """Return the operation through which an engine changes a service whose lock we hold."""
        return _Operation(self, service, state, self._dead.setdefault(service.name, set()))

    def already_up(self, service: Service, state: ServiceState) -> bool:
        """Return whether the service answers, by our own process if we run it; adopt a lost process first."""
        engine = engine_of(service)
        self.adopt(service, state)
        if engine.knows_process and engine.condition(state) is not Condition.RUNNING:
            return False
        # Another process may answer at the service's address.
        if not readiness.answers(service, timeout=service.probe_timeout) or not engine.owns_address(state):
            return False
        if process := engine.main_process(state):
            self.event_log.log("already_up", name=service.name, pid=process.pid)
        else:
            self.event_log.log("started", name=service.name)
        return True

    def adopt(self, service: Service, state: ServiceState) -> Identity | None:
        """Record a main process that answers, but is missing from PID file or state; None if there is none."""
        found = liveness.lost_process(service, state, self.store)
        if found:
            self.record(service, state, found)
        return found.identity if found else None

    def adopt_at_rest(self, service: Service, state: ServiceState) -> None:
        """Record a main process that is missing from the state, whether or not it answers."""
        if found := engine_of(service).lost_process(state, self.store):
            self.record(service, state, found)

    def record(self, service: Service, state: ServiceState, found: FoundProcess) -> None:
        """Record a process as the main one of a service, and log how we found it."""
        pid, by_hand = found.identity.pid, found.how == "adopted"
        if by_hand:
            self.event_log.log("taken_by_hand", name=service.name, holder=introduce(pid))
            if found.by_title:
                self.event_log.log("taken_by_title", name=service.name)
            if variables := lost_variables(service, pid):
                self.event_log.log("lost_variables", name=service.name, variables=", ".join(variables))
        else:
            self.event_log.log("taken_over" if found.how == "successor" else "adopted", name=service.name, pid=pid)
        self.store.remember_process(service, state, found.identity, adopted=by_hand)

    def verify(self, service: Service, start: Start | None = None, *, timeout: float | None = None) -> None:
        """Wait until the service is ready.

        SlowStartError if it is not ready within `timeout` seconds, by default start_timeout; DiedError if `start` dies.
        """
        timeout = service.start_timeout if timeout is None else timeout
        if service.ready == "none":
            timeout = min(timeout, SETTLE_SECONDS)
        problem: str | None = None
        for left in polls(timeout, start.sleep if start else time.sleep):
            self._raise_if_dead(service, start)
            if service.ready != "none":
                probed = readiness.probe(service, timeout=min(max(left, _SHORTEST_PROBE), service.probe_timeout))
                if (problem := probed.problem) is None:
                    self._raise_if_dead(service, start)
                    if probed.asks_credentials:
                        self.event_log.log("asks_credentials", name=service.name, path=service.ready)
                    return
        self._raise_if_dead(service, start)
        if service.ready == "none":
            return
        found = self._log_failed_start(service, start)
        values = {"name": service.name, "asked": readiness.asked(service), "timeout": timeout, "last": problem}
        if start and start.identity and (there := elsewhere(service, start.identity)):
            raise SlowStartError(
                "no_answer_elsewhere", **values, there=there, place=service.address and service.address.place
            )
        if start:
            self.event_log.log("left_running", name=service.name)
        if found.names_error:
            raise SlowStartError("no_answer_saying", **values, log=service.log_file.name, said=found.telling)
        raise SlowStartError("no_answer", **values)

    def _raise_if_dead(self, service: Service, start: Start | None) -> None:
        if start and (how := start.death()):
            last = self._log_failed_start(service, start).telling
            key = "died_saying" if last else "died"
            raise DiedError(key, name=service.name, command=start.command, how=how, last=last)

    def _log_failed_start(self, service: Service, start: Start | None) -> Excerpt:
        """Log that the service did not start, with an excerpt of its log, and return that."""
        self.event_log.log("not_started", name=service.name)
        found = start.excerpt() if start else NOTHING
        for line in found.lines:
            self.event_log.log("detail", line=line)
        return found

    def run(
        self,
        service: Service,
        state: ServiceState,
        command: tuple[str, ...],
        timeout: float,
        *,
        as_service: bool = False,
    ) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds."""
        # If another healer runs us as its command, the state names us; restore that afterwards.
        before = state.command

        def on_start(identity: Identity | None) -> None:
            self.begin_action(service)
            record(identity)

        def record(identity: Identity | None) -> None:
            state.command = (identity.pid, identity.born) if identity else before
            self.store.keep(service, state)

        self.event_log.log("running_command", command=" ".join(command))
        try:
            run_command(service, command, timeout=timeout, as_service=as_service, on_start=on_start)
        finally:
            record(None)

    def await_answer(self, service: Service, state: ServiceState, hook: str) -> None:
        """Wait until the service is ready after a hook, start_timeout seconds at most.

        HealError if it is not, and at once if no process of it is running: a hook mends a service that lives.
        """
        for left in polls(service.start_timeout):
            if engine_of(service).is_running(state) is False:
                raise HealError("hook_dead", name=service.name, hook=hook)
            timeout = min(max(left, _SHORTEST_PROBE), service.probe_timeout)
            if service.ready == "none" or readiness.answers(service, timeout=timeout):
                return
        raise HealError("hook_in_vain", name=service.name, hook=hook, timeout=service.start_timeout)

    def falls_silent(self, service: Service) -> bool:
        """Return whether the service stops answering within stop_timeout; True if there is no probe for it."""
        if service.address is None or service.ready == "none":
            return True
        # Each probe gets its full timeout: one that our own deadline cuts short would prove nothing.
        return any(not readiness.answers(service, timeout=service.probe_timeout) for _ in polls(service.stop_timeout))

    def try_running(self, service: Service, state: ServiceState, command: tuple[str, ...], timeout: float) -> None:
        """Run the command of a ladder step. If it fails, log that; the restart follows all the same."""
        try:
            self.run(service, state, command, timeout)
        except HealError as error:
            self.event_log.log_message(error.message)


def start_allowance(service: Service, state: ServiceState) -> float:
    """Return how many seconds a start may take: twice as many after each start that was too slow."""
    return max(service.start_timeout, min(_LONGEST_START, service.start_timeout * 2.0 ** min(state.slow_starts, 32)))


class _Operation(Operation):
    """An engine's operation on one service, by the actions of a heal."""

    def __init__(self, actions: Actions, service: Service, state: ServiceState, dead: set[Identity]) -> None:
        self.state = state
        self.store = actions.store
        self.dead = dead
        self._actions = actions
        self._service = service

    @property
    def has_acted(self) -> bool:
        return self._actions.has_acted(self._service)

    @has_acted.setter
    def has_acted(self, acted: bool) -> None:
        self._actions.set_acted(self._service, acted=acted)

    def begin_action(self) -> None:
        self._actions.begin_action(self._service)

    def log(self, key: str, **values: object) -> None:
        self._actions.event_log.log(key, **values)

    def log_message(self, message: Message) -> None:
        self._actions.event_log.log_message(message)

    def run(self, command: tuple[str, ...], timeout: float, *, as_service: bool = False) -> None:
        self._actions.run(self._service, self.state, command, timeout, as_service=as_service)

    def await_ready(self, start: Start | None) -> None:
        service, state = self._service, self.state
        if service.ready == "none":
            self._actions.verify(service, start)
            return
        timeout = start_allowance(service, state)
        if timeout > service.start_timeout:
            self.log("slow_before", name=service.name, timeout=timeout, times=state.slow_starts)
        began = time.monotonic()
        try:
            self._actions.verify(service, start, timeout=timeout)
        except SlowStartError:
            state.slow_starts += 1
            self.store.keep(service, state)
            raise
        if state.slow_starts and time.monotonic() - began < service.start_timeout:
            state.slow_starts = 0
            self.store.keep(service, state)

    def falls_silent(self) -> bool:
        return self._actions.falls_silent(self._service)
