"""Who holds a listening socket: by /proc where there is one, by what the system lists elsewhere."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import psutil
import pytest
from sandbox import free_port
from systems import needs_proc, needs_second_loopback

from remediation.system import ports

NOBODYS_PID = 2**22 + 1


@pytest.fixture
def number() -> Iterator[int]:
    """The number of a port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def entry(pid: int, number: int, *, ip: str = "127.0.0.1", status: str = psutil.CONN_LISTEN) -> SimpleNamespace:
    """Return a socket as psutil describes it."""
    return SimpleNamespace(pid=pid, laddr=SimpleNamespace(ip=ip, port=number), status=status)


@needs_proc
def test_with_proc_who_shares_a_socket_is_found_without_a_list_of_all_sockets(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "pids", list)

    assert ports.sharers(ports.Listener(None, "127.0.0.1", number)) == {os.getpid()}


@needs_proc
@pytest.mark.parametrize(
    "address",
    [pytest.param("127.0.0.18", marks=needs_second_loopback), "::1", "::ffff:127.0.0.1"],
)
def test_a_socket_is_found_by_its_address_as_the_kernel_prints_it(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            server.bind((address, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {address}: {error}")
        server.listen()

        assert ports.sharers(ports.Listener(None, address, server.getsockname()[1])) == {os.getpid()}


@needs_proc
def test_a_connection_to_the_port_is_no_other_listener(number: int) -> None:
    # Until it is accepted, it belongs to nobody.
    with socket.create_connection(("127.0.0.1", number)):
        assert ports.others_listen(number, {os.getpid()}) is False


@needs_proc
def test_a_process_that_is_gone_hides_no_listener_of_the_others(number: int) -> None:
    assert ports.others_listen(number, {NOBODYS_PID, os.getpid()}) is False
    assert ports.others_listen(number, {NOBODYS_PID}) is True


@needs_proc
def test_a_descriptor_that_is_closed_meanwhile_hides_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.readlink
    with open(os.devnull) as closed, socket.create_server(("127.0.0.1", 0)) as server:

        def readlink(path: str) -> str:
            if path == f"/proc/{os.getpid()}/fd/{closed.fileno()}":
                raise FileNotFoundError(errno.ENOENT, "closed meanwhile")
            return real(path)

        monkeypatch.setattr(os, "readlink", readlink)

        assert closed.fileno() < server.fileno()
        assert ports.others_listen(server.getsockname()[1], {os.getpid()}) is False


@needs_proc
def test_a_kernel_without_ipv6_has_listeners_all_the_same(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def opened(path: Path, mode: str) -> IO[bytes]:
        if path == Path("/proc/net/tcp6"):
            raise FileNotFoundError(errno.ENOENT, "no such table")
        return real(path, mode)

    monkeypatch.setattr(Path, "open", opened)

    assert ports.others_listen(number, set()) is True


# Without /proc, as on macOS and the BSDs.


def test_without_proc_another_listener_is_noticed_by_its_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    number = free_port()
    monkeypatch.setattr(ports, "has_proc", lambda: False)
    monkeypatch.setattr(ports, "can_list_all_sockets", lambda: True)
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [entry(81, number), entry(82, number)])

    assert ports.others_listen(number, {81}) is True
    assert ports.others_listen(number, {81, 82}) is False


def test_without_proc_all_who_listen_at_the_same_address_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    number = free_port()
    sockets = {
        81: entry(81, number),
        82: entry(82, number, ip="127.0.0.2"),
        83: entry(83, number, status=psutil.CONN_ESTABLISHED),
    }
    monkeypatch.setattr(ports, "has_proc", lambda: False)
    monkeypatch.setattr(psutil, "pids", lambda: [*sockets])
    monkeypatch.setattr(psutil, "Process", lambda pid: SimpleNamespace(net_connections=lambda **_: [sockets[pid]]))

    assert ports.sharers(ports.Listener(80, "127.0.0.1", number)) == {80, 81}
