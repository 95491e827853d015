"""The faults: each is a real one, injected into the real process of a configured service while no healer runs."""

from __future__ import annotations

import os
import random
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from remediation.config.model import Address, Project, Service
from remediation.drill.bystanders import Bystanders
from remediation.drill.helper import Helper
from remediation.drill.results import InjectedFault, SkipError
from remediation.engines import ownership
from remediation.engines.spawn import child_environment, reap
from remediation.healing.context import longest
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState, Store
from remediation.system import environment, files, ports
from remediation.system.capabilities import can_mount_over_files, has_pidfd, has_proc
from remediation.system.process import Identity, Life, send, terminate


class Scene(Struct, frozen=True):
    """The context of a fault."""

    project: Project
    service: Service
    store: Store
    remediator: Remediator
    bystanders: Bystanders
    rng: random.Random
    folder: Path
    """Where the fault may write files."""
    stack: ExitStack
    """Ends the helpers of the fault together with the trial."""

    @contextmanager
    def held(self) -> Iterator[ServiceState]:
        """Keep healers away from the service, and yield its stored state."""
        with self.store.lock(self.service, timeout=longest(self.service)):
            yield self.store.recall(self.service)

    def process(self, state: ServiceState) -> Identity:
        """Return the proven process of the service. SkipError if there is none."""
        identity = state.identity
        if not identity or not identity.alive:
            raise SkipError("drill_no_process", name=self.service.name)
        return identity

    @property
    def address(self) -> Address:
        """The address of the service. SkipError if it has no port."""
        if self.service.address is None or self.service.address.socket:
            raise SkipError("drill_no_port", name=self.service.name)
        return self.service.address


def _crash(scene: Scene) -> InjectedFault:
    with scene.held() as state:
        return _kill_process(scene, state)


def _kill_process(scene: Scene, state: ServiceState, note: Message | None = None) -> InjectedFault:
    victim, victims = scene.process(state), frozenset(ownership.family(scene.service, state))
    at = time.monotonic()
    _kill_all([victim], scene)
    return InjectedFault(at, victims | {victim}, note=note)


def _kill_all(victims: list[Identity], scene: Scene) -> None:
    if kill(victims):
        raise SkipError("drill_immortal", name=scene.service.name)


def _kill_whole_service(scene: Scene, state: ServiceState) -> None:
    """Kill all processes of the service, and those that the main process starts in place of killed ones."""
    if _kill_found(lambda: ownership.family(scene.service, state)):
        raise SkipError("drill_immortal", name=scene.service.name)


def _hang(scene: Scene) -> InjectedFault:
    with scene.held() as state:
        victims = frozenset(ownership.family(scene.service, state)) | {scene.process(state)}
        at = time.monotonic()
        send(victims, signal.SIGSTOP)
        return InjectedFault(at, victims)


def _deaf_child(scene: Scene) -> InjectedFault:
    wrapper = str(Path(__file__).with_name("scripts") / "deaf.py")
    command = (sys.executable, "-I", "-S", wrapper, *scene.service.command)
    # The heal uses the configured command, without the wrapper.
    scene.remediator.restart(replace(scene.service, command=command))
    return _crash(scene)


def _orphan_on_port(scene: Scene) -> InjectedFault:
    address = scene.address
    with scene.held() as state:
        victim, victims = scene.process(state), ownership.family(scene.service, state)
        # Only by a pidfd can the orphan take them.
        descriptors = _listening(victims, address.port) if has_pidfd() else []
        places = [str(address.port), *sorted(ports.resolve(address.host))]
        environ = child_environment(scene.service)
        orphan = Helper("holder", "orphan", *places, "--", *descriptors, project=scene.project, env=environ)
        scene.stack.enter_context(orphan)
        pid, how = orphan.line().split()
        made = [identity] if (identity := Identity.of(int(pid))) else []
        scene.stack.callback(kill, made)
        at = time.monotonic()
        _kill_all(list({*victims, victim}), scene)
        if how != "taken":
            orphan.write_line("now")
            _wait_until_bound(orphan, scene)
        note = Message("drill_taken" if how == "taken" else "drill_bound", {})
        return InjectedFault(at, frozenset({*victims, victim, *made}), note=note)


