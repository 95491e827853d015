"""What a fault does to a process of the service, and only to the one that was meant."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from remediation.primitives.process import Identity, Life, pidfd, protected, terminate

# How long a process may take to be gone after SIGKILL.
_SECONDS = 5.0
_FEWEST_PIDS = 32_768


def send(identity: Identity, signum: signal.Signals) -> None:
    """Signal a process if it is still the same one, and not out of bounds; a pidfd keeps it the same meanwhile."""
    fd = pidfd(identity.pid)
    try:
        if not identity.alive or protected(identity.pid):
            return
        with suppress(ProcessLookupError, PermissionError):
            if fd is None:
                os.kill(identity.pid, signum)
            else:
                signal.pidfd_send_signal(fd, signum)
    finally:
        if fd is not None:
            os.close(fd)


def kill(identities: Iterable[Identity]) -> list[Identity]:
    """Kill processes by SIGKILL, and return those that are left."""
    fixed = list(identities)
    return terminate(lambda: fixed, signum=signal.SIGKILL, timeout=_SECONDS)


def resume(identities: Iterable[Identity]) -> None:
    """Let suspended processes go on."""
    for identity in identities:
        if identity.life is Life.SUSPENDED:
            send(identity, signal.SIGCONT)


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
