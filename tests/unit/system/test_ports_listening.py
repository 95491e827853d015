"""Where processes listen, at ports and on Unix sockets, as the kernel lists it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from remediation.system import ports

_OTHER = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
tcp = socket.create_server(("127.0.0.1", 0))
print("listening", flush=True)
sys.stdin.read()
"""


class Sockets:
    """Sockets of this process."""

    def __init__(self, stack: ExitStack) -> None:
        """Close them with the stack."""
        self._stack = stack

    def tcp(self, host: str, *, listen: bool = True) -> int:
        """Bind a socket to a free port, and return the port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = self._stack.enter_context(socket.socket(family))
        server.bind((host, 0))
        if listen:
            server.listen()
        return int(server.getsockname()[1])

    def client(self, number: int) -> None:
        """Connect to a port of this machine."""
        self._stack.enter_context(socket.create_connection(("127.0.0.1", number)))

    def unix(self, name: str, *, listen: bool = True) -> socket.socket:
        """Bind a Unix socket to a name."""
        server = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(name)
        if listen:
            server.listen()
        return server


@pytest.fixture
def own() -> Iterator[Sockets]:
    """Sockets that are closed after the test."""
    with ExitStack() as stack:
        yield Sockets(stack)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """Another process that listens, at a port and on a Unix socket."""
    words = [sys.executable, "-I", "-S", "-c", _OTHER, str(tmp_path / "other.sock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        yield process.pid


def test_the_places_where_processes_listen_are_listed_in_order(
    tmp_path: Path, own: Sockets, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(ports.listening({os.getpid()}))
    numbers = [own.tcp("127.0.0.1"), own.tcp("127.0.0.1"), own.tcp("::1")]
    own.tcp("127.0.0.1", listen=False)
    own.client(numbers[0])
    path = tmp_path / "a b.sock"
    own.unix(str(path))
    own.unix(str(tmp_path / "bound.sock"), listen=False)
    monkeypatch.chdir(tmp_path)
    own.unix("relative.sock")

    found = ports.listening({os.getpid()})

    expected = {f"127.0.0.1:{numbers[0]}", f"127.0.0.1:{numbers[1]}", f"[::1]:{numbers[2]}", str(path)}
    assert set(found) - before == expected
    assert found == sorted(found)
    assert len(ports.listening({other})) == 2
    assert set(ports.listening({os.getpid(), other})) == {*found, *ports.listening({other})}
    assert ports.listening(set()) == []


def test_without_proc_the_ports_are_listed(tmp_path: Path, own: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "has_proc", lambda: False)
    before = set(ports.listening({os.getpid()}))
    numbers = sorted([own.tcp("127.0.0.1"), own.tcp("127.0.0.1")], key=str)
    own.tcp("127.0.0.1", listen=False)
    own.client(numbers[0])
    own.unix(str(tmp_path / "x.sock"))

    found = ports.listening({os.getpid()})

    assert [place for place in found if place not in before] == [f"127.0.0.1:{number}" for number in numbers]


def test_without_the_tables_nothing_is_listed(own: Sockets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own.tcp("127.0.0.1")
    monkeypatch.setattr(ports, "Path", lambda _: tmp_path / "none")

    assert ports.listening({os.getpid()}) == []


def test_listening_unix_sockets_are_listed_by_inode_as_they_were_bound(
    tmp_path: Path, own: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    servers = {name: own.unix(name) for name in (str(tmp_path / "x.sock"), "relative.sock")}
    bound = own.unix("bound.sock", listen=False)

    found = ports.unix_listeners()

    assert {os.fstat(server.fileno()).st_ino: name for name, server in servers.items()}.items() <= found.items()
    assert os.fstat(bound.fileno()).st_ino not in found


def test_a_listener_on_a_unix_socket_needs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched() -> NoReturn:
        raise AssertionError

    monkeypatch.setattr(ports, "all_pids", searched)

    assert ports.sharers(ports.Listener(812, "/run/x", 0)) == {812}
    assert ports.sharers(ports.Listener(None, "/run/x", 0)) == set()
