"""A server that listens in another place than its service's address is told with that place."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sandbox import Sandbox, free_port, wait_for
from systems import needs_second_loopback

from remediation.config.load import load_project
from remediation.engines.listening import elsewhere
from remediation.system import ports
from remediation.system.process import Identity

SERVER = """
import socket, sys, time
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    family = socket.AF_UNIX if "/" in place else socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family)
    server.bind(place if "/" in place else (host, int(port)))
    server.listen()
    globals()[place] = server
print("listening", flush=True)
time.sleep(600)
"""
# The server is a child of a shell, as with npm start.
Serve = Callable[..., Identity]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that listens in these places, and return its parent."""
    with ExitStack() as stack:

        def serve(*places: str) -> Identity:
            command = ["sh", "-c", '"$@"; :', "sh", sys.executable, "-c", SERVER, *places]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(end, process.pid)
            assert process.stdout
            assert process.stdout.readline() == b"listening\n"
            identity = Identity.of(process.pid)
            assert identity
            return identity

        yield serve


def end(pid: int) -> None:
    """Kill a process and its descendants."""
    for process in family(pid):
        process.kill()


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    process = psutil.Process(pid)
    return [*process.children(recursive=True), process]


def told(project: Sandbox, main: Identity, url: str = "") -> str:
    """Return where a process listens instead of the address of the service."""
    project.configure(f'url = "{url or project.url}"')
    return elsewhere(load_project(project.root, {}).services["api"], main)


def test_a_server_at_its_address_listens_nowhere_else(project: Sandbox, serve: Serve) -> None:
    assert told(project, serve(f"127.0.0.1:{project.port}", f"127.0.0.1:{free_port()}")) == ""


def test_a_server_on_all_addresses_is_at_its_own(project: Sandbox, serve: Serve) -> None:
    assert told(project, serve(f"0.0.0.0:{project.port}")) == ""


def test_a_process_that_listens_nowhere_is_told_so_by_silence(project: Sandbox, serve: Serve) -> None:
    assert told(project, serve()) == ""


def test_another_port_is_told(project: Sandbox, serve: Serve) -> None:
    other = free_port()

    assert told(project, serve(f"127.0.0.1:{other}")) == f"127.0.0.1:{other}"


@needs_second_loopback
def test_another_address_is_told(project: Sandbox, serve: Serve) -> None:
    assert told(project, serve(f"127.0.0.2:{project.port}")) == f"127.0.0.2:{project.port}"


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_ipv6_instead_of_ipv4_is_told_and_the_other_way_round(project: Sandbox, serve: Serve) -> None:
    assert told(project, serve(f"::1:{project.port}")) == f"[::1]:{project.port}"
    other = free_port()
    assert told(project, serve(f"127.0.0.1:{other}"), f"http://[::1]:{other}") == f"127.0.0.1:{other}"


def test_a_unix_socket_is_told(project: Sandbox, serve: Serve, tmp_path: Path) -> None:
    assert told(project, serve(f"{tmp_path}/app sock")) == f"{tmp_path}/app sock"


def test_of_many_places_a_few_are_named(project: Sandbox, serve: Serve) -> None:
    places = sorted(f"127.0.0.1:{free_port()}" for _ in range(5))

    assert told(project, serve(*places)) == ", ".join(places[:3]) + " (+2)"


def test_without_proc_the_places_are_the_same(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"127.0.0.1:{free_port()}"
    pids = {process.pid for process in family(serve(place).pid)}
    monkeypatch.setattr(ports, "has_proc", lambda: False)

    assert wait_for(lambda: ports.listening(pids)) == [place]
