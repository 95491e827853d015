"""Processes known by a variable in their environment, which all that they start inherits."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from remediation.system.process import NO_PROCESS, Identity, has_proc, pids

# A process in the middle of execve(2) has no environment for a moment, in which it must not escape: so often is one
# without any looked at, so many seconds apart.
_LOOKS, _PAUSE = 5, 0.001


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
    for _ in range(_LOOKS):
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as environ:  # noqa: PTH123 - as above
            if found := environ.read():
                return found
        # One of the kernel's, or a dead one, has no program either.
        Path(f"/proc/{pid}/exe").readlink()
        time.sleep(_PAUSE)
    return b""
