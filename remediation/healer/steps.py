"""The steps of a heal: stop, free the port, start, verify. Whoever takes one holds the service's lock."""

from __future__ import annotations

import time

from remediation.healer import look
from remediation.healer.launch import LaunchError, Started, launch, run_command
from remediation.primitives import port
from remediation.primitives.process import Identity, Life, descendants, describe, marked, protected, terminate
from remediation.project.memory import Memory, Store
from remediation.project.model import MARK, Service
from remediation.project.phrase import Phrase, PhrasedError
from remediation.project.voice import Voice

# With ready = "none" nobody can be asked; a command that lives this long counts as started.
SETTLE_SECONDS = 0.2
# How long to go on ending listeners that somebody else brings back, beyond the service's own stop_timeout.
_PATIENCE = 5.0


class HealError(PhrasedError):
    """A service could not be stopped or started; the message says why."""


class Steps:
    """What is done to a service, and told while it is done."""

    def __init__(self, store: Store, voice: Voice) -> None:
        """Remember in `store`, tell by `voice`."""
        self._store = store
        self._voice = voice

    def restart(self, service: Service, memory: Memory) -> None:
        """Stop and start a service, or ask whoever runs it to."""
        self._voice.say("restart", name=service.name)
        self.stop_and_free(service, memory)
        self.start(service, memory, service.restart_command)
        self._voice.say("restarted", name=service.name)

    def already_up(self, service: Service, memory: Memory) -> bool:
        """Return whether the service answers and its process, if it should be ours, is."""
        if not service.command:
            answers = look.answers(service, timeout=service.probe_timeout)
            if answers:
                self._voice.say("started", name=service.name)
            return answers
        identity = memory.identity
        if not identity or not identity.alive:
            # A healer that died between starting it and writing its PID left it marked, but nameless.
            identity = next(iter(self._oldest_marked(service)), None)
        if not identity or identity.life is not Life.RUNNING:
            return False
        if not look.answers(service, timeout=service.probe_timeout):
            return False
        if identity != memory.identity:
            self._voice.say("adopted", name=service.name, pid=identity.pid)
            self._store.remember_process(service, memory, identity)
        elif self._store.pid_file_problem(service):
            self._store.remember_process(service, memory, identity)
        self._voice.say("already_up", name=service.name, pid=identity.pid)
        return True

    @staticmethod
    def _oldest_marked(service: Service) -> list[Identity]:
        """The marked process that is no child of another marked one: the service itself."""
        family = marked(MARK, service.mark)
        pids = {identity.pid for identity in family}
        roots = [member for member in family if not _parents(member) & pids]
        return roots if len(roots) == 1 else []

    def stop_and_free(self, service: Service, memory: Memory) -> None:
        """End a service that we start ourselves, and whoever may be ended on its port."""
        if not service.command:
            return
        family = self._family(service, memory)
        if family:
            self._voice.say("stopping", name=service.name)
            self.end(service, memory)
        elif (problem := self._store.pid_file_problem(service)) and service.pid_file.exists():
            self._voice.say("pid_file", name=service.name, problem=problem)
        self.free(service, strict=True)
        if family:
            self._voice.say("stopped", name=service.name)

    @staticmethod
    def _family(service: Service, memory: Memory) -> list[Identity]:
        """Return every process that is provenly the service's: the one remembered, the marked, their children."""
        roots = marked(MARK, service.mark)
        if memory.identity and memory.identity not in roots:
            roots.append(memory.identity)
        return [member for member in descendants(roots) if not protected(member.pid)]

    def end(self, service: Service, memory: Memory) -> None:
        """End all processes of a service and forget them. HealError names those that survive."""
        left = terminate(
            lambda: self._family(service, memory), signum=service.stop_signal, timeout=service.stop_timeout
        )
        if left:
            holder = ", ".join(describe(identity.pid) for identity in left)
            raise HealError("survivors", name=service.name, holder=holder)
        self._store.forget_process(service, memory)

    def free(self, service: Service, *, strict: bool) -> None:
        """End the listeners on the service's port that may be ended.

        With `strict`, HealError names one that may not; otherwise it is told and left.
        """
        if service.address is None:
            return
        number, host = service.address.port, service.address.host
        obstacle: HealError | None = None
        for _ in look.polls(service.stop_timeout + _PATIENCE):
            if not (listeners := port.listeners(number, host)):
                return
            obstacle = next(filter(None, (self._obstacle(service, listener) for listener in listeners)), None)
            if obstacle:
                break
            for listener in listeners:
                self._end_listener(service, listener)
        else:
            obstacle = self._foreign(service, listeners[0], Phrase("why_returns", {}))
        if strict and obstacle:
            raise obstacle
        if obstacle:
            self._voice.tell(obstacle.phrase)

    def _obstacle(self, service: Service, listener: port.Listener) -> HealError | None:
        """Return why a listener may not be ended, or None if it may be."""
        if listener.pid is None:
            return self._foreign(service, listener, Phrase("why_other_user", {}))
        if protection := protected(listener.pid):
            return self._foreign(service, listener, Phrase(f"why_{protection.name.lower()}", {}))
        # What is ours was ended before the port is freed; whoever listens now is a stranger.
        if service.free_port != "user":
            return self._foreign(service, listener, Phrase("why_stranger", {"free_port": service.free_port}))
        return None

    @staticmethod
    def _foreign(service: Service, listener: port.Listener, why: Phrase) -> HealError:
        holder = describe(listener.pid) if listener.pid else Phrase("somebody", {})
        return HealError("foreign_port", name=service.name, port=listener.port, holder=holder, why=why)

    def _end_listener(self, service: Service, listener: port.Listener) -> None:
        identity = Identity.of(listener.pid or 0)
        # Looked at once more now that the identity is fixed, so that a PID reused since is not mistaken.
        if identity and port.listens({identity.pid}, listener.port):
            self._voice.say("freeing", name=service.name, port=listener.port, pid=identity.pid)
            # It alone: of its children, one that listens as well is found by the next look at the port.
            terminate(lambda: [identity], timeout=service.stop_timeout)

    def start(self, service: Service, memory: Memory, command: tuple[str, ...]) -> None:
        """Start or ask to start, then wait until the service is ready."""
        if not service.command:
            self.run(service, command, service.start_timeout)
            self._verify(service, None)
            self._voice.say("started", name=service.name)
            return
        self._voice.say("starting", name=service.name)
        try:
            started = launch(service)
        except LaunchError as error:
            self._voice.say("not_started", name=service.name)
            raise HealError(error.phrase.key, **error.phrase.values) from None
        if started.identity:
            try:
                self._store.remember_process(service, memory, started.identity)
            except OSError:
                # A server that nobody remembers would be the first of two.
                terminate(lambda: self._family(service, memory), timeout=service.stop_timeout)
                raise
            self._voice.say("pid", name=service.name, pid=started.identity.pid)
        try:
            self._verify(service, started)
        except HealError:
            if started.death():
                self._store.forget_process(service, memory)
            raise
        self._voice.say("started", name=service.name)

    def _verify(self, service: Service, started: Started | None) -> None:
        timeout = service.start_timeout
        if service.ready == "none":
            timeout = min(timeout, SETTLE_SECONDS)
        for left in look.polls(timeout, started.sleep if started else time.sleep):
            self._notice_death(service, started)
            if service.ready != "none" and look.answers(service, timeout=min(left, service.probe_timeout)):
                self._notice_death(service, started)
                return
        self._notice_death(service, started)
        if service.ready == "none":
            return
        asked = Phrase("asked_tcp", {}) if service.ready == "tcp" else Phrase("asked_path", {"path": service.ready})
        self._tell_tail(service, started)
        raise HealError("no_answer", name=service.name, asked=asked, timeout=timeout)

    def _notice_death(self, service: Service, started: Started | None) -> None:
        if started and (how := started.death()):
            last = self._tell_tail(service, started)
            key = "died_saying" if last else "died"
            raise HealError(key, name=service.name, command=" ".join(service.command), how=how, last=last)

    def _tell_tail(self, service: Service, started: Started | None) -> str:
        """Tell that the service did not start, with the last lines of its log; return the last one."""
        self._voice.say("not_started", name=service.name)
        tail = started.log_tail() if started else []
        for line in tail:
            self._voice.say("detail", line=line)
        return tail[-1].strip() if tail else ""

    def run(self, service: Service, command: tuple[str, ...], timeout: float) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds."""
        self._voice.say("running_command", command=" ".join(command))
        try:
            run_command(service, command, timeout=timeout)
        except LaunchError as error:
            raise HealError(error.phrase.key, **error.phrase.values) from None

    def try_running(self, service: Service, command: tuple[str, ...], timeout: float) -> None:
        """Run a rung's command; if it fails the restart is tried all the same, and the checks decide."""
        try:
            self.run(service, command, timeout)
        except HealError as error:
            self._voice.tell(error.phrase)


def _parents(identity: Identity) -> set[int]:
    import psutil

    try:
        return {parent.pid for parent in psutil.Process(identity.pid).parents()}
    except psutil.Error:
        return set()
