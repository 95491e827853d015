"""Who listens on a Unix socket, by whatever name it was bound; the port has tests of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sandbox import DEADLINE

from remediation.system import endpoints
from remediation.system.endpoints import UnixEndpoint
from remediation.system.ports import Listener

_SERVER = """
import os, socket, sys, time
os.chdir(sys.argv[1])
server = socket.socket(socket.AF_UNIX)
if os.path.exists(sys.argv[2]):
    os.unlink(sys.argv[2])
server.bind(sys.argv[2])
server.listen()
child = os.fork() if sys.argv[3] == "fork" else None
if child != 0:
    print(os.getpid(), child or "", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[True, False], ids=["proc", "portable"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system with /proc, and one without."""
    monkeypatch.setattr(endpoints, "has_proc", lambda: request.param)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., list[int]]]:
    """Start processes that listen on a socket of this name, as seen from a folder; return the PIDs."""
    with ExitStack() as stack:

        def start(name: str = "app.sock", folder: Path = tmp_path, *, fork: bool = False) -> list[int]:
            words = [sys.executable, "-I", "-S", "-c", _SERVER, str(folder), name, "fork" if fork else ""]
            server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(server)
            assert server.stdout
            return [int(pid) for pid in server.stdout.readline().split()]

        yield start


def test_nobody_listens_where_no_socket_is_or_its_server_is_gone(tmp_path: Path) -> None:
    stale, file = tmp_path / "stale", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stale))
        server.listen()
    file.touch()

    for path in (stale, file, tmp_path / "none", file / "below"):
        endpoint = UnixEndpoint(str(path))
        assert endpoint.refuses()
        assert endpoint.listeners() == []
        assert not endpoint.listens({os.getpid()})
        assert not endpoint.others_listen(set())
    assert stale.is_socket()


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", ["{root}/app.sock", "app.sock", "./app.sock", "sub/../app.sock", "link/app.sock"])
def test_a_listener_is_found_by_whatever_name_it_has_bound(
    tmp_path: Path, listen: Callable[..., list[int]], name: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(".")
    (pid,) = listen(name.format(root=tmp_path))
    endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

    assert endpoint.is_local()
    assert not endpoint.refuses()
    assert endpoint.listeners() == [Listener(pid, endpoint.path, 0)]
    assert endpoint.listens({pid, os.getpid()})
    assert not endpoint.listens({os.getpid(), 2**22 + 1})
    assert endpoint.others_listen({os.getpid()})
    assert not endpoint.others_listen({pid})


@pytest.mark.usefixtures("system")
def test_a_socket_of_the_same_name_elsewhere_is_another(tmp_path: Path, listen: Callable[..., list[int]]) -> None:
    (tmp_path / "other").mkdir()
    (pid,) = listen()
    (other,) = listen(folder=tmp_path / "other")
    endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

    assert [listener.pid for listener in endpoint.listeners()] == [pid]
    assert not endpoint.listens({other})
    assert not endpoint.others_listen({pid})


def test_all_holders_of_a_shared_socket_are_listed(tmp_path: Path, listen: Callable[..., list[int]]) -> None:
    pids = listen(fork=True)
    endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

    assert [listener.pid for listener in endpoint.listeners()] == sorted(pids)
    assert not endpoint.others_listen({pids[1]})


def test_a_server_that_was_replaced_is_no_listener_any_more(tmp_path: Path, listen: Callable[..., list[int]]) -> None:
    listen(fork=True)
    (successor,) = listen()
    endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

    assert [listener.pid for listener in endpoint.listeners()] == [successor]


@pytest.mark.usefixtures("system")
def test_nobody_reaches_a_server_whose_socket_was_removed(tmp_path: Path, listen: Callable[..., list[int]]) -> None:
    (pid,) = listen()
    (tmp_path / "app.sock").unlink()
    endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

    assert endpoint.refuses()
    assert endpoint.listeners() == []
    assert not endpoint.listens({pid})
    assert not endpoint.others_listen(set())


def test_a_listener_whose_process_the_kernel_hides_is_noticed(
    tmp_path: Path, listen: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(f"{tmp_path}/app.sock")
    monkeypatch.setattr("remediation.system.ports.inodes_of", lambda _: set())
    endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

    assert endpoint.listeners() == [Listener(None, endpoint.path, 0)]
    assert endpoint.others_listen({os.getpid()})


def test_to_look_who_listens_disturbs_no_server(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "app.sock"))
        server.listen()
        server.setblocking(False)
        endpoint = UnixEndpoint(str(tmp_path / "app.sock"))

        found = endpoint.listeners(), endpoint.listens({os.getpid()}), endpoint.others_listen({os.getpid()})

        assert found == ([Listener(os.getpid(), endpoint.path, 0)], True, False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_full_queue_is_no_refusal(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(tmp_path / "app.sock"))
        server.listen(0)
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(DEADLINE)
        client.connect(str(tmp_path / "app.sock"))

        assert not UnixEndpoint(str(tmp_path / "app.sock")).refuses()
