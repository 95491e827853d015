"""Read facts about one live process from the operating system, one after the other.

Reading about a process that hangs in the kernel can block too. Facts that cannot block come first, so that a reader
who gives up has at least those.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.system.capabilities import has_proc
from remediation.system.process import Identity

if TYPE_CHECKING:
    import psutil

_MOST_THREADS = 100
_MOST_FILES = 200
# The most bytes to read of a file in /proc.
_MOST_BYTES = 16_384

Facts = dict[str, object]


def vitals(identity: Identity) -> Iterator[Facts]:
    """Yield facts about a process until it is gone; the value of a hidden fact says so."""
    import psutil

    yield {"pid": identity.pid, "state": identity.life.value}
    try:
        process = psutil.Process(identity.pid)
    except psutil.Error:
        return
    for name, read in _FACTS.items():
        if not identity.alive:
            return
        try:
            fact = read(process)
        except (psutil.Error, OSError, ValueError) as error:
            fact = f"not known: {getattr(error, 'strerror', None) or type(error).__name__}"
        if fact not in (None, ""):
            yield {name: fact}


def _kernel(name: str) -> Callable[[psutil.Process], object]:
    """Return a function that reads a process's file of proc(5), or returns None if there is no such file."""

    def read(process: psutil.Process) -> object:
        if not has_proc():
            return None
        try:
            with (Path("/proc") / str(process.pid) / name).open("rb") as file:
                return file.read(_MOST_BYTES).decode(errors="backslashreplace").strip()
        except FileNotFoundError:
            return None

    return read


def _limits(process: psutil.Process) -> object:
    """Return the soft and hard limits of proc(5) by name."""
    text = _kernel("limits")(process)
    rows = str(text or "").splitlines()[1:]
    return {row[:26].strip(): row[26:].split()[:2] for row in rows} or None


def _threads(process: psutil.Process) -> object:
    """Return the name, state and kernel wait channel of each thread; without /proc, the number of threads."""
    if not has_proc():
        return process.num_threads()
    tasks = Path("/proc") / str(process.pid) / "task"
    threads = []
    for tid in sorted(map(int, os.listdir(tasks)))[:_MOST_THREADS]:  # noqa: PTH208 - only the numbers matter
        try:
            stat = (tasks / str(tid) / "stat").read_text(errors="backslashreplace")
            wchan = (tasks / str(tid) / "wchan").read_text(errors="backslashreplace")
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        threads.append({"id": tid, "name": name, "state": rest.split()[0], "waits_in": wchan})
    return threads


def _command_line(process: psutil.Process) -> object:
    if has_proc():
        return _strings("cmdline", process)
    return list(_first(process.cmdline()))


def _variables(process: psutil.Process) -> object:
    """Return the names of the environment variables only: values may be secrets."""
    if has_proc():
        return sorted(text.partition("=")[0] for text in _strings("environ", process) if "=" in text)
    return sorted(_first(process.environ()))


def _first(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts until they are longer than what is read of a file, and cut the last one."""
    left = _MOST_BYTES
    for text in texts:
        if left <= 0:
            return
        yield text[:left]
        left -= len(text) + 1


def _strings(name: str, process: psutil.Process) -> list[str]:
    """Return the NUL-terminated strings at the beginning of a file of proc(5)."""
    with (Path("/proc") / str(process.pid) / name).open("rb") as file:
        return [text.decode(errors="backslashreplace") for text in file.read(_MOST_BYTES).split(b"\0") if text]


def _sockets(process: psutil.Process) -> object:
    return [
        {"local": _address(connection.laddr), "remote": _address(connection.raddr), "status": connection.status}
        for connection in process.net_connections(kind="inet")[:_MOST_FILES]
    ]


def _address(address: tuple[str, int] | tuple[()]) -> str:
    return f"{address[0]}:{address[1]}" if address else ""


# The order matters: the kernel answers the first ones without the memory of the process, on which a read can block.
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
    "open_files": lambda process: [file.path for file in process.open_files()[:_MOST_FILES]],
    "sockets": _sockets,
}
