"""The faults, each a real one, done to the real process of a configured service while nobody else heals it."""

from __future__ import annotations

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
from remediation.engines.spawn import child_environment
from remediation.healing.context import longest
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState, Store
from remediation.system import environment, files, ports
from remediation.system.process import Identity, Life, send, terminate


class Scene(Struct, frozen=True):
    """All that a fault may use."""

    project: Project
    service: Service
    store: Store
    remediator: Remediator
    herd: Bystanders
    rng: random.Random
    folder: Path
    """Where it may leave files."""
    stack: ExitStack
    """Ends, with the trial, what the fault brings along."""

    @contextmanager
    def held(self) -> Iterator[ServiceState]:
        """Keep healers away from the service, and lend what is remembered of it."""
        with self.store.lock(self.service, timeout=longest(self.service)):
            yield self.store.recall(self.service)

    def process(self, state: ServiceState) -> Identity:
        """Return the process that is proven to be the service's. SkipError if there is none."""
        identity = state.identity
        if not identity or not identity.alive:
            raise SkipError("drill_no_process", name=self.service.name)
        return identity

    @property
    def address(self) -> Address:
        """Where the service answers. SkipError if it has no such place."""
        if self.service.address is None:
            raise SkipError("drill_no_port", name=self.service.name)
        return self.service.address


def _crash(scene: Scene) -> InjectedFault:
    with scene.held() as state:
        return _kill_process(scene, state)


def _kill_process(scene: Scene, state: ServiceState, note: Message | None = None) -> InjectedFault:
    victim, victims = scene.process(state), frozenset(ownership.family(scene.service, state))
    at = time.monotonic()
    _dead([victim], scene)
    return InjectedFault(at, victims | {victim}, note=note)


def _dead(victims: list[Identity], scene: Scene) -> None:
    if kill(victims):
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
    # Healed is what the configuration says, without the wrapper.
    scene.remediator.restart(replace(scene.service, command=command))
    return _crash(scene)


def _orphan_on_port(scene: Scene) -> InjectedFault:
    address = scene.address
    with scene.held() as state:
        victim, victims = scene.process(state), ownership.family(scene.service, state)
        descriptors = _listening(victims, address.port)
        places = [str(address.port), *sorted(ports.resolve(address.host))]
        environ = child_environment(scene.service)
        orphan = Helper("holder", "orphan", *places, "--", *descriptors, project=scene.project, env=environ)
        scene.stack.enter_context(orphan)
        pid, how = orphan.line().split()
        made = [identity] if (identity := Identity.of(int(pid))) else []
        scene.stack.callback(kill, made)
        at = time.monotonic()
        _dead(list({*victims, victim}), scene)
        if how != "taken":
            orphan.tell("now")
            _bound(orphan, scene)
        note = Message("drill_taken" if how == "taken" else "drill_bound", {})
        return InjectedFault(at, frozenset({*victims, victim, *made}), note=note)


def _listening(members: list[Identity], number: int) -> list[str]:
    """Return the listening sockets of a port as PID:DESCRIPTOR."""
    import psutil

    found = []
    for member in members:
        with suppress(psutil.Error):
            found += [
                f"{member.pid}:{one.fd}"
                for one in psutil.Process(member.pid).net_connections(kind="tcp")
                if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == number
            ]
    return found


def _bound(holder: Helper, scene: Scene) -> None:
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
        _dead(list(victims), scene)
        stranger.tell("now")
        _bound(stranger, scene)
    return InjectedFault(at, victims, stranger=None if scene.service.free_port == "user" else stranger.pid)


def _stale_pid(scene: Scene) -> InjectedFault:
    with scene.held() as state:
        struck = _kill_process(scene, state)
        pid = nobodys_pid(scene.rng)
        files.write(scene.service.pid_file, f"{pid}\n".encode(), mode=files.PUBLIC)
        return struck


def _reused_pid(scene: Scene) -> InjectedFault:
    other = scene.herd.namesake.helper
    with scene.held() as state:
        struck = _kill_process(scene, state)
        files.write(scene.service.pid_file, f"{other.pid}\n".encode(), mode=files.PUBLIC)
        # As if the kernel had handed the number on: the PID is another's now, the birth is still that of the dead.
        state.pid = other.pid
        scene.store.keep(scene.service, state)
        return struck


def _full_log(scene: Scene) -> InjectedFault:
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


MAKE: Mapping[str, Callable[[Scene], InjectedFault]] = {
    "crash": _crash, "hang": _hang, "deaf-child": _deaf_child, "orphan-on-port": _orphan_on_port,
    "stranger": _stranger, "stale-pid": _stale_pid, "reused-pid": _reused_pid, "full-log": _full_log,
    "healer-killed": _healer_killed,
}  # fmt: skip
# After this the service, healed or not, writes to a log that nobody can see: it is restarted once more.
RENEWED = "full-log"


# How long a process may take to be gone after SIGKILL.
_SECONDS = 5.0
_FEWEST_PIDS = 32_768


def kill(identities: Iterable[Identity]) -> list[Identity]:
    """Kill processes by SIGKILL, and return those that are left."""
    fixed = list(identities)
    return terminate(lambda: fixed, signum=signal.SIGKILL, timeout=_SECONDS)


def resume(identities: Iterable[Identity]) -> None:
    """Let suspended processes go on."""
    send((one for one in identities if one.life is Life.SUSPENDED), signal.SIGCONT)


def nobodys_pid(rng: random.Random) -> int:
    """Return a PID that no process and no thread has now, as far from those to come as can be."""
    try:
        limit = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        limit = _FEWEST_PIDS
    while True:
        # The kernel gives them out in order, so that the ones above are free for longest.
        pid = rng.randrange(limit // 2, limit)
        if Identity.of(pid) is None and not Path(f"/proc/{pid}").exists():
            return pid
