"""One process and its family: who it is, whether it lives, what marks it, how it is ended.

A PID is a number that the kernel hands out again. Everything here therefore works on an
`Identity`, the PID with the moment of its birth, and signals only what still matches it.

A mark is a variable in the environment, which all that a process starts inherits.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from typing_extensions import Self

# How long a process may take to disappear after SIGKILL. Only one that hangs in the kernel takes longer.
KILL_TIMEOUT = 5.0
# What poll(2) can count in milliseconds, rounded down.
_LONGEST_WAIT = 2_000_000.0
# Children can be born while their parents are ended; more often than this it is a fork bomb.
_KILL_ATTEMPTS = 3
# What changes while we look at it is looked at again, this often in all.
_LOOKS = 3
# No descriptor tells when a zombie is waited for; how often it is looked for.
_REMOVAL_SECONDS = 0.002
# Where no pidfd tells of a death, how often it is looked for.
_POLL_SECONDS = 0.01


class Life(Enum):
    """What a process is doing, as far as a healer cares."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    """Stopped by SIGSTOP or job control: it answers nobody until SIGCONT."""
    GONE = "gone"
    """Ended, a zombie, or its PID belongs to somebody else by now."""


# What /proc says of a process that is gone or hidden from us; anything else, such as no descriptor left,
# must not pass for a death.
NO_PROCESS = (FileNotFoundError, ProcessLookupError, PermissionError)
# Beyond what any kernel uses for a PID.
_PID_BITS = 31


@cache
def boot_id() -> str:
    """Return what this system calls the time since its last boot; empty where there is no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _stat(pid: int) -> tuple[str, str] | None:
    """Return state letter and birth of a process, or None if there is no such process.

    On Linux the birth is the start in clock ticks since boot with the boot's id, proc(5) field 22:
    unlike a time of day it does not move when the clock is set. OSError if it cannot be known.
    """
    if boot := boot_id():
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except NO_PROCESS:
            return None
        # Counted from field 3, the state: the name before it may itself hold spaces and brackets.
        return fields[0].decode(), f"{boot}/{fields[19].decode()}"
    return _stat_by_psutil(pid)


def has_proc() -> bool:
    """Return whether this system tells of its processes as Linux does, proc(5)."""
    return bool(boot_id())


def _is_thread(pid: int) -> bool:
    """Return whether a number is that of a thread: /proc answers to these as well, and so does kill(2)."""
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
        return letters.get(process.status(), "S"), f"{process.create_time():.2f}"
    except psutil.Error:
        return None


class Identity(Struct, frozen=True):
    """A PID together with the birth of the process that it meant."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of the live process that has this PID now; None for none or a zombie."""
        if pid <= 0 or pid.bit_length() > _PID_BITS or (stat := _stat(pid)) is None or stat[0] in "ZXx":
            return None
        return None if boot_id() and _is_thread(pid) else cls(pid, stat[1])

    @property
    def life(self) -> Life:
        """What this very process is doing now."""
        stat = _stat(self.pid)
        if stat is None or stat[1] != self.born or stat[0] in "ZXx":
            return Life.GONE
        # "t", stopped by a debugger, is left alone: somebody is looking at it.
        return Life.SUSPENDED if stat[0] == "T" else Life.RUNNING

    @property
    def alive(self) -> bool:
        """Whether this very process lives; a zombie does not."""
        return self.life is not Life.GONE


def zombies(dead: Iterable[Identity]) -> list[Identity]:
    """Return which of these dead processes, and of the sessions that they led, are still in the table of processes.

    For kill(2), and so for whoever asks it about the PID in a file, a zombie is a process that there is.
    """
    leaders = {identity.pid for identity in dead}
    # By its session a stranger's can be among them, if the number was given away again: it is only waited for.
    return [
        Identity(pid, stat[1])
        for pid in (pids() if leaders else [])
        if (pid in leaders or _session(pid) in leaders) and (stat := _stat(pid)) and stat[0] in "ZXx"
    ]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def await_removal(left: Iterable[Identity], timeout: float, reap: Callable[[], object]) -> None:
    """Return when these zombies are out of the table of processes, at the latest after `timeout` seconds.

    `reap` is called again and again, to wait for those that are children of ours.
    """
    deadline = time.monotonic() + timeout
    while left := [one for one in left if (stat := _stat(one.pid)) and stat[1] == one.born]:
        reap()
        if time.monotonic() >= deadline:
            return
        time.sleep(_REMOVAL_SECONDS)


