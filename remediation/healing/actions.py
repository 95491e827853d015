"""The steps of a heal: stop, free the port, start, verify. Whoever takes one holds the service's lock."""

from __future__ import annotations

import time
import uuid

from remediation.config.model import Service
from remediation.healing import ownership
from remediation.healing.commands import Started, launch, reap, run_command
from remediation.healing.incident import DiedError, HealError
from remediation.messages.message import Phrase
from remediation.probes import liveness
from remediation.state import lock_grants
from remediation.state.event_log import Voice
from remediation.state.service_state import Memory, Store
from remediation.system import ports
from remediation.system.process import (
    Identity,
    Life,
    await_removal,
    descendants,
    describe,
    terminate,
    zombies,
)

# How often a start is tried if somebody takes the port between its being freed and the start.
_STARTS = 3
# With ready = "none" nobody can be asked; a command that lives this long counts as started.
SETTLE_SECONDS = 0.2
# The least time for one look, so that the last one before the deadline can still say why there is no answer.
_LAST_LOOK = 0.1
# The socket of a process that is just ending is nobody's until its last thread is gone; one that is nobody's for longer
# than this, in seconds, belongs to another user.
_NAMELESS_SECONDS = 1.0
# A dead process that its parent, or PID 1, does not wait for at once stays as a zombie. How long a start waits for that
# in any case, and how long if the server did not start beside the zombie, in seconds.
_AT_ONCE_SECONDS, _REMOVAL_SECONDS = 0.01, 2.0
# How long to go on ending listeners that somebody else brings back, beyond the service's own stop_timeout.
_FREEING_SECONDS = 5.0


