"""One TCP port: only the process that would really serve its clients counts as its holder; no probe raises."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sandbox import free_port, wait_for
from systems import needs_second_loopback

from remediation.system import ports

Listen = Callable[..., int]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listen on an address, on a free port unless one is given, and return the port."""
    with ExitStack() as stack:

        def listen(host: str, number: int = 0, *, only_ipv6: bool = False, backlog: int = 5) -> int:
            server = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            if ":" in host:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_ipv6))
            server.bind((host, number))
            server.listen(backlog)
            return int(server.getsockname()[1])

        yield listen


@pytest.fixture
def free() -> int:
    """Return a port without a listener."""
    return free_port()


def own_listeners(number: int, host: str) -> list[ports.Listener]:
    """Return the listeners of this process; another test may use the same port on another address."""
    return [found for found in ports.listeners(number, host) if found.pid == os.getpid()]


# Addresses.


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        pytest.param("127.0.0.2", True, marks=needs_second_loopback),
        ("0.0.0.0", True),
        ("localhost", True),
        ("::1", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("no-such-host.invalid", False),
        ("", False),
        ("a..b", False),
        ("a" * 70, False),
        ("a\0b", False),
    ],
)
def test_a_host_is_local_if_all_its_addresses_are_this_machines(host: str, *, local: bool) -> None:
    assert ports.is_local(host) is local


@pytest.mark.parametrize("host", ["no-such-host.invalid", "", "a..b", "a" * 70, "a\0b", "a b", "\udcff", "[::1]"])
def test_a_host_that_means_nothing_resolves_to_nothing_and_answers_nothing(host: str, free: int) -> None:
    assert ports.resolve(host) == frozenset()
    assert not accepts(host, free, 0.2)
    assert not ports.refuses(host, free)
    assert ports.listeners(free, host) == []


# Listeners.


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("localhost", "127.0.0.1"),
        pytest.param("127.0.0.2", "127.0.0.2", marks=needs_second_loopback),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        pytest.param("127.0.0.1", "::", marks=needs_ipv6),
        pytest.param("127.0.0.1", "::ffff:127.0.0.1", marks=needs_ipv6),
        pytest.param("::1", "::1", marks=needs_ipv6),
        pytest.param("::1", "::", marks=needs_ipv6),
    ],
)
def test_a_listener_that_clients_of_the_host_meet_is_found(listen: Listen, host: str, bound: str) -> None:
    number = listen(bound)

    [found] = own_listeners(number, host)

    assert (found.pid, found.port) == (os.getpid(), number)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("host", "bound"),
    [
        pytest.param("127.0.0.1", "127.0.0.2", marks=needs_second_loopback),
        pytest.param("127.0.0.2", "127.0.0.1", marks=needs_second_loopback),
        pytest.param("127.0.0.1", "::1", marks=needs_ipv6),
        pytest.param("::1", "127.0.0.1", marks=needs_ipv6),
        pytest.param("::1", "0.0.0.0", marks=needs_ipv6),
    ],
)
def test_a_listener_that_clients_of_the_host_never_meet_is_not_found(listen: Listen, host: str, bound: str) -> None:
    assert own_listeners(listen(bound), host) == []


@needs_ipv6
@pytest.mark.usefixtures("either_way")
def test_an_ipv6_only_listener_is_not_in_the_way_of_an_ipv4_one(listen: Listen, free: int) -> None:
    # As nginx has it by default; both live on one port, and neither takes the other's clients.
    listen("::", free, only_ipv6=True)
    assert not accepts("127.0.0.1", free, 0.5)

    assert own_listeners(free, "127.0.0.1") == []


def accepts(host: str, number: int, timeout: float) -> bool:
    """Return whether a connection succeeds in time."""
    try:
        ports.connect(host, number, timeout).close()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("either_way")
def test_a_client_of_the_port_is_no_listener(listen: Listen) -> None:
    number = listen("127.0.0.1")
    with socket.create_connection(("127.0.0.1", number)) as client:
        client_port = client.getsockname()[1]

        assert ports.listeners(client_port, "127.0.0.1") == []
        assert not ports.listens({os.getpid()}, client_port)


