"""One TCP port: only the process that would really serve its clients counts as its holder; no probe raises."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import psutil
import pytest
from sandbox import free_port, wait_for
from systems import needs_second_loopback

from remediation.system import ports
from remediation.system.capabilities import can_list_all_sockets, wildcard_excludes_addresses

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


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let each host have these addresses."""
    answers = [(0, 0, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)


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


def test_a_host_with_an_address_of_another_machine_is_not_local(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.1", "192.0.2.1")

    assert ports.resolve("api") == {"127.0.0.1", "192.0.2.1"}
    assert not ports.is_local("api")


@pytest.mark.parametrize(
    ("host", "error", "local"),
    [
        # Without IPv6, `localhost` still resolves to ::1.
        ("::1", errno.EAFNOSUPPORT, True),
        ("::1", errno.EADDRNOTAVAIL, True),
        ("::1", errno.EMFILE, False),
        ("2001:db8::1", errno.EAFNOSUPPORT, False),
    ],
)
def test_only_a_loopback_address_is_local_without_its_family(
    monkeypatch: pytest.MonkeyPatch, host: str, error: int, *, local: bool
) -> None:
    resolve_to(monkeypatch, host)

    def refuse(*_: object) -> NoReturn:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(socket, "socket", refuse)

    assert ports.is_local(host) is local


def test_an_address_is_tried_with_a_port_that_every_user_may_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.bind

    def bind(probe: socket.socket, address: tuple[str, int]) -> None:
        if 0 < address[1] < 1024:
            raise PermissionError(errno.EACCES, "as for an ordinary user")
        real(probe, address)

    monkeypatch.setattr(socket.socket, "bind", bind)

    assert ports.is_local("127.0.0.1")


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
        pytest.param("::", "::1", marks=needs_ipv6),
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


@needs_ipv6
@pytest.mark.usefixtures("either_way")
def test_of_two_listeners_on_a_port_the_one_of_the_client_s_family_is_found(listen: Listen, free: int) -> None:
    listen("127.0.0.1", free)
    listen("::", free, only_ipv6=True)

    assert [found.address for found in own_listeners(free, "127.0.0.1")] == ["127.0.0.1"]
    assert [found.address for found in own_listeners(free, "::1")] == ["::"]


@needs_ipv6
@pytest.mark.usefixtures("either_way")
def test_a_listener_that_only_one_address_of_the_host_leads_to_is_found(
    listen: Listen, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "127.0.0.1", "::1")
    listen("::", free, only_ipv6=True)

    assert [found.address for found in own_listeners(free, "localhost")] == ["::"]


@needs_ipv6
@pytest.mark.skipif(not wildcard_excludes_addresses(), reason="on this system a bind proves nothing")
def test_an_ended_connection_is_not_taken_for_a_listener(listen: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)):
            server.accept()[0].close()
    wait_for(lambda: ports.connections(number) == {"TIME_WAIT": 1})
    listen("::", number, only_ipv6=True)

    assert own_listeners(number, "127.0.0.1") == []


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


@pytest.mark.usefixtures("only_posix")
@pytest.mark.parametrize("bound", ["127.0.0.1", pytest.param("::", marks=needs_ipv6)])
def test_a_listener_is_found_although_a_wildcard_can_be_bound_beside_it(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    number = listen(bound)
    # As the BSDs allow it.
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)

    assert own_listeners(number, "127.0.0.1") == [ports.Listener(os.getpid(), bound, number)]


@needs_ipv6
@pytest.mark.skipif(not wildcard_excludes_addresses(), reason="on this system only a connection proves anything")
def test_a_listener_is_found_without_a_connection_that_it_would_have_to_accept(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = listen("::")
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("has connected"))

    assert own_listeners(number, "127.0.0.1") == [ports.Listener(os.getpid(), "::", number)]


@pytest.mark.skipif(not can_list_all_sockets(), reason="on this system a list of sockets proves nothing")
def test_what_answers_without_a_listening_socket_of_this_machine_is_no_listener(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = listen("127.0.0.1")
    # As where a packet filter redirects the port to another machine.
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [])

    assert ports.listeners(number, "127.0.0.1") == []


@pytest.mark.skipif(not wildcard_excludes_addresses(), reason="on this system a bind proves nothing")
@pytest.mark.parametrize("error", [None, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_port_that_can_be_bound_is_free_without_a_look_at_all_sockets(
    free: int, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    real = socket.socket.bind

    def bind(probe: socket.socket, address: tuple[str, int]) -> None:
        if error and probe.family == socket.AF_INET6:
            raise OSError(error, "as without IPv6")
        real(probe, address)

    monkeypatch.setattr(socket.socket, "bind", bind)
    monkeypatch.setattr(psutil, "net_connections", lambda **_: pytest.fail("has looked"))

    assert ports.listeners(free, "127.0.0.1") == []


@needs_second_loopback
@pytest.mark.usefixtures("only_posix")
def test_an_answer_is_told_with_the_first_address_that_gave_it(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"127.0.0.{last}" for last in range(1, 255)]
    resolve_to(monkeypatch, *addresses)
    monkeypatch.setattr(psutil, "pids", list)
    number = listen("0.0.0.0")

    assert ports.listeners(number, "api") == [ports.Listener(None, "127.0.0.1", number)]


def test_the_states_of_connections_are_in_order(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [value for name, value in vars(psutil).items() if name.startswith("CONN_")]
    address = SimpleNamespace(ip="127.0.0.1", port=free)
    entries = [SimpleNamespace(pid=None, laddr=address, status=state) for state in [*states, *states]]
    unbound = SimpleNamespace(pid=None, laddr=(), status=psutil.CONN_NONE)
    monkeypatch.setattr(ports, "can_list_all_sockets", lambda: True)
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [unbound, *entries])

    assert list(ports.connections(free).items()) == [(state, 2) for state in sorted(states)]


@pytest.mark.usefixtures("either_way")
def test_connections_are_counted_by_their_state() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        number = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", number))
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


@needs_second_loopback
def test_a_listener_on_another_address_of_the_port_does_not_share_it(listen: Listen) -> None:
    number = listen("127.0.0.2")

    assert ports.sharers(ports.Listener(None, "127.0.0.1", number)) == set()


def test_a_listener_whose_sockets_are_hidden_from_us_holds_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "pids", list)

    assert ports.sharers(ports.Listener(812, "127.0.0.1", 80)) == {812}


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
    assert ports.refuses("127.0.0.1", number) is False


@pytest.mark.parametrize(("host", "number"), [("127.0.0.1", 2**70), ("a..b", 80)])
def test_what_is_no_address_is_told_as_an_error_of_the_connection(host: str, number: int) -> None:
    with pytest.raises(OSError, match="is no address"):
        ports.connect(host, number, 1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux connects a socket to itself each time it is asked to")
def test_a_client_that_has_met_itself_leaves_its_port_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = socket.socket()
    client.bind(("127.0.0.1", 0))
    number = client.getsockname()[1]
    client.connect(("127.0.0.1", number))
    monkeypatch.setattr(socket, "create_connection", lambda *_: client)

    with pytest.raises(ConnectionRefusedError):
        ports.connect("127.0.0.1", number, 1.0)

    with socket.socket() as server:
        server.bind(("127.0.0.1", number))


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
        assert ports.refuses("127.0.0.1", number) is False

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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_another_socket_on_the_port_is_noticed_and_a_shared_one_is_not(free: int, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as first, socket.socket(family) as second:
        for server in (first, second):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind((host, free))
        first.listen()
        with subprocess.Popen(["sleep", "600"], pass_fds=[first.fileno()]) as child:
            shared = [ports.others_listen(free, {pid}) for pid in (os.getpid(), child.pid)]
            second.listen()
            with_another = [ports.others_listen(free, {pid}) for pid in (os.getpid(), child.pid)]
            holders = ports.sharers(ports.Listener(os.getpid(), host, free))
            child.kill()

    assert shared == [False, False]
    assert with_another == [False, True]
    assert holders == {os.getpid(), child.pid}


def test_without_a_listener_no_other_socket_listens(free: int) -> None:
    assert not ports.others_listen(free, set())
