"""Run the commands of a configuration within bounds, and end those that take too long with all their children."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from remediation.config.model import Service
from remediation.engines.errors import CommandFailedError, CommandLateError
from remediation.engines.spawn import Outliving, child_environment, ended, spawn
from remediation.system import environment
from remediation.system.environment import CAPTURE_MARK
from remediation.system.process import Identity, await_death, descendants, group, marked, send, terminate
from remediation.system.signals import HeldInterrupts
from remediation.system.telling import read_excerpt

# Seconds from SIGTERM to SIGKILL for a command that took too long.
_COMMAND_GRACE = 2.0


class _Bounded(subprocess.Popen[bytes]):
    """A child that we wait for."""


def run_command(
    service: Service,
    command: Sequence[str],
    *,
    timeout: float,
    as_service: bool = False,
    on_start: Callable[[Identity | None], object] = lambda _: None,
    extra_environ: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, append its output to the service's log, and add `extra_environ` to its environment.

    With `as_service`, it runs as the service's user. After `timeout` seconds the command is ended with all its
    children. `on_start` gets its process as soon as it runs. HealError unless the command exits with 0.
    """
    # Processes that a command leaves running, as systemctl or docker do, are not the service's.
    environ = environment.unmarked(child_environment(service)) | dict(extra_environ or {})
    words = " ".join(command)
    with HeldInterrupts() as interrupts:
        child, log_start = spawn(_Bounded, service, command, environ, as_service=as_service)
        try:
            on_start(Identity.of(child.pid))
            interrupts.release()
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            _end(child, service)
            said = _said(service, log_start)
            raise CommandLateError(
                "command_late_said" if said else "command_late",
                name=service.name, command=words, timeout=timeout, limit=_limiting_key(service, command), **said,
            ) from None  # fmt: skip
        except BaseException:
            _end(child, service)
            raise
    if status:
        raise CommandFailedError(name=service.name, command=words, how=ended(status), **_said(service, log_start))


def _limiting_key(service: Service, command: Sequence[str]) -> str:
    """Return the key of the configuration that limits the time of a command."""
    of_the_service = (service.restart_command, service.start_command, service.stop_command)
    return "start_timeout" if command in of_the_service else "timeout"


def _said(service: Service, log_start: int | None) -> dict[str, str]:
    """Return the telling line of the log since a command began, and the log's name; nothing if there is no line."""
    telling = read_excerpt(service.log_file, start=log_start).telling
    return {"log": service.log_file.name, "last": telling} if telling else {}


def _end(child: subprocess.Popen[bytes], service: Service) -> None:
    identity = Identity.of(child.pid)
    roots = [identity] if identity else []
    terminate(lambda: descendants(roots), timeout=min(_COMMAND_GRACE, service.stop_timeout))
    child.wait()


_CHUNK = 65_536
# Seconds of a command's time that are reserved for ending it.
_ENDING_SECONDS = 0.1
# Seconds to wait after SIGKILL; only a process that hangs in the kernel takes longer.
_DYING_SECONDS = 1.0


class Captured(NamedTuple):
    """The output of a command, and why it is not complete; empty if it is."""

    output: bytes
    problem: str


def capture(
    command: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    timeout: float,
    limit: int,
    credentials: Mapping[str, Any] | None = None,
) -> Captured:
    """Run a command for at most `timeout` seconds, and return the first `limit` bytes of its output.

    `credentials` are arguments of Popen for another user. The command has no stdin. At the end, it and all that it
    started get SIGKILL. A process that hangs in the kernel does not hold us up.
    """
    deadline, mark = time.monotonic() + max(0.0, timeout - _ENDING_SECONDS), uuid.uuid4().hex
    try:
        child = Outliving(
            list(command),
            cwd=cwd,
            env={**environ, CAPTURE_MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **(credentials or {}),
        )
    except OSError as error:
        return Captured(b"", f"cannot be run: {error.strerror or error}")
    try:
        output, problem = _read(child, deadline, limit)
        return Captured(output, _end_captured(child, mark, deadline, problem))
    finally:
        if child.stdout:
            child.stdout.close()


def _read(child: Outliving, deadline: float, limit: int) -> tuple[bytes, str]:
    """Read until the command closes its output or is gone, prints more than `limit` bytes, or runs out of time."""
    output, fd = bytearray(), child.stdout.fileno() if child.stdout else -1
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    identity = Identity.of(child.pid)
    while True:
        # A process that the command left running may keep the output open for ever.
        gone = identity is None or not identity.alive
        ready = poll.poll(0 if gone else min(_ENDING_SECONDS, max(0.0, deadline - time.monotonic())) * 1000)
        if ready:
            chunk = os.read(fd, _CHUNK)
            output += chunk
            if not chunk or len(output) > limit:
                return bytes(output[:limit]), "printed more than is kept" if chunk else ""
        elif gone:
            return bytes(output), ""
        if time.monotonic() >= deadline:
            return bytes(output), "did not end in time"


def _end_captured(child: Outliving, mark: str, deadline: float, problem: str) -> str:
    """End what is left of a command, and return why its output is not complete; empty if it is."""
    # Until we wait for the child, the kernel gives its PID and process group to no other process.
    identity = Identity.of(child.pid)
    if identity and not problem:
        await_death(identity, deadline - time.monotonic())
        problem = "did not end in time" if identity.alive else ""
    leftovers = {*descendants([identity] if identity else []), *group(child.pid), *marked(CAPTURE_MARK, mark)}
    send(leftovers, signal.SIGKILL)
    try:
        status = child.wait(_DYING_SECONDS)
    except subprocess.TimeoutExpired:
        return "did not end in time, and cannot be ended"
    return problem or (str(ended(status)) if status else "")
