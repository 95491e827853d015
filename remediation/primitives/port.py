"""One TCP port: who listens on it, whether it answers, whether an address is this machine's.

Only listeners count. A client that merely has a connection to the port is nobody's business.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket; `pid` is None when the kernel does not tell us whose it is."""

    pid: int | None
    address: str
    port: int


def resolve(host: str) -> frozenset[str]:
    """Return the IP addresses of a host name; empty if it does not resolve."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(answer[4][0]).partition("%")[0] for answer in answers)


def is_local(host: str) -> bool:
    """Return whether every address of a host belongs to this machine.

    The test is whether a socket can be bound to it, which the kernel grants for own addresses alone.
    """
    addresses = resolve(host)
    return bool(addresses) and all(_is_own(address) for address in addresses)


def _is_own(address: str) -> bool:
    family = socket.AF_INET6 if isinstance(ip_address(address), IPv6Address) else socket.AF_INET
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
    if _is_free(port):
        return []
    import psutil

    addresses = resolve(host) | WILDCARDS
    everything = bool(resolve(host) & WILDCARDS)
    found = []
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        address = connection.laddr.ip
        plain = address.removeprefix("::ffff:")
        if everything or plain in addresses:
            found.append(Listener(connection.pid, address, port))
    return found


def _is_free(port: int) -> bool:
    """Return whether nobody at all listens on a port, which the kernel says quicker than a list of all sockets."""
    for family, wildcard in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - closed at once
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((wildcard, port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                return False
    return True


def listens(pids: set[int], port: int) -> bool:
    """Return whether one of these processes listens on the port."""
    import psutil

    for pid in pids:
        with suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                    return True
    return False


def accepts(host: str, port: int, timeout: float) -> bool:
    """Return whether a TCP connection to host and port is accepted within `timeout` seconds."""
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


def refuses(host: str, port: int) -> bool:
    """Return whether the port is refused at once, as the kernel does when nobody listens.

    A full queue or a filter does not refuse, it keeps silent; that is not told as refused.
    """
    try:
        with socket.create_connection((host, port), 0.5):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