@pytest.mark.usefixtures("either_way")
def test_a_port_that_is_bound_but_not_listened_on_has_no_listener() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        assert ports.listeners(bound.getsockname()[1], "127.0.0.1") == []


@pytest.mark.usefixtures("either_way")
def test_a_listener_is_found_at_the_child_that_inherited_it() -> None:
    script = (
        "import os, signal, socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "if os.fork():\n"
        "    os._exit(0)\n"
        "print(os.getpid(), server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, number = map(int, parent.stdout.readline().split())
        parent.wait()

        assert [found.pid for found in ports.listeners(number, "127.0.0.1")] == [pid]
        assert ports.listens({pid}, number)


@needs_second_loopback
@pytest.mark.usefixtures("only_posix")
def test_a_listener_that_the_system_shows_to_root_alone_has_no_known_owner(
    listen: Listen, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = listen("127.0.0.1")
    # As for an ordinary user of macOS, who sees the sockets of none but his own processes.
    monkeypatch.setattr(psutil, "pids", list)

    assert ports.listeners(number, "127.0.0.1") == [ports.Listener(None, "127.0.0.1", number)]
    assert ports.listeners(number, "127.0.0.2") == []
    assert ports.listeners(free, "127.0.0.1") == []


@pytest.mark.usefixtures("either_way")
def test_connections_are_counted_by_their_state() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)), server.accept()[0]:
            counted = ports.connections(number)

    assert counted == {"ESTABLISHED": 1, "LISTEN": 1}


def test_all_processes_that_hold_a_listening_socket_share_it_and_no_client_does() -> None:
    script = (
        "import os, signal, socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.pause()\n"
        "print(child, server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
        "os.kill(child, signal.SIGKILL)\n"
        "os.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child, number = map(int, parent.stdout.readline().split())
        with socket.create_connection(("127.0.0.1", number)):
            for pid in (parent.pid, child, None):
                assert ports.sharers(ports.Listener(pid, "127.0.0.1", number)) == {parent.pid, child}


def test_a_process_listens_only_on_its_own_ports(listen: Listen, free: int) -> None:
    number = listen("127.0.0.1")

    assert ports.listens({os.getpid()}, number)
    assert ports.listens({2**22 + 1, os.getpid()}, number)
    assert not ports.listens({os.getpid()}, free)
    assert not ports.listens({os.getppid(), 2**22 + 1, 10**30}, number)
    assert not ports.listens(set(), number)


# Answers.


def test_a_port_that_is_listened_on_accepts(listen: Listen) -> None:
    number = listen("127.0.0.1")

    assert accepts("127.0.0.1", number, 5)
    assert not ports.refuses("127.0.0.1", number)


def test_a_port_that_nobody_listens_on_refuses(free: int) -> None:
    assert not accepts("127.0.0.1", free, 5)
    assert ports.refuses("127.0.0.1", free)


def test_a_port_whose_queue_is_full_neither_accepts_nor_refuses(listen: Listen) -> None:
    number = listen("127.0.0.1", backlog=0)
    with ExitStack() as stack:

        def full() -> bool:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", number))
            except TimeoutError:
                return True
            return False

        wait_for(full)
        start = time.monotonic()

        assert not accepts("127.0.0.1", number, 0.2)
        assert not ports.refuses("127.0.0.1", number)

        assert time.monotonic() - start < 30


def test_the_longest_timeout_is_no_error(free: int) -> None:
    assert not accepts("127.0.0.1", free, 1e8)


@pytest.mark.skipif(sys.platform != "linux", reason="the range of ports for clients is read as Linux has it")
def test_a_probe_that_meets_itself_has_met_nobody() -> None:
    # Without a listener, a client may get the very port it connects to as its own: TCP's simultaneous open.
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    # The kernel hands out ports of the lowest one's parity first, one after the other.
    for number in range(lowest + 2, highest, 2):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", number)) and not ports.listeners(number, "127.0.0.1"):
                break

    assert not any(accepts("127.0.0.1", number, 1) for _ in range(2 * (highest - lowest)))
