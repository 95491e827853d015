"""What the operating system tells of one live process, one fact after the other.

A process that hangs in the kernel can keep whoever reads of it waiting as well. What cannot block comes first, so
that a reader who gives up has that much.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.system.process import Identity, has_proc

if TYPE_CHECKING:
    import psutil

_MOST_THREADS = 100
_MOST_FILES = 200
# Of a file in /proc, in bytes.
_MOST = 16_384

Facts = dict[str, object]


def vitals(identity: Identity) -> Iterator[Facts]:
    """Yield facts of a process until it is gone; what is hidden from this user is told as such."""
    import psutil

    yield {"pid": identity.pid, "state": identity.life.value}
    try:
        process = psutil.Process(identity.pid)
    except psutil.Error:
        return
    for name, find in _FACTS.items():
        if not identity.alive:
            return
        try:
            found = find(process)
        except (psutil.Error, OSError, ValueError) as error:
            found = f"not known: {getattr(error, 'strerror', None) or type(error).__name__}"
        if found not in (None, ""):
            yield {name: found}


def _kernel(name: str) -> Callable[[psutil.Process], object]:
    """Return what reads a file of proc(5) about a process; None where there is none."""

    def read(process: psutil.Process) -> object:
        try:
            with (Path("/proc") / str(process.pid) / name).open("rb") as file:
                return file.read(_MOST).decode(errors="backslashreplace").strip()
        except FileNotFoundError:
            return None

    return read


def _limits(process: psutil.Process) -> object:
    """Return proc(5)'s table of limits as soft and hard value by name."""
    text = _kernel("limits")(process)
    rows = str(text or "").splitlines()[1:]
    return {row[:26].strip(): row[26:].split()[:2] for row in rows} or None


def _threads(process: psutil.Process) -> object:
    """Return each thread's name, state and where in the kernel it waits; a count where there is no /proc."""
    tasks = Path("/proc") / str(process.pid) / "task"
    if not tasks.is_dir():
        return process.num_threads()
    found = []
    for tid in sorted(map(int, os.listdir(tasks)))[:_MOST_THREADS]:  # noqa: PTH208 - numbers are wanted
        try:
            stat = (tasks / str(tid) / "stat").read_text(errors="backslashreplace")
            wchan = (tasks / str(tid) / "wchan").read_text(errors="backslashreplace")
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        found.append({"id": tid, "name": name, "state": rest.split()[0], "waits_in": wchan})
    return found


def _command_line(process: psutil.Process) -> object:
    if has_proc():
        return _strings("cmdline", process)
    return process.cmdline()


def _variables(process: psutil.Process) -> object:
    """Return the names alone: the values may be secrets."""
    if has_proc():
        return sorted(text.partition("=")[0] for text in _strings("environ", process) if "=" in text)
    return sorted(process.environ())


def _strings(name: str, process: psutil.Process) -> list[str]:
    """Return the first texts that end with a NUL in a file of proc(5)."""
    with (Path("/proc") / str(process.pid) / name).open("rb") as file:
        return [text.decode(errors="backslashreplace") for text in file.read(_MOST).split(b"\0") if text]


def _sockets(process: psutil.Process) -> object:
    return [
        {"local": _address(one.laddr), "remote": _address(one.raddr), "status": one.status}
        for one in process.net_connections(kind="inet")[:_MOST_FILES]
    ]


def _address(address: tuple[str, int] | tuple[()]) -> str:
    return f"{address[0]}:{address[1]}" if address else ""


# In this order: the first ones are answered without the memory of the process, for which it can make us wait.
_FACTS: dict[str, Callable[[psutil.Process], object]] = {
    "status": lambda process: process.status(),
    "parent": lambda process: process.ppid(),
    "user": lambda process: process.username(),
    "born": lambda process: process.create_time(),
    "cpu_seconds": lambda process: process.cpu_times()._asdict(),
    "waits_in": _kernel("wchan"),
    "kernel_stack": _kernel("stack"),
    "system_call": _kernel("syscall"),
    "threads": _threads,
    "memory_bytes": lambda process: process.memory_info()._asdict(),
    "limits": _limits,
    "control_group": _kernel("cgroup"),
    "oom_score": _kernel("oom_score"),
    "descriptors": lambda process: process.num_fds(),
    "name": lambda process: process.name(),
    "working_directory": lambda process: process.cwd(),
    "program": lambda process: process.exe(),
    "command_line": _command_line,
    "environment_variables": _variables,
    "open_files": lambda process: [one.path for one in process.open_files()[:_MOST_FILES]],
    "sockets": _sockets,
}
