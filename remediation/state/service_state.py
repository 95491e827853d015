"""The state of a service between runs, which all processes that heal it share.

The PID file holds the PID alone, for other tools. `.auto-heal/NAME.json` holds the proof that the PID is still the
process that we started, a stop by hand, the restart budget and the last heal. Both files are replaced as a whole;
anything else in their place is reported and ignored.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import msgspec

from remediation.config.model import Budget, Project, Service
from remediation.messages.message import Message, english
from remediation.state import lock_grants
from remediation.state.log_positions import Position
from remediation.state.remediation import Remediation
from remediation.system import files
from remediation.system.capabilities import boot_id, steady
from remediation.system.disk import Reserve
from remediation.system.environment import SERVICE_MARK
from remediation.system.files import Lock, LockLostError, LockTimeoutError
from remediation.system.process import Identity, introduce, session_of, value_of

if TYPE_CHECKING:
    from typing_extensions import Self

# A state takes a few hundred bytes; we did not write a file larger than this.
_STATE_LIMIT = 1_000_000
# PIDs have at most ten digits; a PID file has one, and perhaps a line break.
_PID_LIMIT = 32
# How often to look for a place among the heals under way, in seconds.
_SLOT_POLL = 0.05
# A run with a heal writes a few dozen KiB, and evidence; a report of thousands of checks would not fit.
_RESERVE = 1 << 20


class ServiceState(msgspec.Struct):
    """All that we remember of one service. `heals` counts the heals that ended, of all processes."""

    pid: int | None = None
    born: str = ""
    adopted: bool = False
    """Whether a person started the process, in a session that is not ours."""
    session: tuple[int, str] | None = None
    """PID and birth of the leader of the session that we made for the last start."""
    start: str = ""
    """The mark that the last start put into the environment of its processes; it outlives a move of the folder."""
    folder: str = ""
    """On disk, device and inode of the project's folder: in a copy of it, the processes belong to another project."""
    stopped_by_hand: bool = False
    restarts: list[float] = []
    delay: float = 0.0
    """Seconds between tries of a start that fails, or between heals once the budget is spent; 0 otherwise."""
    not_before: float = 0.0
    """No heal before this moment, in epoch seconds."""
    failed_starts: int = 0
    """How many starts in a row failed before the service was ready; 0 once the budget is spent."""
    tried_since: float = 0.0
    """When the last restart that the budget counts began, in epoch seconds; failed starts are further tries of it."""
    slow_starts: int = 0
    """How many starts in a row did not become ready in time, although the process lived."""
    log_start: Position | None = None
    """Where the log of the last start begins."""
    started_at: float = 0.0
    """When we started the service last, in epoch seconds; 0 once its checks have passed."""
    not_valid: str = ""
    """Why its own configuration was found invalid at the last attempt at a restart; empty if it was not."""
    troubled_at: float = 0.0
    """When a heal was last requested, granted or not."""
    heals: int = 0
    rolled_back: int = 0
    """The number of heals when the last rollback ended."""
    rollback_problem: str = ""
    """Why the last rollback failed; empty if it did not."""
    command: tuple[int, str] | None = None
    """PID and birth of a command of the configuration that runs now, or whose healer died."""
    last_heal: Remediation | None = None
    """The last heal with the fields of `Remediation.brief`; its origin and cause are not kept."""
    port_holder: int | None = None
    """PID of the process that the last heal found on the port and may not end; None if there was none."""

    @property
    def identity(self) -> Identity | None:
        """The process that we started last, dead or alive."""
        return Identity(self.pid, self.born) if self.pid else None

    @property
    def session_leader(self) -> Identity | None:
        """The leader of the session that we made, dead or alive; None if there is none."""
        if self.session:
            return Identity(*self.session)
        # The first versions did not keep it, and every process that they started led its session.
        return None if self.adopted else self.identity

    def restarts_within(self, budget: Budget) -> int:
        """Count the restarts in the budget's window, and drop older ones."""
        now = time.time()
        # A restart in the future was written before the clock was set back; it counts as just now.
        self.restarts = [min(moment, now) for moment in self.restarts if moment > now - budget.window]
        return len(self.restarts)


