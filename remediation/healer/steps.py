"""The steps of a heal: stop, free the port, start, verify. Whoever takes one holds the service's lock."""

from __future__ import annotations

import time

from remediation.healer import look
from remediation.healer.launch import LaunchError, Started, launch, run_command
from remediation.primitives import port
from remediation.primitives.process import Identity, Life, descendants, describe, marked, protected, terminate
from remediation.project.memory import Memory, Store
from remediation.project.model import MARK, Service
from remediation.project.voice import Voice, seconds

# With ready = "none" nobody can be asked; a command that lives this long counts as started.
SETTLE_SECONDS = 0.2
# How long to go on ending listeners that somebody else brings back, beyond the service's own stop_timeout.
_PATIENCE = 5.0


class HealError(Exception):
    """A service could not be stopped or started; the message says why, in the user's language."""


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
            return look.answers(service, timeout=service.probe_timeout)
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
            raise HealError(self._voice.text("survivors", name=service.name, holder=holder))
        self._store.forget_process(service, memory)

    def free(self, service: Service, *, strict: bool) -> None:
        """End the listeners on the service's port that may be ended.

        With `strict`, HealError names one that may not; otherwise it is told and left.
        """
        if service.address is None:
            return
        number, host = service.address.port, service.address.host
        deadline = time.monotonic() + service.stop_timeout + _PATIENCE
        while listeners := port.listeners(number, host):
            for listener in listeners:
                why = self._may_not_end(service, listener)
                if why is None and time.monotonic() > deadline:
                    why = "comes back whenever it is ended"
                if why is not None:
                    holder = describe(listener.pid) if listener.pid else "a process of another user"
                    values = {"port": number, "holder": holder, "why": why}
                    reason = self._voice.text("foreign_port", name=service.name, **values)
                    if strict:
                        raise HealError(reason)
                    self._voice.say("refused", reason=reason)
                    return
                self._end_listener(service, listener)

    def _may_not_end(self, service: Service, listener: port.Listener) -> str | None:
        if listener.pid is None:
            return "belongs to another user"
        if why := protected(listener.pid):
            return why
        # What is ours was ended before the port is freed; whoever listens now is a stranger.
        if service.free_port != "user":
            return f'is not its own, and free_port is "{service.free_port}"'
        return None

    def _end_listener(self, service: Service, listener: port.Listener) -> None:
        identity = Identity.of(listener.pid or 0)
        if identity is None:
            return
        # Looked at once more now that the identity is fixed, so that a PID reused since is not mistaken.
        if service.address and not port.listens({identity.pid}, service.address.port):
            return
        self._voice.say("freeing", name=service.name, port=listener.port, pid=identity.pid)
        roots = [identity]
        terminate(lambda: descendants(roots), timeout=service.stop_timeout)

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
            raise HealError(str(error)) from None
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
        self._voice.say("not_started", name=service.name)
        asked = "a TCP connection" if service.ready == "tcp" else f"2xx at {service.ready}"
        self._fail(f"{service.name}: no answer ({asked}) within {seconds(timeout)}s of its start", started)

    def _notice_death(self, service: Service, started: Started | None) -> None:
        if started and (death := started.death()):
            self._voice.say("not_started", name=service.name)
            self._fail(f"{service.name}: `{' '.join(service.command)}` {death} before it was ready", started)

    def _fail(self, reason: str, started: Started | None) -> None:
        tail = started.log_tail() if started else []
        for line in tail:
            self._voice.say("detail", line=line)
        last = f": {tail[-1].strip()}" if tail else ""
        raise HealError(reason + last)

    def run(self, service: Service, command: tuple[str, ...], timeout: float) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds."""
        self._voice.say("running_command", command=" ".join(command))
        try:
            run_command(service, command, timeout=timeout)
        except LaunchError as error:
            raise HealError(str(error)) from None

    def try_running(self, service: Service, command: tuple[str, ...], timeout: float) -> None:
        """Run a rung's command; if it fails the restart is tried all the same, and the checks decide."""
        try:
            self.run(service, command, timeout)
        except HealError as error:
            self._voice.say("refused", reason=str(error))


def _parents(identity: Identity) -> set[int]:
    import psutil

    try:
        return {parent.pid for parent in psutil.Process(identity.pid).parents()}
    except psutil.Error:
        return set()
