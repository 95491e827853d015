"""What this system offers beyond POSIX. Whatever needs one of these asks here, and has another way without it.

Linux has all of it. On Linux, AUTO_HEAL_TEST_PORTABLE takes all of it away at once, so that tests can take the ways of
macOS and the BSDs.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path

from remediation.system import environment

_is_linux = sys.platform == "linux"
_has_only_posix = environment.value(environment.TEST_PORTABLE) is not None


def boot_id() -> str:
    """Return the kernel's id of the current boot; empty on a system without one."""
    return "" if _has_only_posix else _boot_id()


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def has_proc() -> bool:
    """Return whether there is Linux's proc(5). Some BSDs have a /proc as well, with other content."""
    return bool(boot_id())


def has_pidfd() -> bool:
    """Return whether there is pidfd_open(2). Old kernels of Linux lack it."""
    return not _has_only_posix and hasattr(os, "pidfd_open")


def has_waitid() -> bool:
    """Return whether Python offers waitid(2). On macOS it does since Python 3.13."""
    return not _has_only_posix and hasattr(os, "waitid")


def has_realtime_signals() -> bool:
    """Return whether there are signals that no program uses by itself, signal(7). macOS has none."""
    return not _has_only_posix and hasattr(signal, "SIGRTMAX")


def has_chosen_signals() -> bool:
    """Return whether a descriptor can send another signal than SIGIO, F_SETSIG of fcntl(2)."""
    return not _has_only_posix and hasattr(fcntl, "F_SETSIG")


def has_boot_clock() -> bool:
    """Return whether there is a clock that counts from boot, includes sleep, and cannot be set, clock_gettime(2)."""
    return not _has_only_posix and hasattr(time, "CLOCK_BOOTTIME")


def steady() -> float:
    """Return the seconds of a clock that nobody can set. Values of the same boot can be compared."""
    return time.clock_gettime(time.CLOCK_BOOTTIME if has_boot_clock() else time.CLOCK_MONOTONIC)


def has_memory_files() -> bool:
    """Return whether there is memfd_create(2)."""
    return not _has_only_posix and hasattr(os, "memfd_create")


def has_preallocation() -> bool:
    """Return whether there is posix_fallocate(3). macOS lacks it."""
    return not _has_only_posix and hasattr(os, "posix_fallocate")


def can_cut_files() -> bool:
    """Return whether the beginning of an open file can be removed, fallocate(2)."""
    return not _has_only_posix and _is_linux


def can_mount_over_files() -> bool:
    """Return whether a file can be mounted over another, mount(2)."""
    return not _has_only_posix and _is_linux


def can_list_all_sockets() -> bool:
    """Return whether every user sees the sockets of all processes, if not their owners. On macOS, only root does."""
    return not _has_only_posix and (sys.platform not in ("darwin", "aix") or os.geteuid() == 0)


def wildcard_excludes_addresses() -> bool:
    """Return whether, in spite of SO_REUSEADDR, no wildcard address can be bound beside a listener on its port.

    The BSDs allow that, so there it proves nothing.
    """
    return not _has_only_posix and _is_linux
