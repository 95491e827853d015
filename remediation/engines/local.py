"""We start the service ourselves: its command, in its folder, known by PID and birth, by its mark and by its port."""

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

# How often a restart is tried if somebody takes the port between its being freed and the start.
_STARTS = 3
# The socket of a process that is just ending is nobody's until its last thread is gone; one that is nobody's for longer
# than this, in seconds, belongs to another user.
_NAMELESS_SECONDS = 1.0
# A dead process that its parent, or PID 1, does not wait for at once stays as a zombie. How long a start waits for that
# in any case, and how long if the server did not start beside the zombie, in seconds.
_AT_ONCE_SECONDS, _REMOVAL_SECONDS = 0.01, 2.0
# How long to go on ending listeners that somebody else brings back, beyond the service's own stop_timeout.
_FREEING_SECONDS = 5.0


class LocalEngine(Engine):
    """Starts a service's `command` in a session of its own, so that it outlives us, and ends it by signals."""

    knows_process = True
    owns_processes = True

    @property
    def can_start(self) -> bool:
        """True: there is a command."""
        return True

    @property
    def can_stop(self) -> bool:
        """True: what we started, we end."""
        return True

    def out_of_reach(self) -> HealError | None:
        """Return an error for a service whose url is on another machine, where no process of ours helps."""
        service = self.service
        if service.address and not ports.is_local(service.address.host):
            return HealError("not_here", name=service.name, url=service.address)
        return None

    # What is known of it now.

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
        """Return the process that was started last, if it lives: proven by PID and birth."""
        return state.identity if state.identity and state.identity.alive else None

    def processes(self, state: ServiceState) -> list[Identity]:
        """Return the main process, the marked, and the descendants of all these."""
        return ownership.family(self.service, state)

    def is_running(self, state: ServiceState) -> bool | None:
        """Return whether the main process or any that is marked lives."""
        return bool(ownership.roots(self.service, state))

    def owns_address(self, state: ServiceState) -> bool:
        """Return whether the main process, or a descendant of it, listens on the service's port."""
        process, address = self.main_process(state), self.service.address
        return process is not None and (address is None or ownership.owns_port(address.port, process.pid))

    def lost_process(self, state: ServiceState, store: Store) -> Identity | None:
        """Return the process of ours that PID file or memory lost.

        A healer that died between starting it and writing its PID leaves it marked, but nameless.
        """
        if store.pid_file_problem(self.service) is None:
            return None
        identity = state.identity or self._nameless(state)
        # Of one that is remembered and dead, only children are left, however well these keep its port.
        return identity if identity and identity.life is Life.RUNNING else None

    def _nameless(self, state: ServiceState) -> Identity | None:
        """Return the process that a healer started and had no time to write down; None if it cannot be told."""
        service = self.service
        if service.ready == "none":
            # Nobody can be asked whether it is the service or only a part that was left of it.
            return None
        if service.address and ports.refuses(service.address.host, service.address.port):
            return None
        return ownership.marked_root(service, state)

    # What a restart would do.

    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return what is out of bounds, why the command could not be started, or who holds the port."""
        return ownership.untouchable(self.service, state) or self._unstartable() or self._held_port(state)

    def _unstartable(self) -> HealError | None:
        from remediation.engines.spawn import unstartable

        return unstartable(self.service, self.service.command)

    def _held_port(self, state: ServiceState) -> HealError | None:
        """Return why the port cannot be freed."""
        service = self.service
        if service.address is None:
            return None
        number = service.address.port
        own = {member.pid for member in self.processes(state)}
        if ports.listens(own, number):
            # Whoever listens beside it is found when it has ended; all sockets take long to look through.
            return None
        strangers = [one for one in ports.listeners(number, service.address.host) if one.pid and one.pid not in own]
        # A socket that is nobody's may be that of a process which is just ending; the heal waits for it.
        return ownership.obstacle(service, number, sorted(pid for pid in ownership.holders(strangers) if pid))

    def plan(self, state: ServiceState) -> Iterator[Message]:
        """Yield whose processes would end, whose listeners, and what would be started."""
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

    # What changes it.

    def start(self, operation: Operation) -> None:
        """Start the command, after what is left of an earlier start is ended and the port is free."""
        if not self.main_process(operation.state):
            self._make_way(operation)
            self._start(operation)

    def stop(self, operation: Operation) -> None:
        """End all processes of the service, and the listeners on its port that may be ended; others are told."""
        if self.is_running(operation.state):
            operation.log("stopping", name=self.service.name)
        self._end(operation)
        if obstacle := self._free(operation):
            operation.log_message(obstacle.message)

    def restart(self, operation: Operation) -> None:
        """End all processes of the service, free its port, and start the command."""
        for attempt in range(_STARTS):
            self._make_way(operation)
            try:
                self._start(operation)
            except HealError:
                if attempt + 1 == _STARTS or not self._lost_its_port(operation.state):
                    raise
            else:
                return

    def _lost_its_port(self, state: ServiceState) -> bool:
        """Return whether a process of ours died, and somebody was quicker to take its port."""
        address = self.service.address
        if address is None or self.main_process(state):
            return False
        return bool(ports.listeners(address.port, address.host))

    def _make_way(self, operation: Operation) -> None:
        service, store = self.service, operation.store
        lives = self.is_running(operation.state)
        if lives:
            operation.log("stopping", name=service.name)
            self._end(operation)
        elif (problem := store.pid_file_problem(service)) and service.pid_file.exists():
            operation.log("pid_file", name=service.name, problem=problem)
        if obstacle := self._free(operation):
            raise obstacle
        if lives:
            operation.log("stopped", name=service.name)

    def _end(self, operation: Operation) -> None:
        """End all processes of the service and forget them.

        HealError if one of its own processes is out of bounds, or survives.
        """
        service, state = self.service, operation.state
        if obstacle := ownership.untouchable(service, state):
            raise obstacle

        def find() -> list[Identity]:
            if family := self.processes(state):
                operation.begin_action()
            operation.dead.update(family)
            return family

        left = terminate(find, signum=service.stop_signal, timeout=service.stop_timeout)
        if left:
            holder = ", ".join(describe(identity.pid) for identity in left)
            raise HealError("survivors", name=service.name, holder=holder)
        if living := ownership.roots(service, state):
            holder = ", ".join(describe(identity.pid) for identity in living)
            raise HealError("lives_on", name=service.name, holder=holder)
        if state.identity:
            operation.dead.add(state.identity)
        operation.store.forget_process(service, state)

    def _free(self, operation: Operation) -> HealError | None:
        """End the listeners on the service's port that may be ended; return why one may not, or None."""
        service = self.service
        if service.address is None:
            return None
        number, host = service.address.port, service.address.host
        limit = service.stop_timeout + _FREEING_SECONDS
        for left in polls(limit):
            if not (listeners := ports.listeners(number, host)):
                return None
            holders = ownership.holders(listeners)
            if limit - left < _NAMELESS_SECONDS and None in holders:
                continue
            if obstacle := ownership.obstacle(service, number, holders):
                return obstacle
            self._end_holders(operation, number, {pid for pid in holders if pid})
        return ownership.foreign(service, number, listeners[0].pid, Message("why_returns", {}))

    def _end_holders(self, operation: Operation, number: int, pids: set[int]) -> None:
        identities = [identity for pid in sorted(pids) if (identity := Identity.of(pid))]
        # Looked at once more now that the identities are fixed, so that a PID reused since is not mistaken.
        holders = [identity for identity in identities if ports.listens({identity.pid}, number)]
        for holder in holders:
            operation.begin_action()
            operation.log("freeing", name=self.service.name, port=number, pid=holder.pid)
        # They alone: a child that does not listen is none of our business.
        terminate(lambda: holders, timeout=self.service.stop_timeout)

    def _start(self, operation: Operation) -> None:
        """Start the command, once more if it died and may have done so because of a zombie."""
        from remediation.engines.spawn import reap

        service, state = self.service, operation.state
        operation.log("starting", name=service.name)
        if state.identity:
            operation.dead.add(state.identity)
            # So that one whose PID we have no time to write down is known to be the next.
            operation.store.forget_process(service, state)
        dead = operation.dead.copy()
        operation.dead.clear()
        await_removal(zombies(dead), _AT_ONCE_SECONDS, reap)
        left = zombies(dead)
        try:
            self._launch(operation)
        except DiedError:
            if not left:
                raise
            # A server that finds its own old PID in a file, as PostgreSQL does, takes a zombie for one that runs. The
            # others do not ask, and are not kept waiting where nobody ever waits for a dead process.
            operation.log("zombie", name=service.name, pid=", ".join(str(one.pid) for one in left))
            await_removal(left, _REMOVAL_SECONDS, reap)
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
            # A dead one may have left children, and a server that nobody remembers would be the first of two.
            if started.death() or isinstance(error, OSError):
                self._end(operation)
            raise

    def _launched(self, operation: Operation) -> Started:
        """Start the command. If that fails, nothing was done."""
        from remediation.engines.spawn import launch

        before = operation.has_acted
        operation.begin_action()
        try:
            return launch(self.service, operation.state.start)
        except HealError:
            operation.has_acted = before
            operation.log("not_started", name=self.service.name)
            raise
