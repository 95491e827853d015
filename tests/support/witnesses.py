"""Processes of others near a service: what is left of them is counted by their PID and birth, not by what we say."""

from __future__ import annotations

import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from sandbox import Sandbox, free_port, wait_for

from remediation.system.environment import SERVICE_MARK

# Listens on one port, and keeps a connection to the service, as `ssh -L` does.
_FORWARDER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
connections = []
while True:
    try:
        connections = [socket.create_connection(("127.0.0.1", int(sys.argv[2])), 1)]
    except OSError:
        pass
    time.sleep(0.2)
"""
# Takes its standard input as its terminal, starts a process without one, and becomes a shell.
SHELL = """
import fcntl, os, subprocess, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
subprocess.Popen(["sleep", "600"], start_new_session=True)
os.execvp("sh", ["sh"])
"""


class Witnesses:
    """The bystanders of one test."""

    def __init__(self) -> None:
        """Begin without any."""
        self._known: list[psutil.Process] = []

    def add(self, pid: int, *, alone: bool = False) -> None:
        """Remember a process, with all that descends from it now unless `alone`."""
        process = psutil.Process(pid)
        self._known += [process] if alone else [process, *process.children(recursive=True)]

    @property
    def count(self) -> int:
        """The number of bystanders at the beginning."""
        return len(self._known)

    @property
    def harmed(self) -> list[psutil.Process]:
        """The bystanders that no longer live."""
        return [each for each in self._known if not each.is_running() or each.status() == psutil.STATUS_ZOMBIE]


@contextmanager
def witnesses(project: Sandbox) -> Iterator[Witnesses]:
    """Start a forwarder, a marked shell with a terminal, and a marked tmux with a window beside a service."""
    marked = project.environment(**{SERVICE_MARK: f"{project.root.resolve()}:api"})
    known = Witnesses()
    with ExitStack() as stack:
        forwarder = stack.enter_context(
            _ended_at_last([sys.executable, "-c", _FORWARDER, str(free_port()), str(project.port)])
        )
        known.add(forwarder.pid)
        ours, theirs = pty.openpty()
        stack.callback(os.close, ours)
        shell = stack.enter_context(_ended_at_last([sys.executable, "-c", SHELL], stdin=theirs, env=marked))
        os.close(theirs)
        wait_for(lambda: psutil.Process(shell.pid).children())
        known.add(shell.pid)
        if tmux := shutil.which("tmux"):
            known.add(_tmux(tmux, marked, stack))
        yield known


@contextmanager
def _ended_at_last(
    words: list[str], *, stdin: int = subprocess.DEVNULL, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        words, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                each.kill()


def _tmux(tmux: str, environ: dict[str, str], stack: ExitStack) -> int:
    """Start a tmux server with a window; return its PID."""
    # The path of a Unix socket is short.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
    words = [tmux, "-S", str(folder / "socket"), "-f", "/dev/null"]
    environ = environ | {"TERM": "xterm"}
    subprocess.run([*words, "new-session", "-d", "sleep", "600"], env=environ, check=True)
    stack.callback(subprocess.run, [*words, "kill-server"], env=environ, check=True)
    told = subprocess.run(
        [*words, "display-message", "-p", "#{pid}"], env=environ, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(told.stdout)


def is_free(port: int) -> bool:
    """Return whether nothing accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def await_server(port: int) -> None:
    """Wait until something accepts connections on a port."""
    wait_for(lambda: not is_free(port))