class Steps:
    """What is done to a service, and told while it is done."""

    def __init__(self, store: Store, voice: Voice) -> None:
        """Remember in `store`, tell by `voice`."""
        self._store = store
        self._voice = voice
        self._acted: set[str] = set()
        self._dead: dict[str, set[Identity]] = {}

    def has_acted(self, service: Service) -> bool:
        """Return whether anything was signalled, ended or started since the service was recalled."""
        return service.name in self._acted

    def _acts(self, service: Service) -> None:
        self._store.insist(service)
        # Noted before it is done: whoever is interrupted in between may have done it.
        self._acted.add(service.name)

    def recall(self, service: Service) -> Memory:
        """Return what is remembered, once a command that a healer left behind when it was killed is ended.

        Two must not run side by side, and what it runs may remember something as well.
        """
        self._acted.discard(service.name)
        self._dead[service.name] = set()
        memory = self._store.recall(service)
        left = Identity(*memory.command) if memory.command else None
        if left and not lock_grants.runs_us(left):
            terminate(lambda: descendants([left]), timeout=service.stop_timeout)
            memory = self._store.recall(service)
            memory.command = None
        return memory

    def restart(self, service: Service, memory: Memory) -> None:
        """Stop and start a service, or ask whoever runs it to."""
        self._voice.say("restart", name=service.name)
        for attempt in range(_STARTS):
            self.stop_and_free(service, memory)
            try:
                self.start(service, memory, service.restart_command)
                break
            except HealError:
                if attempt + 1 == _STARTS or not self._lost_its_port(service, memory):
                    raise
        self._voice.say("restarted", name=service.name)

    @staticmethod
    def _lost_its_port(service: Service, memory: Memory) -> bool:
        """Return whether a process of ours died, and somebody was quicker to take its port."""
        if not service.command or service.address is None or (memory.identity and memory.identity.alive):
            return False
        return bool(ports.listeners(service.address.port, service.address.host))

    def already_up(self, service: Service, memory: Memory) -> bool:
        """Return whether the service answers and its process, if it should be ours, is; adopt it if need be."""
        if not service.command:
            answers = liveness.answers(service, timeout=service.probe_timeout)
            if answers:
                self._voice.say("started", name=service.name)
            return answers
        identity = self.adopt(service, memory) or memory.identity
        if not identity or identity.life is not Life.RUNNING:
            return False
        if not liveness.answers(service, timeout=service.probe_timeout):
            return False
        if service.address and not liveness.owns_port(service.address.port, identity.pid):
            # Somebody else answers in its place.
            return False
        self._voice.say("already_up", name=service.name, pid=identity.pid)
        return True

    def adopt(self, service: Service, memory: Memory) -> Identity | None:
        """Remember again a process of ours that answers, but that PID file or memory lost; None if there is none.

        A healer that died between starting it and writing its PID leaves it marked, but nameless.
        """
        identity = ownership.lost(service, memory, self._store)
        if identity:
            self._voice.say("adopted", name=service.name, pid=identity.pid)
            self._store.remember_process(service, memory, identity)
        return identity

    def stop_and_free(self, service: Service, memory: Memory) -> None:
        """End a service that we start ourselves, and whoever may be ended on its port."""
        if not service.command:
            return
        lives = self.lives(service, memory)
        if lives:
            self._voice.say("stopping", name=service.name)
            self.end(service, memory)
        elif (problem := self._store.pid_file_problem(service)) and service.pid_file.exists():
            self._voice.say("pid_file", name=service.name, problem=problem)
        self.free(service, strict=True)
        if lives:
            self._voice.say("stopped", name=service.name)

    def lives(self, service: Service, memory: Memory) -> bool:
        """Return whether any process of the service lives."""
        return bool(ownership.roots(service, memory))

    def end(self, service: Service, memory: Memory) -> None:
        """End all processes of a service and forget them.

        HealError if one of its own processes is out of bounds, or survives.
        """
        if obstacle := ownership.untouchable(service, memory):
            raise obstacle

        def find() -> list[Identity]:
            if family := ownership.family(service, memory):
                self._acts(service)
            self._dead.setdefault(service.name, set()).update(family)
            return family

        left = terminate(find, signum=service.stop_signal, timeout=service.stop_timeout)
        if left:
            holder = ", ".join(describe(identity.pid) for identity in left)
            raise HealError("survivors", name=service.name, holder=holder)
        if living := ownership.roots(service, memory):
            holder = ", ".join(describe(identity.pid) for identity in living)
            raise HealError("lives_on", name=service.name, holder=holder)
        self._note_death(service, memory)
        self._store.forget_process(service, memory)

    def _note_death(self, service: Service, memory: Memory) -> None:
        if memory.identity:
            self._dead.setdefault(service.name, set()).add(memory.identity)

    def free(self, service: Service, *, strict: bool) -> None:
        """End the listeners on the service's port that may be ended.

        With `strict`, HealError names one that may not; otherwise it is told and left.
        """
        if service.address is None:
            return
        number, host = service.address.port, service.address.host
        obstacle: HealError | None = None
        limit = service.stop_timeout + _FREEING_SECONDS
        for left in liveness.polls(limit):
            if not (listeners := ports.listeners(number, host)):
                return
            holders = ownership.holders(listeners)
            if limit - left < _NAMELESS_SECONDS and None in holders:
                continue
            if obstacle := ownership.obstacle(service, number, holders):
                break
            self._end_holders(service, number, {pid for pid in holders if pid})
        else:
            obstacle = ownership.foreign(service, number, listeners[0].pid, Phrase("why_returns", {}))
        if strict and obstacle:
            raise obstacle
        if obstacle:
            self._voice.tell(obstacle.phrase)

    def _end_holders(self, service: Service, number: int, pids: set[int]) -> None:
        identities = [identity for pid in sorted(pids) if (identity := Identity.of(pid))]
        # Looked at once more now that the identities are fixed, so that a PID reused since is not mistaken.
        holders = [identity for identity in identities if ports.listens({identity.pid}, number)]
        for holder in holders:
            self._acts(service)
            self._voice.say("freeing", name=service.name, port=number, pid=holder.pid)
        # They alone: a child that does not listen is none of our business.
        terminate(lambda: holders, timeout=service.stop_timeout)

    def start(self, service: Service, memory: Memory, command: tuple[str, ...]) -> None:
        """Start or ask to start, then wait until the service is ready."""
        if not service.command:
            self.run(service, memory, command, service.start_timeout)
            self.verify(service)
            self._voice.say("started", name=service.name)
            return
        self._voice.say("starting", name=service.name)
        if memory.identity:
            self._note_death(service, memory)
            # So that one whose PID we have no time to write down is known to be the next.
            self._store.forget_process(service, memory)
        dead = self._dead.pop(service.name, set())
        await_removal(zombies(dead), _AT_ONCE_SECONDS, reap)
        left = zombies(dead)
        try:
            self._launch(service, memory)
        except DiedError:
            if not left:
                raise
            # A server that finds its own old PID in a file, as PostgreSQL does, takes a zombie for one that runs. The
            # others do not ask, and are not kept waiting where nobody ever waits for a dead process.
            self._voice.say("zombie", name=service.name, pid=", ".join(str(one.pid) for one in left))
            await_removal(left, _REMOVAL_SECONDS, reap)
            self._voice.say("starting", name=service.name)
            self._launch(service, memory)
        self._voice.say("started", name=service.name)

    def _launch(self, service: Service, memory: Memory) -> None:
        """Start the service's command, and wait until it is ready."""
        memory.start = uuid.uuid4().hex
        self._store.keep(service, memory)
        before = self.has_acted(service)
        self._acts(service)
        try:
            started = launch(service, memory.start)
        except HealError:
            if not before:
                self._acted.discard(service.name)
            self._voice.say("not_started", name=service.name)
            raise
        try:
            if not started.is_logged:
                self._voice.say("log_full", name=service.name, log=service.log_file)
            if started.identity:
                self._store.remember_process(service, memory, started.identity)
                self._voice.say("pid", name=service.name, pid=started.identity.pid)
            self.verify(service, started)
        except (HealError, OSError) as error:
            # A dead one may have left children, and a server that nobody remembers would be the first of two.
            if started.death() or isinstance(error, OSError):
                self.end(service, memory)
            raise

    def verify(self, service: Service, started: Started | None = None) -> None:
        """Wait until the service is ready. HealError if it is not within start_timeout, or `started` dies."""
        timeout = service.start_timeout
        if service.ready == "none":
            timeout = min(timeout, SETTLE_SECONDS)
        problem: str | None = None
        for left in liveness.polls(timeout, started.sleep if started else time.sleep):
            self._notice_death(service, started)
            if service.ready != "none":
                problem = liveness.unready(service, timeout=min(max(left, _LAST_LOOK), service.probe_timeout))
                if problem is None:
                    self._notice_death(service, started)
                    return
        self._notice_death(service, started)
        if service.ready == "none":
            return
        self._tell_tail(service, started)
        raise HealError("no_answer", name=service.name, asked=liveness.asked(service), timeout=timeout, last=problem)

    def _notice_death(self, service: Service, started: Started | None) -> None:
        if started and (how := started.death()):
            last = self._tell_tail(service, started)
            key = "died_saying" if last else "died"
            raise DiedError(key, name=service.name, command=" ".join(service.command), how=how, last=last)

    def _tell_tail(self, service: Service, started: Started | None) -> str:
        """Tell that the service did not start, with the last lines of its log; return the most telling one."""
        self._voice.say("not_started", name=service.name)
        tail = started.log_tail() if started else []
        for line in tail:
            self._voice.say("detail", line=line)
        # Many programs end with a trace or a version after the line that says what is wrong.
        telling = [line for line in tail if "error" in line.lower()] or tail
        return telling[-1].strip() if telling else ""

    def run(self, service: Service, memory: Memory, command: tuple[str, ...], timeout: float) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds."""
        # That of a healer whose command we are is left in place.
        before = memory.command

        def begun(identity: Identity | None) -> None:
            self._acts(service)
            remember(identity)

        def remember(identity: Identity | None) -> None:
            memory.command = (identity.pid, identity.born) if identity else before
            self._store.keep(service, memory)

        self._voice.say("running_command", command=" ".join(command))
        try:
            run_command(service, command, timeout=timeout, begun=begun)
        finally:
            remember(None)

    def run_stop(self, service: Service, memory: Memory) -> None:
        """Run a service's stop command. HealError if it fails, or the service answers on after stop_timeout."""
        self.run(service, memory, service.stop_command, service.stop_timeout + service.start_timeout)
        if service.address is None or service.ready == "none":
            return
        for _ in liveness.polls(service.stop_timeout):
            # With all the time of a probe: a look cut short by our own deadline would prove nothing.
            if not liveness.answers(service, timeout=service.probe_timeout):
                return
        command = " ".join(service.stop_command)
        raise HealError("still_answers", name=service.name, command=command, url=service.address)

    def try_running(self, service: Service, memory: Memory, command: tuple[str, ...], timeout: float) -> None:
        """Run a rung's command; if it fails the restart is tried all the same, and the checks decide."""
        try:
            self.run(service, memory, command, timeout)
        except HealError as error:
            self._voice.tell(error.phrase)