def _listening(members: list[Identity], number: int) -> list[str]:
    """Return the listening sockets of a port as PID:DESCRIPTOR."""
    import psutil

    sockets = []
    for member in members:
        with suppress(psutil.Error):
            sockets += [
                f"{member.pid}:{connection.fd}"
                for connection in psutil.Process(member.pid).net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == number
            ]
    return sockets


def _wait_until_bound(holder: Helper, scene: Scene) -> None:
    if holder.line() != "bound":
        raise SkipError("drill_port_kept", name=scene.service.name, port=scene.address.port)


def _stranger(scene: Scene) -> InjectedFault:
    address = scene.address
    places = [str(address.port), *sorted(ports.resolve(address.host))]
    stranger = scene.stack.enter_context(
        Helper("holder", "stranger", *places, project=scene.project, env=environment.unmarked())
    )
    stranger.line()
    with scene.held() as state:
        victims = frozenset(ownership.family(scene.service, state)) | {scene.process(state)}
        at = time.monotonic()
        _kill_whole_service(scene, state)
        stranger.write_line("now")
        _wait_until_bound(stranger, scene)
    return InjectedFault(at, victims, stranger=None if scene.service.free_port == "user" else stranger.pid)


def _stale_pid(scene: Scene) -> InjectedFault:
    with scene.held() as state:
        injected = _kill_process(scene, state)
        pid = unused_pid(scene.rng)
        files.write(scene.service.pid_file, f"{pid}\n".encode(), mode=files.PUBLIC)
        return injected


def _reused_pid(scene: Scene) -> InjectedFault:
    other = scene.bystanders.namesake.helper
    with scene.held() as state:
        injected = _kill_process(scene, state)
        files.write(scene.service.pid_file, f"{other.pid}\n".encode(), mode=files.PUBLIC)
        # As if the kernel had reused the PID: it now belongs to another process, but the birth is the dead process's.
        state.pid = other.pid
        scene.store.keep(scene.service, state)
        return injected


def _full_log(scene: Scene) -> InjectedFault:
    if not can_mount_over_files():
        raise SkipError("drill_no_mount", problem="only Linux mounts so")
    logs = [log for log in (scene.service.log_file, scene.project.log_file) if _is_regular(log)]
    folder = scene.folder / "disk"
    folder.mkdir(exist_ok=True)
    disk = scene.stack.enter_context(Helper("fulldisk", str(folder), *map(str, logs), project=scene.project))
    if (answer := disk.line()) != "full":
        raise SkipError("drill_no_mount", problem=answer)
    return _crash(scene)


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _healer_killed(scene: Scene) -> InjectedFault:
    return replace(_crash(scene), healer_dies=True)


INJECTORS: Mapping[str, Callable[[Scene], InjectedFault]] = {
    "crash": _crash, "hang": _hang, "deaf-child": _deaf_child, "orphan-on-port": _orphan_on_port,
    "stranger": _stranger, "stale-pid": _stale_pid, "reused-pid": _reused_pid, "full-log": _full_log,
    "healer-killed": _healer_killed,
}  # fmt: skip
# After this fault the service, healed or not, writes to a log that nobody can see. The drill restarts it once more.
NEEDS_RESTART = "full-log"


# How long a process may take to end after SIGKILL, in seconds.
_SECONDS = 5.0
_FEWEST_PIDS = 32_768


def kill(identities: Iterable[Identity]) -> list[Identity]:
    """Send SIGKILL to processes, and return those that survive."""
    fixed = list(identities)
    return _kill_found(lambda: fixed)


def _kill_found(find: Callable[[], list[Identity]]) -> list[Identity]:
    survivors = terminate(find, signum=signal.SIGKILL, timeout=_SECONDS)
    # We may be their parent, if the drill itself has started them.
    reap()
    return survivors


def resume(identities: Iterable[Identity]) -> None:
    """Resume suspended processes."""
    send((identity for identity in identities if identity.life is Life.SUSPENDED), signal.SIGCONT)


def unused_pid(rng: random.Random) -> int:
    """Return a PID that no process or thread has now, and that the kernel is unlikely to assign soon."""
    limit = _FEWEST_PIDS
    if has_proc():
        with suppress(OSError, ValueError):
            limit = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    while True:
        # The kernel assigns PIDs in order, so those in the upper half stay free longest.
        pid = rng.randrange(limit // 2, limit)
        if Identity.of(pid) is None and not _exists(pid):
            return pid


def _exists(pid: int) -> bool:
    """Return whether a PID belongs to anything, a zombie or a thread, kill(2)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
