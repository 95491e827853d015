"""Evidence before cure: what can be known of a sick service is kept before the heal destroys it.

All parts are found at the same time, each in a thread of its own, and waited for no longer than the deadline: a
process that hangs in the kernel keeps whoever reads of it waiting, and must not keep the heal waiting as well.
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
from functools import partial
from pathlib import Path

import msgspec

from remediation.config.model import Service
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
    """Keep what can be known of a service within its `evidence_timeout`, and return the folder.

    None if it is not wanted. OSError if it cannot be kept.
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
            # Ctrl+C: what is asked of the process must not go on after us.
            _end_commands(service)
            raise
        for part in parts:
            if state := part.state:
                folder.write(part.name, state if isinstance(state, bytes) else _encode(state))
        folder.write("heal.json", _encode(_about(service, incident, parts)))
        return folder.path


class _Part(msgspec.Struct):
    """One file of the evidence, and what finds its content, without secrets.

    Each state that is found is more than the one before, and stays as it is.
    """

    name: str
    find: Callable[[], Iterator[object]]
    state: object = b""
    problem: str = "it was not found in time"
    _over: threading.Event = msgspec.field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to find it; whoever waits for it in the kernel dies with us."""
        try:
            threading.Thread(target=self._run, name=f"evidence-{self.name}", daemon=True).start()
        except RuntimeError as error:
            # As many threads as the system allows.
            self.problem = str(error)
            self._over.set()

    def _run(self) -> None:
        try:
            for state in self.find():
                self.state = state
            self.problem = ""
        except _IncompleteError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the service from being healed
            self.problem = f"{type(error).__name__}: {error}"
        finally:
            self._over.set()

    def wait(self, deadline: float) -> None:
        """Wait for it until a moment on the monotonic clock."""
        self._over.wait(max(0.0, deadline - time.monotonic()))


class _IncompleteError(Exception):
    """A part was found, but not all of it."""


def _parts(service: Service, service_state: ServiceState, incident: Incident, deadline: float) -> list[_Part]:
    members = engine_of(service).processes(service_state)[:_MOST_PROCESSES]
    parts = [
        _Part("attempts.txt", partial(_once, incident.story.encode(errors="backslashreplace"))),
        _Part("log.txt", partial(_log, service)),
        _Part("machine.json", partial(_machine, service)),
    ]
    if members:
        parts.append(_Part("processes.json", partial(_processes, members)))
    if service.address and ports.is_local(service.address.host):
        parts.append(_Part("port.json", partial(_port, service.address.host, service.address.port, members)))
    environ = environment.unmarked(child_environment(service)) | {environment.EVIDENCE_MARK: service.mark}
    run = partial(_printed, cwd=service.cwd, environ=environ, deadline=deadline)
    py_spy = _py_spy() if members else None
    if service.evidence or py_spy:
        _end_commands(service)
    if py_spy:
        for pid in _pythons(members):
            # Not stopped for it: one that hangs does not move, and our death half-way must not leave it stopped.
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
    # What it said last may stand in what was rotated away a moment ago.
    for path in (service.log_file, logrotate.rotated(service.log_file)):
        try:
            lines = files.tail(path, start=0, limit=_LOG_BYTES).splitlines(keepends=True) + lines
        except OSError:
            continue
        if len(lines) >= _LOG_LINES:
            break
    yield _without_secrets(b"".join(lines[-_LOG_LINES:]))


def _processes(members: list[Identity]) -> Iterator[object]:
    found: tuple[object, ...] = ()
    for member in members:
        facts: Facts = {}
        for fact in vitals(member):
            facts = {**facts, **{name: _without_secrets(value, name) for name, value in fact.items()}}
            yield (*found, facts)
        found = (*found, facts)


def _port(host: str, number: int, members: list[Identity]) -> Iterator[object]:
    own = {member.pid for member in members}
    listeners = ports.listeners(number, host)
    holders = [
        {"pid": pid, "who": describe(pid) if pid else "a process of another user", "of_the_service": pid in own}
        for pid in ownership.holders(listeners)
    ]
    yield _without_secrets({"port": number, "holders": holders})
    if listeners:
        # Many that wait to be closed, or to be taken, tell why a server takes no more.
        connections = ports.connections(number)
        yield _without_secrets({"port": number, "holders": holders, "connections": connections})


def _machine(service: Service) -> Iterator[object]:
    import psutil

    service_state = psutil.virtual_memory()
    found: Facts = {
        "load": os.getloadavg(),
        "memory_bytes": {"total": service_state.total, "available": service_state.available},
        "swap_used_bytes": psutil.swap_memory().used,
        "booted": psutil.boot_time(),
    }
    yield found
    for name, path in (("cwd", service.cwd), ("log_file", service.log_file.parent)):
        if path.is_dir():
            usage = shutil.disk_usage(path)
            yield found | {f"{name}_disk_bytes": {"total": usage.total, "free": usage.free}}


def _printed(command: tuple[str, ...], *, cwd: Path, environ: Mapping[str, str], deadline: float) -> Iterator[object]:
    where = cwd if cwd.is_dir() else Path("/")
    left = deadline - time.monotonic()
    output, problem = capture(command, cwd=where, environ=environ, timeout=left, limit=_MOST_OUTPUT)
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
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def _pythons(members: list[Identity]) -> list[int]:
    found = []
    for member in members:
        try:
            program = Path(f"/proc/{member.pid}/exe").readlink().name
        except OSError:
            continue
        if _PYTHON.fullmatch(program):
            found.append(member.pid)
    return found[:_MOST_STACKS]


def _about(service: Service, incident: Incident, parts: list[_Part]) -> object:
    about = {
        "service": service.name,
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cause": incident.cause,
        "sick_since": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(incident.since)),
        "missing": {part.name: part.problem for part in parts if part.problem},
    }
    return _without_secrets(about)


def _without_secrets(value: object, name: str = "") -> object:
    """Return a value of JSON, or the bytes of a text, with what is secret in it masked."""
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
