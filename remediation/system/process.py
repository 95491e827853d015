"""Identify, inspect, mark and end processes.

The kernel reuses PIDs. Everything here therefore works on an `Identity`, a PID with the birth of its process, and
signals a process only while it still matches.

A mark is an environment variable. Every descendant of a process inherits it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from remediation.system.capabilities import boot_id, has_pidfd, has_proc

if TYPE_CHECKING:
    from typing_extensions import Self

# How long a process may take to disappear after SIGKILL. Only a process that hangs in the kernel takes longer.
KILL_TIMEOUT = 5.0
# The most seconds that poll(2) can count in milliseconds, rounded down.
_LONGEST_WAIT = 2_000_000.0
# How long a service's main process may take to end its other processes in order, in seconds.
MAIN_ALONE = 2.0
# Children can be born while their parents end. Children that survive more attempts than this are a fork bomb.
_KILL_ATTEMPTS = 3
# How often to examine a process in all if it changes meanwhile.
_EXAMINE_ATTEMPTS = 3
# How often to poll for the removal of a zombie: no descriptor reports it.
_REMOVAL_SECONDS = 0.002
# How often to poll for the end of a process where there is no pidfd.
_POLL_SECONDS = 0.01


class Life(Enum):
    """What a process is doing, as far as healing is concerned."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    """Stopped by SIGSTOP or job control: it does not respond until SIGCONT."""
    GONE = "gone"
    """Ended, a zombie, or its PID now belongs to another process."""


# The errors of /proc for a process that is gone or hidden from us. Any other error, such as a lack of descriptors,
# must not pass for a death.
NO_PROCESS = (FileNotFoundError, ProcessLookupError, PermissionError)
# No kernel uses more bits for a PID.
_PID_BITS = 31


def _stat(pid: int) -> tuple[str, str] | None:
    """Return the state letter and the birth of a process, or None if there is no such process.

    On Linux the birth is the boot id and the start in clock ticks since boot, proc(5) field 22. Unlike a time of
    day, it does not move when the clock is set. Elsewhere it is the time that the kernel keeps, which moves with the
    clock on FreeBSD and OpenBSD. Raises OSError if the process cannot be read.
    """
    if boot := boot_id():
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except NO_PROCESS:
            return None
        # Field 3, the state, has index 0. The name before it may itself hold spaces and brackets.
        return fields[0].decode(), f"{boot}/{fields[19].decode()}"
    return _stat_by_psutil(pid)


def _is_thread(pid: int) -> bool:
    """Return whether a number is a thread's: /proc and kill(2) accept those as well."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except NO_PROCESS:
        return False
    return f"\nTgid:\t{pid}\n".encode() not in status


def _stat_by_psutil(pid: int) -> tuple[str, str] | None:
    import psutil

    letters = {psutil.STATUS_ZOMBIE: "Z", psutil.STATUS_DEAD: "X", psutil.STATUS_STOPPED: "T"}
    try:
        process = psutil.Process(pid)
        # Since psutil 7.1, create_time() moves when the clock is set, and this does not, where the system allows it.
        born = getattr(process, "_ident", (pid, None))[1]
        return letters.get(process.status(), "S"), f"{process.create_time() if born is None else born:.2f}"
    except (psutil.Error, ValueError):
        # ValueError for a negative number.
        return None


class Identity(Struct, frozen=True):
    """A PID with the birth of its process."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of the live process that has this PID now; None if there is none or it is a zombie."""
        if pid <= 0 or pid.bit_length() > _PID_BITS or (stat := _stat(pid)) is None or stat[0] in "ZXx":
            return None
        return None if has_proc() and _is_thread(pid) else cls(pid, stat[1])

    @property
    def life(self) -> Life:
        """The current state of this very process."""
        stat = _stat(self.pid)
        if stat is None or stat[1] != self.born or stat[0] in "ZXx":
            return Life.GONE
        # "t" means stopped by a debugger. Such a process counts as running, so that nothing disturbs the debugging.
        return Life.SUSPENDED if stat[0] == "T" else Life.RUNNING

    @property
    def alive(self) -> bool:
        """Whether this very process is alive; a zombie is not."""
        return self.life is not Life.GONE


def zombies(dead: Iterable[Identity]) -> list[Identity]:
    """Return the zombies among these dead processes and among the sessions that they led.

    For kill(2), and so for every program that checks a PID file with it, a zombie still exists.
    """
    leaders = {identity.pid for identity in dead}
    # If a session's number was reused, a foreign zombie can be among them. That is harmless: we only wait for it.
    return [
        Identity(pid, stat[1])
        for pid in (pids() if leaders else [])
        if (pid in leaders or session_of(pid) in leaders) and (stat := _stat(pid)) and stat[0] in "ZXx"
    ]


