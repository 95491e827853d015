"""The engine for services that we start ourselves, and recognize by PID and birth, by their mark and by their port."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from remediation.config.model import Address
from remediation.engines import ownership
from remediation.engines.engine import Condition, Engine, Operation
from remediation.engines.errors import DiedError, HealError
from remediation.messages.message import Message
from remediation.probes.readiness import polls
from remediation.state.service_state import ServiceState, Store
from remediation.system import ports
from remediation.system.process import (
    Identity,
    Life,
    await_removal,
    describe,
    terminate,
    zombies,
)

if TYPE_CHECKING:
    from remediation.engines.spawn import Started

# How many times to try a restart if another process takes the port after we freed it.
_STARTS = 3
# While a process ends, its socket has no visible owner until its last thread is gone. A socket without one for longer
# than this, in seconds, belongs to another user.
_OWNERLESS_SECONDS = 1.0
# A dead process stays a zombie until its parent, or PID 1, waits for it. Seconds that every start waits for that, and
# seconds that it waits if the server did not start beside the zombie.
_AT_ONCE_SECONDS, _REMOVAL_SECONDS = 0.01, 2.0
# Seconds, beyond the service's own stop_timeout, to keep ending listeners that something else starts again.
_FREEING_SECONDS = 5.0


class LocalEngine(Engine):
    """Start a service's `command` in a session of its own, so that it outlives us, and end it by signals."""

    knows_process = True
    owns_processes = True

    @property
    def can_start(self) -> bool:
        """True: the service has a command."""
        return True

    @property
    def can_stop(self) -> bool:
        """True: we can end the processes that we started."""
        return True

    def out_of_reach(self) -> HealError | None:
        """Return an error for a service whose url is on another machine, where we cannot start a process."""
        service = self.service
        if service.address and not ports.is_local(service.address.host):
            return HealError("not_here", name=service.name, url=service.address)
        return None

    # The service now.

    def _condition(self, state: ServiceState) -> Condition:
        life = state.identity.life if state.identity else Life.GONE
        if life is Life.SUSPENDED:
            return Condition.SUSPENDED
        if life is Life.RUNNING:
            return Condition.RUNNING
        address = self.service.address
        if address is None or ports.refuses(address.host, address.port):
            return Condition.DEAD
        return Condition.REPLACED if state.identity else Condition.UNKNOWN

    def main_process(self, state: ServiceState) -> Identity | None:
        """Return the process that we started last if PID and birth prove that it lives."""
        return state.identity if state.identity and state.identity.alive else None

    def processes(self, state: ServiceState) -> list[Identity]:
        """Return the main process, the marked processes, and the descendants of all these."""
        return ownership.family(self.service, state)

    def is_running(self, state: ServiceState) -> bool | None:
        """Return whether the main process or any marked process lives."""
        return bool(ownership.roots(self.service, state))

    def owns_address(self, state: ServiceState) -> bool:
        """Return whether the main process, or a descendant of it, listens on the service's port."""
        process, address = self.main_process(state), self.service.address
        return process is not None and (address is None or ownership.owns_port(address.port, process.pid))

    def lost_process(self, state: ServiceState, store: Store) -> Identity | None:
        """Return our process that is missing from PID file or state.

        A healer that died between starting the process and writing its PID leaves it marked, but unrecorded.
        """
        if store.pid_file_problem(self.service) is None:
            return None
        identity = state.identity or self._unrecorded(state)
        # If the recorded process is dead, only its children are left, even if they hold its port.
        return identity if identity and identity.life is Life.RUNNING else None

    def _unrecorded(self, state: ServiceState) -> Identity | None:
        """Return the process that a healer started and did not record; None if we cannot know it."""
        service = self.service
        if service.ready == "none":
            # Without a probe, we cannot tell the service from a child that it left behind.
            return None
        if service.address and ports.refuses(service.address.host, service.address.port):
            return None
        return ownership.marked_root(service, state)

    # A restart in advance.

    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return which process is protected, why the command could not be started, or which process holds the port."""
        return ownership.untouchable(self.service, state) or self._unstartable() or self._held_port(state)

    def _unstartable(self) -> HealError | None:
        from remediation.engines.spawn import unstartable

        return unstartable(self.service, self.service.command)

    def _held_port(self, state: ServiceState) -> HealError | None:
        """Return why the port cannot be freed, or None if it can be."""
        service = self.service
        if service.address is None:
            return None
        number = service.address.port
        own = {member.pid for member in self.processes(state)}
        if ports.listens(own, number):
            # To go through all sockets takes long. The heal finds other listeners once this one has ended.
            return None
        listeners = ports.listeners(number, service.address.host)
        strangers = [listener for listener in listeners if listener.pid and listener.pid not in own]
        # A socket without an owner may belong to a process that is just ending; the heal waits for it.
        return ownership.obstacle(service, number, sorted(pid for pid in ownership.holders(strangers) if pid))

    def plan(self, state: ServiceState) -> Iterator[Message]:
        """Yield the processes and listeners that would be ended, and the command that would be started."""
        service = self.service
        if problem := ownership.untouchable(service, state):
            raise problem
        family = self.processes(state)
        for member in family:
            values = {"signal": service.stop_signal.name, "timeout": service.stop_timeout}
            yield Message("plan_end", {"holder": describe(member.pid), **values})
        if service.address:
            yield from self._freeing(service.address, {member.pid for member in family})
        if problem := self._unstartable():
            raise problem
        yield Message("plan_start", {"command": " ".join(service.command), "cwd": service.cwd})

    def _freeing(self, address: Address, own: set[int]) -> Iterator[Message]:
        strangers = ownership.holders(ports.listeners(address.port, address.host)) - own
        if problem := ownership.obstacle(self.service, address.port, strangers):
            raise problem
        for pid in sorted(filter(None, strangers)):
            yield Message("plan_free", {"port": address.port, "holder": describe(pid)})

    # Changes.

    def start(self, operation: Operation) -> None:
        """Start the command, after ending leftovers of an earlier start and freeing the port."""
        if not self.main_process(operation.state):
            self._end_and_free(operation)
            self._start(operation)

    def stop(self, operation: Operation) -> None:
        """End all processes of the service, and the listeners on its port that we may end; log the others."""
        if self.is_running(operation.state):
            operation.log("stopping", name=self.service.name)
        self._end(operation)
        if obstacle := self._free(operation):
            operation.log_message(obstacle.message)

    def restart(self, operation: Operation) -> None:
        """End all processes of the service, free its port, and start the command."""
        for attempt in range(_STARTS):
            self._end_and_free(operation)
            try:
                self._start(operation)
            except HealError:
                if attempt + 1 == _STARTS or not self._lost_its_port(operation.state):
                    raise
            else:
                return

    def _lost_its_port(self, state: ServiceState) -> bool:
        """Return whether our process died because another one took its port first."""
        address = self.service.address
        if address is None or self.main_process(state):
            return False
        return bool(ports.listeners(address.port, address.host))

    def _end_and_free(self, operation: Operation) -> None:
        service, store = self.service, operation.store
        was_running = self.is_running(operation.state)
        if was_running:
            operation.log("stopping", name=service.name)
            self._end(operation)
        elif (problem := store.pid_file_problem(service)) and service.pid_file.exists():
            operation.log("pid_file", name=service.name, problem=problem)
        if obstacle := self._free(operation):
            raise obstacle
        if was_running:
            operation.log("stopped", name=service.name)

    def _end(self, operation: Operation) -> None:
        """End all processes of the service, and remove them from the state.

        HealError if one of its own processes is protected, or survives.
        """
        service, state = self.service, operation.state
        if obstacle := ownership.untouchable(service, state):
            raise obstacle

        def find() -> list[Identity]:
            if family := self.processes(state):
                operation.begin_action()
            operation.dead.update(family)
            return family

        survivors = terminate(find, signum=service.stop_signal, timeout=service.stop_timeout)
        if survivors:
            holder = ", ".join(describe(identity.pid) for identity in survivors)
            raise HealError("survivors", name=service.name, holder=holder)
        if living := ownership.roots(service, state):
            holder = ", ".join(describe(identity.pid) for identity in living)
            raise HealError("lives_on", name=service.name, holder=holder)
        if state.identity:
            operation.dead.add(state.identity)
        operation.store.forget_process(service, state)

    def _free(self, operation: Operation) -> HealError | None:
        """End the listeners on the service's port; return why we may not end one of them, or None."""
        service = self.service
        if service.address is None:
            return None
        number, host = service.address.port, service.address.host
        limit = service.stop_timeout + _FREEING_SECONDS
        for left in polls(limit):
            if not (listeners := ports.listeners(number, host)):
                return None
            holders = ownership.holders(listeners)
            if limit - left < _OWNERLESS_SECONDS and None in holders:
                continue
            if obstacle := ownership.obstacle(service, number, holders):
                return obstacle
            self._end_holders(operation, number, {pid for pid in holders if pid})
        return ownership.foreign(service, number, listeners[0].pid, Message("why_returns", {}))

    def _end_holders(self, operation: Operation, number: int, pids: set[int]) -> None:
        identities = [identity for pid in sorted(pids) if (identity := Identity.of(pid))]
        # Check again now that the identities are fixed: a PID may have been reused since.
        holders = [identity for identity in identities if ports.listens({identity.pid}, number)]
        for holder in holders:
            operation.begin_action()
            operation.log("freeing", name=self.service.name, port=number, pid=holder.pid)
        # End these alone: a child that does not listen does not hold the port.
        terminate(lambda: holders, timeout=self.service.stop_timeout)

    def _start(self, operation: Operation) -> None:
        """Start the command; try again if it died and a zombie may be the cause."""
        from remediation.engines.spawn import reap

        service, state = self.service, operation.state
        operation.log("starting", name=service.name)
        if state.identity:
            operation.dead.add(state.identity)
            # If we die before we record the new PID, `lost_process` must not find the old one in the state.
            operation.store.forget_process(service, state)
        dead = operation.dead.copy()
        operation.dead.clear()
        await_removal(zombies(dead), _AT_ONCE_SECONDS, reap)
        remaining = zombies(dead)
        try:
            self._launch(operation)
        except DiedError:
            if not remaining:
                raise
            # A server that finds its own old PID in a file, as PostgreSQL does, mistakes a zombie for a running server.
            # Other servers do not check, so their first start does not wait for a zombie that may stay for ever.
            operation.log("zombie", name=service.name, pid=", ".join(str(zombie.pid) for zombie in remaining))
            await_removal(remaining, _REMOVAL_SECONDS, reap)
            operation.log("starting", name=service.name)
            self._launch(operation)

    def _launch(self, operation: Operation) -> None:
        """Start the command, and wait until it is ready."""
        service, state = self.service, operation.state
        state.start = uuid.uuid4().hex
        operation.store.keep(service, state)
        started = self._launched(operation)
        try:
            if not started.is_logged:
                operation.log("log_full", name=service.name, log=service.log_file)
            if started.identity:
                operation.store.remember_process(service, state, started.identity)
                operation.log("pid", name=service.name, pid=started.identity.pid)
            operation.await_ready(started)
        except (HealError, OSError) as error:
            # A dead process may have left children. A server that is not in the state would soon run beside a second.
            if started.death() or isinstance(error, OSError):
                self._end(operation)
            raise

    def _launched(self, operation: Operation) -> Started:
        """Start the command. If that fails, `has_acted` stays as it was."""
        from remediation.engines.spawn import launch

        before = operation.has_acted
        operation.begin_action()
        try:
            return launch(self.service, operation.state.start)
        except HealError:
            operation.has_acted = before
            operation.log("not_started", name=self.service.name)
            raise
