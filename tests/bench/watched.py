"""The small server that the contestants watch, and what may befall it: the faults that a watch is for."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from ground import REPOSITORY, SERVER, free_port
from stopwatch import BenchError

# By number, so that all contestants mean the same address.
HOST = "127.0.0.1"
PATIENT = REPOSITORY / "tests" / "support" / "patient.py"

# Asks for the port until it is given, so that it has it before anybody whom a watcher starts.
_STRANGER = """\
import socket, sys

print("ready", flush=True)
while True:
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        stranger.bind((sys.argv[1], int(sys.argv[2])))
        stranger.listen()
        break
    except OSError:
        stranger.close()
print("there", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Service:
    """One small server on a port of its own: Peachmini, or another one that answers the same."""

    script: Path = SERVER
    options: tuple[str, ...] = ()
    """Of the interpreter."""
    health: str = "/api/health"
    more: Mapping[str, str] = field(default_factory=dict)
    """For its environment."""
    log: str = ""
    """Where its output goes, below the folder of its watcher, if not to the usual place."""
    port: int = field(default_factory=free_port)

    @property
    def words(self) -> list[str]:
        """The command that starts it."""
        return [sys.executable, *self.options, str(self.script)]

    @property
    def env(self) -> dict[str, str]:
        """The environment that it needs, besides a usual one."""
        return {"HOST": HOST, "PORT": str(self.port), **self.more}

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def answers(self, *, timeout: float = 1.0) -> bool:
        """Return whether it answers that it is well, within so many seconds."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request("GET", self.health, headers={"Connection": "close"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def process(self) -> psutil.Process:
        """Return the process that listens on its port."""
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr == (HOST, self.port)
            if listens and connection.pid:
                return psutil.Process(connection.pid)
        raise BenchError(f"nobody listens on port {self.port}")


@dataclass(frozen=True, slots=True)
class Injury:
    """What was done, and when."""

    at: float
    culprit: psutil.Process
    """The process without whose end the service cannot answer again."""


Fault = Callable[[Service], Injury]


def kill(service: Service) -> Injury:
    """Kill it as `kill -9` does."""
    process = service.process()
    at = time.perf_counter()
    process.kill()
    return Injury(at, process)


def suspend(service: Service) -> Injury:
    """Stop it as `kill -STOP` does."""
    process = service.process()
    at = time.perf_counter()
    process.suspend()
    return Injury(at, process)


def hang(service: Service) -> Injury:
    """Have it answer nothing any more, while its process is well; only the patient and the idler can."""
    process = service.process()
    urllib.request.urlopen(f"{service.url}/fall-ill/hang", timeout=5).close()
    return Injury(time.perf_counter(), process)


def take_port(service: Service) -> Injury:
    """Kill it and have somebody else of the same user listen on its port, who answers nothing."""
    words = [sys.executable, "-c", _STRANGER, HOST, str(service.port)]
    # It ends with its standard input, and so with us.
    stranger = psutil.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stranger.stdout.readline()
    at = kill(service).at
    stranger.stdout.readline()
    return Injury(at, stranger)
