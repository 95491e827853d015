"""Run a command for what it prints, within bounds of time and size."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from remediation.healer.launch import ended
from remediation.primitives.process import Identity, descendants, group, terminate

_CHUNK = 65_536
# Of its time, what is kept for ending it.
_TO_END = 0.1


class Captured(NamedTuple):
    """What a command printed, and why that is not all; empty if it is."""

    output: bytes
    problem: str


def capture(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], timeout: float, limit: int) -> Captured:
    """Run a command for at most `timeout` seconds, and return the first `limit` bytes that it printed.

    It gets no stdin. Whatever is left of it then is ended, with all that it started.
    """
    deadline = time.monotonic() + max(0.0, timeout - _TO_END)
    try:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Captured(b"", f"cannot be run: {error.strerror or error}")
    with child:
        output, problem = _read(child, deadline, limit)
        if not problem:
            try:
                status = child.wait(max(0.0, deadline - time.monotonic()))
                problem = str(ended(status)) if status else ""
            except subprocess.TimeoutExpired:
                problem = "did not end in time"
        _end(child)
    return Captured(output, problem)


def _read(child: subprocess.Popen[bytes], deadline: float, limit: int) -> tuple[bytes, str]:
    """Read until the command closes its output, or there is a reason not to wait for that."""
    if child.stdout is None:
        return b"", ""
    output, fd = bytearray(), child.stdout.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(fd, _CHUNK)
        output += chunk
        if not chunk:
            return bytes(output), ""
        if len(output) > limit:
            return bytes(output[:limit]), "printed more than is kept"
    return bytes(output), "did not end in time"


def _end(child: subprocess.Popen[bytes]) -> None:
    """End what is left of a command. Not yet waited for, its PID still stands for it and its process group."""
    pid = child.pid
    identity = Identity.of(pid)
    roots = [identity] if identity else []
    terminate(lambda: {*descendants(roots), *group(pid)}, signum=signal.SIGKILL, timeout=_TO_END)
