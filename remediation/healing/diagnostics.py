"""Collect evidence about a failing service before the heal destroys it.

A thread for each part collects it, and the heal waits no longer than the deadline: reading about a process that hangs
in the kernel may block, and must not block the heal.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from remediation.config.model import Address, Service
from remediation.engines import engine_of, ownership
from remediation.engines.spawn import child_environment
from remediation.healing.commands import capture
from remediation.healing.incident import Incident
from remediation.state.evidence_store import Archive
from remediation.state.service_state import ServiceState
from remediation.system import environment, files, logrotate, ports
from remediation.system.process import Identity, describe, marked, send
from remediation.system.process_info import Facts, vitals
from remediation.system.secrets import redacted, redacted_words
from remediation.system.tracebacks import redacted_failure, redacted_output

_LOG_BYTES = 65_536
_LOG_LINES = 200
_MOST_OUTPUT = 262_144
_MOST_PROCESSES = 50
_MOST_STACKS = 5
_PYTHON = re.compile(r"python[\d.]*")


def collect(service: Service, service_state: ServiceState, incident: Incident, *, archive: Archive) -> Path | None:
    """Collect evidence about a service within its `evidence_timeout`, and return the folder.

    None if the timeout is 0. OSError if the evidence cannot be written.
    """
    if not service.evidence_timeout:
        return None
    deadline = time.monotonic() + service.evidence_timeout
    with archive.new(service.name) as folder:
        parts = _parts(service, service_state, incident, deadline)
        try:
            for part in parts:
                part.start()
            for part in parts:
                part.wait(deadline)
        except BaseException:
            # Ctrl+C: our commands must not outlive us.
            _end_commands(service)
            raise
        for part in parts:
            if content := part.content:
                folder.write(part.name, content if isinstance(content, bytes) else _encode(content))
        folder.write("heal.json", _encode(_about(service, incident, parts)))
        return folder.path


class _Part(msgspec.Struct):
    """One file of the evidence, and the function that collects its content, without secrets.

    Each content that `collect` yields extends the one before, and does not change afterwards.
    """

    name: str
    collect: Callable[[], Iterator[object]]
    content: object = b""
    problem: str = "it was not found in time"
    _finished: threading.Event = msgspec.field(default_factory=threading.Event)

    def start(self) -> None:
        """Start to collect the part in a daemon thread, which dies with us even if it hangs in the kernel."""
        try:
            threading.Thread(target=self._run, name=f"evidence-{self.name}", daemon=True).start()
        except RuntimeError as error:
            # The system allows no more threads.
            self.problem = str(error)
            self._finished.set()

    def _run(self) -> None:
        try:
            for content in self.collect():
                self.content = content
            self.problem = ""
        except _IncompleteError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - failed diagnostics must never block a heal
            self.problem = f"{type(error).__name__}: {error}"
        finally:
            self._finished.set()

    def wait(self, deadline: float) -> None:
        """Wait for the part until a moment on the monotonic clock."""
        self._finished.wait(max(0.0, deadline - time.monotonic()))


class _IncompleteError(Exception):
    """Only a part of the content could be collected."""


def _parts(service: Service, service_state: ServiceState, incident: Incident, deadline: float) -> list[_Part]:
    members = engine_of(service).processes(service_state)[:_MOST_PROCESSES]
    parts = [
        _Part("attempts.txt", partial(_once, incident.story.encode(errors="backslashreplace"))),
        _Part("log.txt", partial(_log, service)),
        _Part("machine.json", partial(_machine, service)),
    ]
    if members:
        parts.append(_Part("processes.json", partial(_processes, members)))
    if service.address and service.address.endpoint.is_local():
        name = "socket.json" if service.address.socket else "port.json"
        parts.append(_Part(name, partial(_place, service.address, members)))
    environ = environment.unmarked(child_environment(service)) | {environment.EVIDENCE_MARK: service.mark}
    run = partial(_printed, cwd=service.cwd, environ=environ, deadline=deadline)
    py_spy = _py_spy() if members else None
    if service.evidence or py_spy:
        _end_commands(service)
    if py_spy:
        for pid in _pythons(members):
            # Nonblocking: a hung process stands still anyway, and one that py-spy stopped would stay so if we died.
            command = (py_spy, "dump", "--nonblocking", "--pid", str(pid))
            parts.append(_Part(f"stack-{pid}.txt", partial(run, command)))
    if service.evidence:
        parts.append(_Part("command.txt", partial(_by_command, service, service_state, run)))
    return parts


def _end_commands(service: Service) -> None:
    send(marked(environment.EVIDENCE_MARK, service.mark), signal.SIGKILL)


def _once(text: bytes) -> Iterator[object]:
    yield redacted_failure(text.decode(errors="backslashreplace")).encode(errors="backslashreplace")


def _log(service: Service) -> Iterator[object]:
    lines: list[bytes] = []
    # The last lines may be in the log that was just rotated.
    for path in (service.log_file, logrotate.rotated(service.log_file)):
        try:
            lines = files.tail(path, start=0, limit=_LOG_BYTES).splitlines(keepends=True) + lines
        except OSError:
            continue
        if len(lines) >= _LOG_LINES:
            break
    yield _without_secrets(b"".join(lines[-_LOG_LINES:]))


def _processes(members: list[Identity]) -> Iterator[object]:
    processes: tuple[object, ...] = ()
    for member in members:
        facts: Facts = {}
        for fact in vitals(member):
            facts = {**facts, **{name: _without_secrets(value, name) for name, value in fact.items()}}
            yield (*processes, facts)
        processes = (*processes, facts)


def _place(address: Address, members: list[Identity]) -> Iterator[object]:
    own = {member.pid for member in members}
    listeners = address.endpoint.listeners()
    holders = [
        {"pid": pid, "who": describe(pid) if pid else "a process of another user", "of_the_service": pid in own}
        for pid in ownership.holders(listeners)
    ]
    if address.socket:
        yield _without_secrets({"socket": address.socket, "holders": holders})
        return
    yield _without_secrets({"port": address.port, "holders": holders})
    if listeners:
        # Many connections that wait to be closed or accepted explain why a server accepts no more.
        connections = ports.connections(address.port)
        yield _without_secrets({"port": address.port, "holders": holders, "connections": connections})


def _machine(service: Service) -> Iterator[object]:
    import psutil

    memory = psutil.virtual_memory()
    facts: Facts = {
        "load": os.getloadavg(),
        "memory_bytes": {"total": memory.total, "available": memory.available},
        "swap_used_bytes": psutil.swap_memory().used,
        "booted": psutil.boot_time(),
    }
    yield facts
    for name, path in (("cwd", service.cwd), ("log_file", service.log_file.parent)):
        if path.is_dir():
            usage = shutil.disk_usage(path)
            yield facts | {f"{name}_disk_bytes": {"total": usage.total, "free": usage.free}}


def _printed(command: tuple[str, ...], *, cwd: Path, environ: Mapping[str, str], deadline: float) -> Iterator[object]:
    folder = cwd if cwd.is_dir() else Path("/")
    left = deadline - time.monotonic()
    output, problem = capture(command, cwd=folder, environ=environ, timeout=left, limit=_MOST_OUTPUT)
    yield _without_secrets(output)
    if problem:
        raise _IncompleteError(f"`{' '.join(command)}` {problem}")


def _by_command(
    service: Service, service_state: ServiceState, run: Callable[[tuple[str, ...]], Iterator[object]]
) -> Iterator[object]:
    identity = service_state.identity
    pid = str(identity.pid) if identity and identity.alive else ""
    if not pid and any("{pid}" in word for word in service.evidence):
        raise _IncompleteError("its process is not running, so there is no {pid}")
    yield from run(tuple(word.replace("{pid}", pid) for word in service.evidence))


def _py_spy() -> str | None:
    own = Path(sys.executable).with_name("py-spy")
    return str(own) if own.exists() else shutil.which("py-spy")


def _pythons(members: list[Identity]) -> list[int]:
    import psutil

    pids = []
    for member in members:
        with suppress(psutil.Error):
            if _PYTHON.fullmatch(Path(psutil.Process(member.pid).exe()).name):
                pids.append(member.pid)
    return pids[:_MOST_STACKS]


def _about(service: Service, incident: Incident, parts: list[_Part]) -> object:
    about = {
        "service": service.name,
        "incident": incident.id,
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cause": incident.cause,
        "sick_since": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(incident.since)),
        "missing": {part.name: part.problem for part in parts if part.problem},
    }
    return _without_secrets(about)


def _without_secrets(value: object, name: str = "") -> object:
    """Return a JSON value, or the bytes of a text, with its secrets masked."""
    if isinstance(value, bytes):
        return redacted_output(value.decode(errors="backslashreplace")).encode(errors="backslashreplace")
    if isinstance(value, str):
        return redacted(value).encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner, key) for key, inner in value.items()}
    if isinstance(value, list) and name == "command_line":
        return [_without_secrets(word) for word in redacted_words(value)]
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value


def _encode(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
