"""Run the commands of a configuration within bounds, and leave nothing of those that do not end in time."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from remediation.config.model import Service
from remediation.engines.errors import CommandFailedError, CommandLateError
from remediation.engines.spawn import Outliving, child_environment, ended, spawn
from remediation.system import environment
from remediation.system.environment import CAPTURE_MARK
from remediation.system.process import Identity, await_death, descendants, group, marked, send, terminate
from remediation.system.signals import HeldInterrupts

# How long a command that took too long has between SIGTERM and SIGKILL.
_COMMAND_GRACE = 2.0


class _Bounded(subprocess.Popen[bytes]):
    """A child that is waited for."""


def run_command(
    service: Service,
    command: Sequence[str],
    *,
    timeout: float,
    begun: Callable[[Identity | None], object] = lambda _: None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, its output appended to the service's log, with `more` in its environment.

    After `timeout` seconds it is ended with all its children. `begun` is told which process it is, as soon as
    it runs. HealError unless it exits with 0.
    """
    # What a command leaves running, as systemctl or docker do, is not the service's process.
    environ = environment.unmarked(child_environment(service)) | dict(more or {})
    words = " ".join(command)
    with HeldInterrupts() as interrupts:
        child, _ = spawn(_Bounded, service, command, environ)
        try:
            begun(Identity.of(child.pid))
            interrupts.release()
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            _end(child, service)
            raise CommandLateError("command_late", name=service.name, command=words, timeout=timeout) from None
        except BaseException:
            _end(child, service)
            raise
    if status:
        log = service.log_file.name
        raise CommandFailedError(name=service.name, command=words, how=ended(status), log=log)


def _end(child: subprocess.Popen[bytes], service: Service) -> None:
    identity = Identity.of(child.pid)
    roots = [identity] if identity else []
    terminate(lambda: descendants(roots), timeout=min(_COMMAND_GRACE, service.stop_timeout))
    child.wait()


_CHUNK = 65_536
# Of its time, what is kept for ending it.
_TO_END = 0.1
# After SIGKILL; only one that hangs in the kernel takes longer.
_TO_DIE = 1.0


class Captured(NamedTuple):
    """What a command printed, and why that is not all; empty if it is."""

    output: bytes
    problem: str


def capture(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], timeout: float, limit: int) -> Captured:
    """Run a command for at most `timeout` seconds, and return the first `limit` bytes that it printed.

    It gets no stdin. Whatever is left of it then gets SIGKILL, with all that it started; one that hangs in the kernel
    is not waited for.
    """
    deadline, mark = time.monotonic() + max(0.0, timeout - _TO_END), uuid.uuid4().hex
    try:
        child = Outliving(
            list(command),
            cwd=cwd,
            env={**environ, CAPTURE_MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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
    """Read until the command closes its output or is gone, or there is a reason not to wait for that."""
    output, fd = bytearray(), child.stdout.fileno() if child.stdout else -1
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    identity = Identity.of(child.pid)
    while True:
        # What it left running may keep its output open for ever.
        gone = identity is None or not identity.alive
        ready = poll.poll(0 if gone else min(_TO_END, max(0.0, deadline - time.monotonic())) * 1000)
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
    """End what is left of a command, and say why what it printed is not all."""
    # Not yet waited for, its PID still stands for it and its process group.
    identity = Identity.of(child.pid)
    if identity and not problem:
        await_death(identity, deadline - time.monotonic())
        problem = "did not end in time" if identity.alive else ""
    left = {*descendants([identity] if identity else []), *group(child.pid), *marked(CAPTURE_MARK, mark)}
    send(left, signal.SIGKILL)
    try:
        status = child.wait(_TO_DIE)
    except subprocess.TimeoutExpired:
        return "did not end in time, and cannot be ended"
    return problem or (str(ended(status)) if status else "")