def describe(pid: int) -> str:
    """Say whose process a PID is: `nginx (PID 812, user www-data)`."""
    import psutil

    try:
        process = psutil.Process(pid)
        return f"{process.name()} (PID {pid}, user {process.username()})"
    except (psutil.Error, ValueError):
        return f"PID {pid}"


class Protection(Enum):
    """Why a process is out of bounds, whatever the reason to end it."""

    INIT = "is PID 1"
    OURSELVES = "is auto-heal itself"
    ANCESTOR = "is an ancestor of auto-heal"
    NO_PROCESS = "is no process"
    OTHER_USER = "belongs to another user"
    UNKNOWN = "cannot be examined"


def protected(pid: int) -> Protection | None:
    """Say why a process must never be signalled, or None if it may be."""
    if pid == 1:
        return Protection.INIT
    if pid == os.getpid():
        return Protection.OURSELVES
    if Identity.of(pid) is None:
        return Protection.NO_PROCESS
    import psutil

    for _ in range(_LOOKS):
        # Some ancestor of ours, or the process itself, may end just now.
        with suppress(psutil.Error):
            uids = psutil.Process(pid).uids()
            ancestors = {parent.pid for parent in psutil.Process().parents()}
            if (uids.real, uids.effective) != (os.getuid(), os.geteuid()):
                return Protection.OTHER_USER
            return Protection.ANCESTOR if pid in ancestors else None
    return Protection.UNKNOWN if Identity.of(pid) else Protection.NO_PROCESS


def descendants(roots: Iterable[Identity]) -> list[Identity]:
    """Return the roots that live with all their descendants, whatever process group these are in."""
    found = {root.pid: root for root in roots if root.alive}
    if not found:
        return []
    import psutil

    for root in list(found.values()):
        with suppress(psutil.Error):
            children = psutil.Process(root.pid).children(recursive=True)
            pairs = [(child, Identity.of(child.pid)) for child in children]
            # A child that died since may have left its PID to a stranger, and so may the root.
            family = {child.pid: identity for child, identity in pairs if identity and child.is_running()}
            if root.alive:
                found |= family
    return list(found.values())


def group(leader: int) -> list[Identity]:
    """Return the live processes of a process group; its leader must be pinned, as by not being waited for."""
    members = []
    for pid in pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == leader and (identity := Identity.of(pid)):
                members.append(identity)
    return members


def pids() -> list[int]:
    """Return the PIDs of all processes that there are."""
    if has_proc():
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - often, and of hundreds
    import psutil

    return psutil.pids()


