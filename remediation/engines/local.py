"""The engine for services that we start ourselves, and recognize by PID and birth, by their mark and by their port."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from signal import Signals
from typing import TYPE_CHECKING

from remediation.config.model import Address
from remediation.engines import ownership
from remediation.engines.engine import Condition, Engine, FoundProcess, Operation, Start
from remediation.engines.errors import DiedError, HealError, StillServedError
from remediation.messages.message import Message
from remediation.probes.readiness import polls
from remediation.state import log_positions
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import (
    Identity,
    Life,
    await_death,
    await_removal,
    catches,
    descendants,
    describe,
    introduce,
    send,
    terminate,
    zombies,
)
from remediation.system.secrets import redacted_words
from remediation.system.telling import NOTHING, Excerpt

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
# How many processes to name before they are ended.
_NAMED = 3
# Seconds, beyond the service's own stop_timeout, to keep ending listeners that something else starts again.
_FREEING_SECONDS = 5.0


class _Reloaded(Start):
    """A main process that has been told to read its configuration again."""

    def __init__(self, command: str, main: Identity) -> None:
        self.command = command
        self.identity = main

    def death(self) -> Message | None:
        return None if self.identity.alive else Message("ended_by_reload", {})

    def sleep(self, seconds: float) -> None:
        await_death(self.identity, seconds)

    def excerpt(self) -> Excerpt:
        return NOTHING


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
        if service.address and not service.address.endpoint.is_local():
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
        if address is None or address.endpoint.refuses():
            return Condition.DEAD
        return Condition.REPLACED if state.identity else Condition.UNKNOWN

    def main_process(self, state: ServiceState) -> Identity | None:
        """Return the process that we started last if PID and birth prove that it lives."""
        return state.identity if state.identity and state.identity.alive else None

    def processes(self, state: ServiceState) -> list[Identity]:
        """Return the main process, the marked processes, and the descendants of all these."""
        service = self.service
        members = ownership.family(service, state)
        if service.free_port != "never" or service.address is None:
            return members
        # Then nobody who listens is ended but the main process and what descends from it.
        main = self.main_process(state)
        tree = set(descendants([main] if main else []))
        endpoint = service.address.endpoint
        return [member for member in members if member in tree or not endpoint.listens({member.pid})]

    def is_running(self, state: ServiceState) -> bool | None:
        """Return whether any process of the service lives."""
        return bool(ownership.roots(self.service, state).own)

    def owns_address(self, state: ServiceState) -> bool:
        """Return whether the main process, or a descendant of it, listens on the service's port."""
        process, address = self.main_process(state), self.service.address
        return process is not None and (address is None or ownership.owns(address.endpoint, process.pid))

    def lost_process(self, state: ServiceState, store: Store) -> FoundProcess | None:
        """Return the main process that is missing from PID file or state.

        A healer that died between starting the process and writing its PID leaves it marked, but unrecorded. A server
        may replace itself for an upgrade, as nginx and gunicorn do on SIGUSR2. And a person may have started it.
        """
        service, identity = self.service, state.identity
        if identity and identity.alive:
            is_lost = identity.life is Life.RUNNING and store.pid_file_problem(service) is not None
            return FoundProcess(identity, "again") if is_lost else None
        if service.ready == "none" or (service.address and service.address.endpoint.refuses()):
            # Without a probe, we cannot tell the service from a child that it left behind.
            return None
        if identity is None and (root := ownership.marked_root(service, state)):
            return FoundProcess(root, "again") if root.life is Life.RUNNING else None
        if successor := ownership.successor(service, state):
            return FoundProcess(successor, "successor")
        return self._started_by_hand(state)

    def _started_by_hand(self, state: ServiceState) -> FoundProcess | None:
        from remediation.engines import adoption

        if ownership.roots(self.service, state).own:
            # What is left of ours has to be ended first.
            return None
        only = adoption.search(self.service).only
        return FoundProcess(only.identity, "adopted", only.by_title) if only else None

    def rivals(self, state: ServiceState) -> list[int]:
        """Return the PIDs of processes that listen on the service's address, and are not of its main process's tree."""
        service, main = self.service, self.main_process(state)
        if service.address is None or main is None:
            return []
        own = {member.pid for member in descendants([main])}
        endpoint = service.address.endpoint
        if not endpoint.others_listen(own):
            return []
        holders = ownership.holders(endpoint.listeners())
        # Of a socket that workers share with their parent, one that is just ending is no rival.
        return sorted(pid for pid in holders - own if pid and Identity.of(pid))

    def stranger(self, state: ServiceState) -> Message | None:
        """Return who listens in the service's place, and why it cannot be adopted."""
        from remediation.engines import adoption

        service = self.service
        if service.address is None:
            return None
        found = adoption.search(service, ownership.family(service, state))
        if len(found.candidates) > 1:
            holders = ", ".join(introduce(candidate.identity.pid) for candidate in found.candidates)
            return Message("strangers", {"name": service.name, "holder": holders, "url": service.address})
        for pid, why in found.others.items():
            holder = introduce(pid) if pid else Message("somebody", {})
            return Message("stranger", {"name": service.name, "holder": holder, "why": why, "url": service.address})
        return None

    # A restart in advance.

    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return which process is protected, why the command could not be started, or which process holds the port."""
        return ownership.untouchable(self.service, state) or self._unstartable() or self._held_port(state)

    def _unstartable(self) -> HealError | None:
        from remediation.engines.spawn import unstartable, unstoppable

        return unstoppable(self.service) or unstartable(self.service, self.service.command)

    def _held_port(self, state: ServiceState) -> HealError | None:
        """Return why the port cannot be freed, or None if it can be."""
        service = self.service
        if service.address is None:
            return None
        endpoint = service.address.endpoint
        own = {member.pid for member in self.processes(state)}
        if endpoint.listens(own) and not endpoint.others_listen(own):
            # To find the owners of all sockets takes long.
            return None
        listeners = endpoint.listeners()
        strangers = [listener for listener in listeners if listener.pid and listener.pid not in own]
        # A socket without an owner may belong to a process that is just ending; the heal waits for it.
        holders = ownership.holders(strangers) - own
        return ownership.obstacle(service, service.address.port, sorted(pid for pid in holders if pid))

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
        strangers = ownership.holders(address.endpoint.listeners()) - own
        if problem := ownership.obstacle(self.service, address.port, strangers):
            raise problem
        for pid in sorted(filter(None, strangers)):
            yield _about("plan_free", address, holder=describe(pid))

    # Changes.

    def start(self, operation: Operation) -> None:
        """Start the command, after ending leftovers of an earlier start and freeing the port."""
        if not self.main_process(operation.state):
            self._require_stoppable()
            self._end_and_free(operation)
            self._start(operation)

    def _require_stoppable(self) -> None:
        """Raise HealError if we could not stop what we are about to start."""
        from remediation.engines.spawn import unstoppable

        if problem := unstoppable(self.service):
            raise problem

    def stop(self, operation: Operation) -> None:
        """End all processes of the service, and nobody else. StillServedError if its address is served all the same."""
        if self.is_running(operation.state):
            self._announce(operation)
        self._end(operation)
        self._require_silence(operation)

    def _announce(self, operation: Operation) -> None:
        """Log which processes are about to be ended."""
        members = self.processes(operation.state)
        if members:
            others = len(members) - _NAMED
            holder = ", ".join(introduce(member.pid) for member in members[:_NAMED])
            operation.log("ending", holder=f"{holder} (+{others})" if others > 0 else holder)
        operation.log("stopping", name=self.service.name)

    def _require_silence(self, operation: Operation) -> None:
        """Raise StillServedError if anything listens on the service's address."""
        service = self.service
        if service.address is None:
            return
        for _ in polls(_OWNERLESS_SECONDS):
            listeners = service.address.endpoint.listeners()
            if not listeners:
                return
            holders = ownership.holders(listeners)
            if None not in holders:
                break
        names = [introduce(pid) for pid in sorted(pid for pid in holders if pid)]
        operation.log_message(Message("spared_listener", {"name": service.name, "url": service.address}))
        raise StillServedError(service.name, str(service.address), ", ".join(names))

    def restart(self, operation: Operation) -> None:
        """End all processes of the service, free its port, and start the command."""
        self._require_stoppable()
        for attempt in range(_STARTS):
            self._end_and_free(operation)
            try:
                self._start(operation)
            except HealError:
                if attempt + 1 == _STARTS or not self._lost_its_port(operation.state):
                    raise
            else:
                return

    def reload(self, operation: Operation) -> None:
        """Let the main process read its configuration again, by a signal or a command, and wait until it is ready.

        DiedError if it ends: its successor, or a restart, has to take its place.
        """
        service, main = self.service, self.main_process(operation.state)
        if main is None or main.life is not Life.RUNNING:
            raise HealError("reload_dead", name=service.name)
        if isinstance(service.reload, Signals):
            if not catches(main, service.reload):
                raise HealError("reload_uncaught", name=service.name, signal=service.reload.name, pid=main.pid)
            operation.begin_action()
            operation.log("reloading", name=service.name)
            send([main], service.reload)
            words = service.reload.name
        else:
            operation.log("reloading", name=service.name)
            operation.run(service.reload, service.start_timeout, as_service=True)
            words = " ".join(redacted_words(service.reload))
        operation.await_ready(_Reloaded(words, main))

    def _lost_its_port(self, state: ServiceState) -> bool:
        """Return whether our process died because another one took its port first."""
        address = self.service.address
        if address is None or self.main_process(state):
            return False
        return bool(address.endpoint.listeners())

    def _end_and_free(self, operation: Operation) -> None:
        service, store = self.service, operation.store
        was_running = self.is_running(operation.state)
        if was_running:
            self._announce(operation)
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

        found = ownership.roots(service, state)
        if found.spared:
            holder = ", ".join(introduce(identity.pid) for identity in found.spared)
            operation.log("spared", name=service.name, holder=holder)
        main = self.main_process(state)
        survivors = terminate(find, main=main, signum=service.stop_signal, timeout=service.stop_timeout)
        if survivors:
            holder = ", ".join(describe(identity.pid) for identity in survivors)
            raise HealError("survivors", name=service.name, holder=holder)
        living = ownership.roots(service, state).own
        if living and service.free_port == "never":
            # Those who listen may live on: they are obstacles to a start.
            kept = set(ownership.family(service, state)) - set(self.processes(state))
            living = [root for root in living if root not in kept]
        if living:
            # Without our lock, another healer may have started it just now.
            operation.store.require_lock(service)
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
        address = service.address
        limit = service.stop_timeout + _FREEING_SECONDS
        for left in polls(limit):
            if not (listeners := address.endpoint.listeners()):
                return None
            holders = ownership.holders(listeners)
            if limit - left < _OWNERLESS_SECONDS and None in holders:
                continue
            if obstacle := ownership.obstacle(service, address.port, holders):
                return obstacle
            self._end_holders(operation, address, {pid for pid in holders if pid})
        return ownership.foreign(service, address.port, listeners[0].pid, Message("why_returns", {}))

    def _end_holders(self, operation: Operation, address: Address, pids: set[int]) -> None:
        identities = [identity for pid in sorted(pids) if (identity := Identity.of(pid))]
        # Check again now that the identities are fixed: a PID may have been reused since.
        holders = [identity for identity in identities if address.endpoint.listens({identity.pid})]
        for holder in holders:
            operation.begin_action()
            operation.log("ending", holder=introduce(holder.pid))
            operation.log_message(_about("freeing", address, name=self.service.name, pid=holder.pid))
        # End these alone: a child that does not listen does not hold the port.
        terminate(lambda: holders, timeout=self.service.stop_timeout)

    def _start(self, operation: Operation) -> None:
        """Start the command; try again if it died and a zombie may be the cause."""
        from remediation.engines.spawn import reap

        service, state = self.service, operation.state
        operation.log("starting", name=service.name)
        if state.identity:
            # The process may not be the one that led the session: a successor, or another one with a reused PID.
            operation.dead.update(filter(None, (state.identity, state.session_leader)))
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
        state.start, state.started_at = uuid.uuid4().hex, time.time()
        operation.store.keep(service, state)
        started = self._launched(operation)
        try:
            if started.log_start is None:
                operation.log("log_full", name=service.name, log=service.log_file)
            else:
                state.log_start = log_positions.at(service.log_file, started.log_start)
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


def _about(key: str, address: Address, **values: object) -> Message:
    """Return a text about the port of an address, or its variant about a socket."""
    place = {"socket": address.socket} if address.socket else {"port": address.port}
    return Message(f"{key}_socket" if address.socket else key, {**values, **place})