class Pause(msgspec.Struct, frozen=True):
    """A pause of all healing, or of that of one service, until a moment in epoch seconds, or until a user ends it."""

    until: float | None = None
    boot: str = ""
    until_steady: float = 0.0
    """The same moment on the clock that counts from this boot and that nobody can set."""

    @classmethod
    def lasting(cls, seconds: float) -> Self:
        """Return a pause that begins now."""
        return cls(time.time() + seconds, boot_id(), steady() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the pause has ended; setting the clock makes it neither longer nor shorter."""
        if self.until is None:
            return False
        if self.boot and self.boot == boot_id():
            return self.until_steady <= steady()
        return self.until <= time.time()

    @property
    def message(self) -> Message:
        """The pause of all services in words."""
        return self.message_of("")

    def message_of(self, service: str) -> Message:
        """Return the pause of one service in words, or that of all."""
        key, names = ("paused_one", {"name": service}) if service else ("paused", {})
        if self.until is None:
            return Message(f"{key}_openly", names)
        return Message(key, names | {"until": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.until))})


class Store:
    """The stored states of a project's services, with their locks."""

    def __init__(self, project: Project) -> None:
        """Keep the states in the project's own folder."""
        self.project = project
        self.reserve = Reserve(project.state_folder / ".reserve", _RESERVE)
        """Reserved space that allows a heal on a full disk."""
        self._locks: dict[str, Lock] = {}
        self._stacks: dict[str, ExitStack] = {}

    def _file(self, service: Service) -> Path:
        return self.project.state_folder / f"{service.name}.json"

    def recall(self, service: Service) -> ServiceState:
        """Return the service's state; a missing or corrupt file counts as an empty state."""
        try:
            state = _decoded(files.read(self._file(service), limit=_STATE_LIMIT), service)
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return ServiceState()
        if state.folder not in ("", self._folder):
            self._disown(service, state)
        return msgspec.structs.replace(state, folder="")

    @property
    def _folder(self) -> str:
        try:
            status = self.project.root.stat()
        except OSError:
            return ""
        return f"{status.st_dev}:{status.st_ino}"

    @staticmethod
    def _disown(service: Service, state: ServiceState) -> None:
        """Drop the processes from a copied state, unless they bear the mark of this very project."""
        state.command = None
        if not state.pid or value_of(SERVICE_MARK, state.pid) != service.mark:
            state.pid, state.born, state.start, state.adopted, state.session = None, "", "", False, None

    def keep(self, service: Service, state: ServiceState) -> None:
        """Write the service's state. Only the holder of the service's lock may do so; LockLostError if it is lost."""
        self.require_lock(service)
        self._write(self._file(service), _encoded(msgspec.structs.replace(state, folder=self._folder)))

    def _write(self, path: Path, data: bytes, *, mode: int = files.PRIVATE) -> None:
        try:
            files.write(path, data, mode=mode)
        except OSError as error:
            if not self.reserve.frees(error):
                raise
            files.write(path, data, mode=mode)

    @contextmanager
    def lock(self, service: Service, *, timeout: float) -> Iterator[None]:
        """Hold the lock of a service as its only healer. LockTimeoutError after `timeout` seconds of waiting.

        In a command of the healer that already holds the lock, become its only guest instead.
        """
        deadline = time.monotonic() + timeout
        with ExitStack() as stack:
            if not self._enter_as_guest(service, stack, timeout):
                left = max(0.0, deadline - time.monotonic())
                self._locks[service.name] = stack.enter_context(self._locked(service, timeout=left))
                stack.callback(self._locks.pop, service.name)
                self._stacks[service.name] = stack
            self.reserve.attend()
            yield

    def retake_lock(self, service: Service) -> None:
        """Take a lock that we hold again if its file is gone, because a command of ours removed it.

        If another process was quicker, the lock is lost.
        """
        if (lock := self._locks.get(service.name)) and lock.is_lost:
            with suppress(LockTimeoutError):
                self._locks[service.name] = self._stacks[service.name].enter_context(self._locked(service, timeout=0))

    def require_lock(self, service: Service) -> None:
        """Raise LockLostError if we took the service's lock, and its file is no longer the one at its path."""
        if (lock := self._locks.get(service.name)) and lock.is_lost:
            raise LockLostError(errno.ESTALE, "was removed or replaced", str(lock.path))

    def _enter_as_guest(self, service: Service, stack: ExitStack, timeout: float) -> bool:
        # Even with a grant, a free lock has to be taken.
        if not lock_grants.is_granted(service) or not self.is_locked(service):
            return False
        with ExitStack() as waiting:
            waiting.enter_context(self.guests(service, timeout=timeout))
            # The command that we belong to may have ended while we waited.
            if not lock_grants.is_granted(service):
                return False
            stack.enter_context(waiting.pop_all())
        return True

    def guests(self, service: Service, *, timeout: float) -> AbstractContextManager[Lock]:
        """Keep guests of our lock out, after waiting for a guest that is acting on the service.

        LockTimeoutError after `timeout` seconds of waiting.
        """
        return files.locked(self.project.state_folder / f".{service.name}.guests.lock", timeout=timeout)

    def _locked(self, service: Service, *, timeout: float) -> AbstractContextManager[Lock]:
        return files.locked(self._lock_file(service), timeout=timeout)

    def _lock_file(self, service: Service) -> Path:
        return self.project.state_folder / f"{service.name}.lock"

    @contextmanager
    def heal_slot(self, stop: Event) -> Iterator[None]:
        """Hold one of the places of `limits.at_once` for heals, after waiting until one is free.

        KeyboardInterrupt if `stop` is set before.
        """
        places = [self.project.state_folder / f".heal-{number}.lock" for number in range(self.project.limits.at_once)]
        while True:
            for place in places:
                with ExitStack() as stack:
                    try:
                        stack.enter_context(files.locked(place, timeout=0))
                    except LockTimeoutError:
                        continue
                    yield
                    return
            if stop.wait(_SLOT_POLL):
                raise KeyboardInterrupt

    def is_locked(self, service: Service) -> bool:
        """Return whether a process is acting on a service now, without touching anything."""
        if not self._lock_file(service).exists():
            return False
        try:
            with self._locked(service, timeout=0):
                return False
        except LockTimeoutError:
            return True

    def pause(self, pause: Pause, service: str = "") -> None:
        """Allow no healing, or none of one service, while the pause lasts."""
        self._write(self._pause_file(service), msgspec.json.encode(pause))

    def resume(self, service: str = "") -> None:
        """End the pause of all services, or that of one; neither ends the other."""
        self._pause_file(service).unlink(missing_ok=True)

    def why_paused(self, service: str) -> Message | None:
        """Return the pause that forbids to heal a service, in words; None if there is none."""
        if pause := self.paused():
            return pause.message
        own = self.paused(service)
        return own.message_of(service) if own else None

    def paused(self, service: str = "") -> Pause | None:
        """Return the current pause of all services, or that of one, or None.

        To be safe, an unreadable file counts as a pause without an end.
        """
        try:
            pause = msgspec.json.decode(files.read(self._pause_file(service), limit=_STATE_LIMIT), type=Pause)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return Pause()
        return None if pause.is_over else pause

    def _pause_file(self, service: str) -> Path:
        return self.project.state_folder / (f".{service}.pause.json" if service else ".pause.json")

    def remember_process(
        self, service: Service, state: ServiceState, identity: Identity, *, adopted: bool = False
    ) -> None:
        """Write PID file and state for a process that we just started or found again, or that was `adopted`."""
        self.require_lock(service)
        self._write(service.pid_file, f"{identity.pid}\n".encode(), mode=files.PUBLIC)
        leader = state.session_leader
        state.pid, state.born, state.adopted = identity.pid, identity.born, adopted
        if adopted:
            state.session = None
        elif session_of(identity.pid) == identity.pid:
            state.session = (identity.pid, identity.born)
        else:
            # A successor of the process that we started is still in the session of that one.
            state.session = (leader.pid, leader.born) if leader else None
        self.keep(service, state)

    def forget_process(self, service: Service, state: ServiceState) -> None:
        """Remove the PID file, and the process from the state, once the process is gone."""
        self.require_lock(service)
        with suppress(FileNotFoundError):
            service.pid_file.unlink()
        state.pid, state.born, state.adopted, state.session = None, "", False, None
        self.keep(service, state)

    def proven_process(self, service: Service) -> Identity | None:
        """Return the live process that we started, or None."""
        identity = self.recall(service).identity
        return identity if identity and identity.alive else None

    def pid_file_problem(self, service: Service) -> str | None:
        """Return what is wrong with the PID file, or None if it names the live process that we started."""
        name = self.project.relative(service.pid_file)
        identity = self.recall(service).identity
        try:
            content = files.read(service.pid_file, limit=_PID_LIMIT)
        except FileNotFoundError:
            return english("no_pid_file", file=name)
        except OSError as error:
            return english("pid_file_unreadable", file=name, problem=error.strerror or Message("not_regular", {}))
        # ASCII digits only: int() alone would also accept +1, 1_000 and the digits of other scripts.
        text = content.strip()
        if not text.isdigit() or len(content) == _PID_LIMIT:
            return english("pid_file_without" if text else "pid_file_empty", file=name)
        pid = int(text)
        if identity and identity.pid == pid:
            return None if identity.alive else english("pid_file_stale", file=name, pid=pid)
        if Identity.of(pid) is None:
            return english("pid_file_nobody", file=name, pid=pid)
        return english("pid_file_foreign", file=name, holder=introduce(pid))


def _encoded(state: ServiceState) -> bytes:
    last = state.last_heal
    return msgspec.json.encode(msgspec.structs.asdict(state) | {"last_heal": last.brief() if last else None})


def _decoded(data: bytes, service: Service) -> ServiceState:
    """Return the state that `_encoded` wrote. MsgspecError if `data` is anything else."""
    stored = msgspec.json.decode(data, type=dict[str, Any])
    if (last := stored.get("last_heal")) is not None:
        # Only the history knows its origin and its cause.
        defaults = {"service": service.name, "origin": "check", "cause": ""}
        stored["last_heal"] = Remediation.from_stored(defaults | msgspec.convert(last, dict[str, Any]))
    return msgspec.convert(stored, ServiceState)
