"""One TCP port: who listens on it, whether it answers, whether an address is this machine's.

Only listeners count. A client that merely has a connection to the port is nobody's business.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - bound for a moment, and never listened on
IPV4, IPV6 = 4, 6
# A refusal takes no time; whoever needs longer than this does not refuse.
_REFUSAL = 0.5
_BROADCAST = "255.255.255.255"


class Listener(Struct, frozen=True):
    """A listening socket; `pid` is None when the kernel does not tell us whose it is."""

    pid: int | None
    address: str
    port: int


def resolve(host: str) -> frozenset[str]:
    """Return the IP addresses of a host name; empty if it does not resolve."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return frozenset()
    return frozenset(str(answer[4][0]).partition("%")[0] for answer in answers)


def is_local(host: str) -> bool:
    """Return whether every address of a host belongs to this machine.

    The test is whether a socket can be bound to it, which the kernel grants for own addresses alone.
    """
    addresses = resolve(host)
    return bool(addresses) and all(_is_own(address) for address in addresses)


def _is_own(address: str) -> bool:
    if ip_address(address).is_multicast or address == _BROADCAST:
        return False
    family = socket.AF_INET6 if _version(address) == IPV6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        # Without IPv6 the name `localhost` still resolves to ::1; that is no foreign address.
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and ip_address(address).is_loopback
    return True


def listeners(port: int, host: str) -> list[Listener]:
    """Return who listens on a port, IPv4 and IPv6, where a client of `host` would meet them.

    A listener on another address of this machine does not serve that host and is not returned.
    """
    # The kernel says that nobody listens at all quicker than it lists all sockets.
    if _can_bind(ANY_IPV4, port) and _can_bind(ANY_IPV6, port):
        return []
    import psutil

    connections = psutil.net_connections(kind="tcp")
    everybody = [Listener(one.pid, one.laddr.ip, port) for one in _listening(connections, port)]
    addresses = resolve(host)
    if addresses & {ANY_IPV4, ANY_IPV6}:
        return everybody
    if any(_version(address) == IPV4 for address in addresses):
        addresses |= {ANY_IPV4}
        # A listener on [::] takes IPv4 as well, unless it was told not to, ipv6(7): then IPv4 can still be bound.
        if not any(_version(one.address) == IPV4 for one in everybody) and not _can_bind(ANY_IPV4, port):
            addresses |= {ANY_IPV6}
    if any(_version(address) == IPV6 for address in addresses):
        addresses |= {ANY_IPV6}
    return [one for one in everybody if one.address.removeprefix("::ffff:") in addresses]


def connections(port: int) -> dict[str, int]:
    """Return how many TCP connections to a port of this machine are in each state, as tcp(7) calls them."""
    import psutil

    states = [one.status for one in psutil.net_connections(kind="tcp") if one.laddr and one.laddr.port == port]
    return {state: states.count(state) for state in sorted(set(states))}


def sharers(listener: Listener) -> set[int]:
    """Return all processes that hold a listening socket open; a list of sockets names but one of them."""
    import psutil

    found = {listener.pid} if listener.pid else set()
    for pid in psutil.pids():
        with suppress(psutil.Error):
            sockets = _listening(psutil.Process(pid).net_connections(kind="tcp"), listener.port)
            if listener.address in [one.laddr.ip for one in sockets]:
                found.add(pid)
    return found


def _listening(connections: Iterable[Any], port: int) -> list[Any]:
    """Return those of psutil's connections that listen on a port."""
    import psutil

    return [one for one in connections if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port]


def _version(address: str) -> int:
    return ip_address(address.removeprefix("::ffff:")).version


def _can_bind(wildcard: str, port: int) -> bool:
    """Return whether nobody listens on a port in this family, or there is no such family here."""
    family = socket.AF_INET if wildcard == ANY_IPV4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((wildcard, port))
    except OSError as error:
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True


def listens(pids: set[int], port: int) -> bool:
    """Return whether one of these processes listens on the port."""
    import psutil

    for pid in pids:
        with suppress(psutil.Error):
            if _listening(psutil.Process(pid).net_connections(kind="tcp"), port):
                return True
    return False


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection; OSError within about `timeout` seconds if there is none.

    On a port of the range for clients the kernel may give a probe that very port, and connect it to itself.
    That is nobody, and is told as refused.
    """
    try:
        connection = socket.create_connection((host, port), timeout)
    except (ValueError, OverflowError) as error:
        raise OSError(errno.EINVAL, f"{host}:{port} is no address: {error}") from None
    if connection.getsockname() == connection.getpeername():
        # Reset rather than closed: in TIME_WAIT the port would be taken from the server that is to come.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
    return connection


def refuses(host: str, port: int) -> bool:
    """Return whether the port is refused at once, as the kernel does when nobody listens.

    A full queue or a filter does not refuse, it keeps silent; that is not told as refused.
    """
    try:
        connect(host, port, _REFUSAL).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