def pidfd(pid: int) -> int | None:
    """Return a descriptor that stands for a process, pidfd_open(2), and turns readable when it ends.

    None where there are none: another system, an old kernel, no descriptor left, or the process is gone.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


class _Target:
    """A process pinned by a pidfd, so that its PID cannot be handed on between the look and the signal."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        # Without one, the look before the signal remains.
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

    def ask_to_end(self, signum: signal.Signals) -> None:
        """Signal the process, and let it act on that: a stopped one keeps it pending until SIGCONT, signal(7)."""
        suspended = self.identity.life is Life.SUSPENDED
        self.send(signum)
        if suspended and signum is not signal.SIGKILL:
            self.send(signal.SIGCONT)

    def await_death(self, timeout: float) -> None:
        """Return when the process has ended, at the latest after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if self.fd is not None and self.identity.alive:
            # A pidfd turns readable when its process ends, pidfd_open(2), even while it stays a zombie.
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            poll.poll(min(max(0.0, timeout), _LONGEST_WAIT) * 1000)
            return
        while self.identity.alive and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def terminate(
    find: Callable[[], Iterable[Identity]],
    *,
    signum: signal.Signals = signal.SIGTERM,
    timeout: float,
) -> list[Identity]:
    """End all processes that `find` returns, and return those that are left.

    `find` is called again after each wait, so that children born meanwhile do not escape.
    All get `signum` at once and are waited for together; after `timeout` seconds what is left, and what
    was born meanwhile, gets SIGKILL. Protected processes (see `protected`) are never signalled and not
    returned. Nothing waits longer than the last of them lives.
    """
    # Kept, because a child whose parent obeyed is no longer found through it.
    known: dict[Identity, None] = {}
    for number, seconds in ((signum, timeout), *[(signal.SIGKILL, KILL_TIMEOUT)] * _KILL_ATTEMPTS):
        known |= dict.fromkeys(find())
        left = _allowed(known)
        if not left:
            return []
        _signal_and_wait(left, number, seconds)
    return _allowed(known | dict.fromkeys(find()))


def send(identities: Iterable[Identity], signum: signal.Signals) -> None:
    """Signal processes, but for protected ones, and wait for none of them."""
    for identity in _allowed(identities):
        with _Target(identity) as target:
            target.send(signum)


def _allowed(identities: Iterable[Identity]) -> list[Identity]:
    return [identity for identity in identities if identity.alive and not protected(identity.pid)]


def _signal_and_wait(identities: list[Identity], signum: signal.Signals, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        targets = [stack.enter_context(_Target(identity)) for identity in identities]
        for target in targets:
            target.ask_to_end(signum)
        for target in targets:
            target.await_death(deadline - time.monotonic())


def await_death(identity: Identity, timeout: float) -> None:
    """Return when the process has ended, at the latest after `timeout` seconds."""
    with _Target(identity) as target:
        target.await_death(timeout)


def signal_name(number: int) -> str:
    """Return what a signal is called, as SIGTERM; a number that has no name of its own is one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# A process in the middle of execve(2) has no environment for a moment, in which it must not escape: so often is one
# without any looked at, so many seconds apart.
_ENVIRONMENT_LOOKS, _ENVIRONMENT_PAUSE = 5, 0.001


def marked(variable: str, value: str) -> list[Identity]:
    """Return this user's processes whose environment holds variable=value.

    A mark is inherited, so it also finds children whose parent died and who left every group.
    """
    return marked_by({variable: value})


def marked_by(marks: Mapping[str, str]) -> list[Identity]:
    """Return this user's processes whose environment holds at least one of these variables with its value."""
    wanted = {os.fsencode(f"{variable}={value}") for variable, value in marks.items()}
    return [
        identity
        for pid in pids()
        if not wanted.isdisjoint(_environment(pid)) and (identity := _marked_identity(pid, wanted))
    ]


def value_of(variable: str, pid: int) -> str | None:
    """Return a variable of a process's environment; None if it is not set or cannot be read."""
    prefix = os.fsencode(f"{variable}=")
    found = next((entry for entry in _environment(pid) if entry.startswith(prefix)), None)
    return None if found is None else os.fsdecode(found.removeprefix(prefix))


def _marked_identity(pid: int, wanted: set[bytes]) -> Identity | None:
    # Between two looks at who it is, so that the environment is provenly that of this identity.
    identity = Identity.of(pid)
    return identity if identity and not wanted.isdisjoint(_environment(pid)) and identity.alive else None


def _environment(pid: int) -> list[bytes]:
    """Return a process's environment, empty if it is hidden; by proc(5), which takes a sixth of psutil's time."""
    if has_proc():
        try:
            return _from_proc(pid).split(b"\0")
        except NO_PROCESS:
            return []
    import psutil

    try:
        return [os.fsencode(f"{name}={text}") for name, text in psutil.Process(pid).environ().items()]
    except psutil.Error:
        return []


def _from_proc(pid: int) -> bytes:
    for _ in range(_ENVIRONMENT_LOOKS):
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as environ:  # noqa: PTH123 - as above
            if found := environ.read():
                return found
        # One of the kernel's, or a dead one, has no program either.
        Path(f"/proc/{pid}/exe").readlink()
        time.sleep(_ENVIRONMENT_PAUSE)
    return b""