def session_of(pid: int) -> int | None:
    """Return the number of a process's session, the PID of its leader; None if the process is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def await_removal(remaining: Iterable[Identity], timeout: float, reap: Callable[[], object]) -> None:
    """Wait at most `timeout` seconds until these zombies have left the process table.

    Each poll calls `reap`, which waits for those that are our children.
    """
    deadline = time.monotonic() + timeout
    while remaining := [zombie for zombie in remaining if (stat := _stat(zombie.pid)) and stat[1] == zombie.born]:
        reap()
        if time.monotonic() >= deadline:
            return
        time.sleep(_REMOVAL_SECONDS)


def describe(pid: int) -> str:
    """Return the name and owner of a process: `nginx (PID 812, user www-data)`."""
    import psutil

    try:
        process = psutil.Process(pid)
        return f"{process.name()} (PID {pid}, user {process.username()})"
    except (psutil.Error, ValueError):
        return f"PID {pid}"


def introduce(pid: int) -> str:
    """Return a process as `describe` does, with its working directory: `node (PID 812, user ci, cwd /srv/app)`."""
    import psutil

    try:
        cwd = psutil.Process(pid).cwd()
    except (psutil.Error, ValueError):
        return describe(pid)
    # The kernel hides the working directory of other users' processes.
    return f"{describe(pid).removesuffix(')')}, cwd {cwd})" if cwd else describe(pid)


class Protection(Enum):
    """Why auto-heal must never signal a process."""

    INIT = "is PID 1"
    OURSELVES = "is auto-heal itself"
    ANCESTOR = "is an ancestor of auto-heal"
    NO_PROCESS = "is no process"
    OTHER_USER = "belongs to another user"
    """The kernel lets us signal no process of that user."""
    UNKNOWN = "cannot be examined"


def protected(pid: int) -> Protection | None:
    """Return why a process must never be signalled, or None if it may be."""
    if pid == 1:
        return Protection.INIT
    if pid == os.getpid():
        return Protection.OURSELVES
    if Identity.of(pid) is None:
        return Protection.NO_PROCESS
    import psutil

    for _ in range(_EXAMINE_ATTEMPTS):
        # One of our ancestors, or the process itself, may end meanwhile.
        with suppress(psutil.Error):
            uids = psutil.Process(pid).uids()
            ancestors = {parent.pid for parent in psutil.Process().parents()}
            if pid in ancestors:
                return Protection.ANCESTOR
            # The kernel's own rule, kill(2).
            is_ours = os.geteuid() == 0 or not {os.getuid(), os.geteuid()}.isdisjoint((uids.real, uids.saved))
            return None if is_ours else Protection.OTHER_USER
    return Protection.UNKNOWN if Identity.of(pid) else Protection.NO_PROCESS


def user_of(pid: int) -> int | None:
    """Return the real user ID of a process; None if it is gone, or if its effective user ID is another."""
    import psutil

    try:
        uids = psutil.Process(pid).uids()
    except (psutil.Error, ValueError):
        return None
    return int(uids.real) if uids.real == uids.effective else None


def of_this_user(processes: Iterable[Identity]) -> list[Identity]:
    """Return those of these processes that run as our own user."""
    return [process for process in processes if user_of(process.pid) == os.getuid()]


def has_terminal(pid: int) -> bool:
    """Return whether a process has a controlling terminal, as the processes of an interactive shell have."""
    import psutil

    if has_proc():
        try:
            # proc_pid_stat(5) field 7: the terminal's device number, 0 for none. psutil names only those in /dev.
            return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[4] != b"0"
        except NO_PROCESS:
            return False
    try:
        return psutil.Process(pid).terminal() is not None
    except (psutil.Error, ValueError):
        return False


def descendants(roots: Iterable[Identity]) -> list[Identity]:
    """Return the live roots with all their descendants, in whatever process group."""
    identities = {root.pid: root for root in roots if root.alive}
    if not identities:
        return []
    import psutil

    for root in list(identities.values()):
        with suppress(psutil.Error):
            children = psutil.Process(root.pid).children(recursive=True)
            pairs = [(child, Identity.of(child.pid)) for child in children]
            # If a child, or the root, has died meanwhile, its PID may already belong to another process.
            family = {child.pid: identity for child, identity in pairs if identity and child.is_running()}
            if root.alive:
                identities |= family
    return list(identities.values())


def session_members(leader: Identity) -> list[Identity]:
    """Return the live processes of the session that a process led, even once that process is dead.

    While a session has a member, the kernel gives its number to no other process, setsid(2). If the number belongs to
    another process all the same, the whole session was gone in between, and this is another one.
    """
    current = _stat(leader.pid)
    if current and current[1] != leader.born:
        return []
    candidates = [(pid, Identity.of(pid)) for pid in pids() if session_of(pid) == leader.pid]
    return [
        identity
        for pid, identity in candidates
        if identity and _is_later(identity.born, leader.born) and session_of(pid) == leader.pid and identity.alive
    ]


def _is_later(born: str, other: str) -> bool:
    """Return whether a process was born after another, or at the same time; False if not since the same boot."""
    boot, _, moment = born.rpartition("/")
    other_boot, _, other_moment = other.rpartition("/")
    try:
        return boot == other_boot and float(moment) >= float(other_moment)
    except ValueError:
        return False


def group(leader: int) -> list[Identity]:
    """Return the live processes of a process group.

    The caller must pin the leader's PID, for example by not waiting for that process.
    """
    members = []
    for pid in pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == leader and (identity := Identity.of(pid)):
                members.append(identity)
    return members


def pids() -> list[int]:
    """Return the PIDs of all processes."""
    if has_proc():
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - called often, must be fast
    import psutil

    return psutil.pids()


def pidfd(pid: int) -> int | None:
    """Return a pidfd, pidfd_open(2), which turns readable when the process ends.

    None on another system or an old kernel, if no descriptor is left, or if the process is gone.
    """
    if not has_pidfd():
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


class _Target:
    """A process pinned by a pidfd, so that no reused PID gets its signal."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        # Without a pidfd, only the check before each signal protects other processes.
        self.fd = pidfd(identity.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.fd is not None:
            os.close(self.fd)

    def send(self, signum: signal.Signals) -> None:
        """Signal the process if it is still the same one; otherwise do nothing."""
        if not self.identity.alive:
            return
        with suppress(ProcessLookupError, PermissionError):
            if self.fd is not None:
                signal.pidfd_send_signal(self.fd, signum)
            else:
                os.kill(self.identity.pid, signum)

    def end(self, signum: signal.Signals) -> None:
        """Signal the process, and continue it if it is stopped: until SIGCONT the signal stays pending, signal(7)."""
        suspended = self.identity.life is Life.SUSPENDED
        self.send(signum)
        if suspended and signum is not signal.SIGKILL:
            self.send(signal.SIGCONT)

    def await_death(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for the process to end."""
        deadline = time.monotonic() + timeout
        if self.fd is not None and self.identity.alive:
            # A pidfd turns readable when its process ends, pidfd_open(2), even if a zombie remains.
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            poll.poll(min(max(0.0, timeout), _LONGEST_WAIT) * 1000)
            return
        while self.identity.alive and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def terminate(
    find: Callable[[], Iterable[Identity]],
    *,
    main: Identity | None = None,
    signum: signal.Signals = signal.SIGTERM,
    timeout: float,
) -> list[Identity]:
    """End all processes that `find` returns, and return those that survive.

    Calls `find` again after each wait, so that children born meanwhile do not escape. The `main` process gets `signum`
    first, since many servers end their own workers in order; the others get it when it is gone, or after MAIN_ALONE
    seconds. `timeout` seconds after the first signal, the survivors and the newborn get SIGKILL. Protected processes
    (see `protected`) are neither signalled nor returned. The function returns as soon as all of them have ended.
    """
    deadline = time.monotonic() + timeout
    # Once a parent has ended, `find` no longer reaches its children. So remember every process.
    targets = dict.fromkeys(find())
    # A second signal would tell many servers not to end in order.
    signalled = _allowed([main] if main in targets else [])
    if signalled:
        _signal_and_wait(signalled, signum, min(timeout, MAIN_ALONE), resumed=_allowed(targets))
        targets |= dict.fromkeys(find())
    for number, seconds in ((signum, deadline - time.monotonic()), *[(signal.SIGKILL, KILL_TIMEOUT)] * _KILL_ATTEMPTS):
        survivors = _allowed(targets)
        if not survivors:
            return []
        _signal_and_wait([each for each in survivors if each not in signalled], number, seconds, also=survivors)
        signalled = []
        targets |= dict.fromkeys(find())
    return _allowed(targets)


def catches(identity: Identity, signum: signal.Signals) -> bool:
    """Return whether a process has a handler of its own for a signal, proc(5), SigCgt; False if that is unknown."""
    try:
        status = (Path("/proc") / str(identity.pid) / "status").read_text(errors="replace")
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signum - 1) & 1) and identity.alive


def send(identities: Iterable[Identity], signum: signal.Signals) -> None:
    """Signal all but protected processes, without waiting for them."""
    for identity in _allowed(identities):
        with _Target(identity) as target:
            target.send(signum)


def _allowed(identities: Iterable[Identity]) -> list[Identity]:
    return [identity for identity in identities if identity.alive and not protected(identity.pid)]


def _signal_and_wait(
    identities: list[Identity],
    signum: signal.Signals,
    timeout: float,
    *,
    also: Iterable[Identity] = (),
    resumed: Iterable[Identity] = (),
) -> None:
    """Signal processes, resume others that are stopped, and wait for the end of those and of `also`."""
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        targets = [stack.enter_context(_Target(identity)) for identity in identities]
        awaited = [*targets, *(stack.enter_context(_Target(each)) for each in also if each not in identities)]
        for target in targets:
            target.end(signum)
        send((each for each in resumed if each.life is Life.SUSPENDED), signal.SIGCONT)
        for target in awaited:
            target.await_death(deadline - time.monotonic())


def await_death(identity: Identity, timeout: float) -> None:
    """Wait at most `timeout` seconds for a process to end."""
    with _Target(identity) as target:
        target.await_death(timeout)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM, or `signal N` if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# During execve(2) a process has no environment for a moment. So that it does not escape, read an empty environment
# this often, with a pause of so many seconds.
_ENVIRONMENT_ATTEMPTS, _ENVIRONMENT_PAUSE = 5, 0.001


def marked(variable: str, value: str) -> list[Identity]:
    """Return this user's processes whose environment holds variable=value.

    Children inherit a mark. So this also finds those whose parent died or that left its process group.
    """
    return marked_by({variable: value})


def marked_by(marks: Mapping[str, str], *, secret: str = "") -> list[Identity]:
    """Return this user's processes whose environment holds at least one of these variables with its value.

    Root can read the environment of every user's processes, and anybody can put a known mark into his own. So only a
    mark whose value nobody else can know, that of the variable `secret`, finds processes of other users as well.
    """
    wanted = {os.fsencode(f"{variable}={value}") for variable, value in marks.items()}
    unknown = {os.fsencode(f"{secret}={marks[secret]}")} if secret in marks else set()
    return [
        identity
        for pid in pids()
        if not wanted.isdisjoint(_environment(pid)) and (identity := _marked_identity(pid, wanted, unknown))
    ]


def value_of(variable: str, pid: int) -> str | None:
    """Return a variable of a process's environment; None if it is not set or cannot be read."""
    prefix = os.fsencode(f"{variable}=")
    entry = next((entry for entry in _environment(pid) if entry.startswith(prefix)), None)
    return None if entry is None else os.fsdecode(entry.removeprefix(prefix))


def _marked_identity(pid: int, wanted: set[bytes], unknown: set[bytes]) -> Identity | None:
    # The identity is checked before and after, so that the environment is certainly its own.
    identity = Identity.of(pid)
    entries = _environment(pid)
    is_ours = not unknown.isdisjoint(entries) or user_of(pid) == os.getuid()
    return identity if identity and is_ours and not wanted.isdisjoint(entries) and identity.alive else None


def _environment(pid: int) -> list[bytes]:
    """Return the environment of a process, empty if it is hidden; proc(5) takes a sixth of psutil's time."""
    if has_proc():
        try:
            return _from_proc(pid).split(b"\0")
        except NO_PROCESS:
            return []
    return [os.fsencode(f"{name}={text}") for name, text in _from_psutil(pid).items()]


def _from_psutil(pid: int) -> dict[str, str]:
    """Return the environment of a process as psutil knows it, by the kernel's own calls outside of Linux."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for _ in range(_ENVIRONMENT_ATTEMPTS):
            # A process of the kernel and a zombie have no program.
            if (variables := process.environ()) or not process.exe():
                return variables
            time.sleep(_ENVIRONMENT_PAUSE)
    return {}


def _from_proc(pid: int) -> bytes:
    for _ in range(_ENVIRONMENT_ATTEMPTS):
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as environ:  # noqa: PTH123 - called often, must be fast
            if content := environ.read():
                return content
        # A kernel thread and a dead process have no program either: this raises one of NO_PROCESS.

        Path(f"/proc/{pid}/exe").readlink()
        time.sleep(_ENVIRONMENT_PAUSE)
    return b""
