"""Inspect a TCP port: its listeners, whether it answers, and whether an address belongs to this machine.

Only listeners matter here, not clients with a connection to the port.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from msgspec import Struct

from remediation.system.capabilities import can_list_all_sockets, has_proc, wildcard_excludes_addresses
from remediation.system.process import pids as all_pids

ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - bound for a moment, and never listened on
IPV4, IPV6 = 4, 6
# The kernel refuses at once. No answer within this many seconds is not a refusal.
_REFUSAL_SECONDS = 0.5
_BROADCAST = "255.255.255.255"


class Listener(Struct, frozen=True):
    """A listening socket; `pid` is None if the kernel hides its owner from us.

    The address of a Unix socket is its path, and its port 0.
    """

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

    It tries to bind a socket to each: the kernel allows that for the machine's own addresses only.
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
        # Even without IPv6, `localhost` resolves to ::1, which is not a foreign address.
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and ip_address(address).is_loopback
    return True


def listeners(port: int, host: str) -> list[Listener]:
    """Return the IPv4 and IPv6 listeners on a port that a client of `host` would reach.

    This leaves out listeners on other addresses of this machine.
    """
    # Binding shows faster than a list of all sockets that the port has no listener.
    if wildcard_excludes_addresses() and _can_bind(ANY_IPV4, port) and _can_bind(ANY_IPV6, port):
        return []
    candidates = [Listener(pid, entry.laddr.ip, port) for pid, entry in _listening(_sockets(), port)]
    found = _reached(candidates, resolve(host), port)
    if not found and not can_list_all_sockets() and (address := _accepting(resolve(host), port)):
        return [Listener(None, address, port)]
    return found


def _reached(candidates: list[Listener], addresses: frozenset[str], port: int) -> list[Listener]:
    """Return the listeners that a client reaches who connects to one of these addresses."""
    if addresses & {ANY_IPV4, ANY_IPV6}:
        return candidates
    if ipv4 := {address for address in addresses if _version(address) == IPV4}:
        addresses |= {ANY_IPV4}
        if not any(_version(listener.address) == IPV4 for listener in candidates) and _is_taken(ipv4, port):
            addresses |= {ANY_IPV6}
    if any(_version(address) == IPV6 for address in addresses):
        addresses |= {ANY_IPV6}
    return [listener for listener in candidates if listener.address.removeprefix("::ffff:") in addresses]


def _is_taken(ipv4: set[str], port: int) -> bool:
    """Return whether a listener on [::] also accepts IPv4, as it does unless it has set IPV6_V6ONLY, ipv6(7)."""
    if wildcard_excludes_addresses():
        return not _can_bind(ANY_IPV4, port)
    return _accepting(ipv4, port) is not None


def _accepting(addresses: Iterable[str], port: int) -> str | None:
    """Return the first of these addresses that does not refuse a connection; None if all do."""
    return next((address for address in sorted(addresses) if not refuses(address, port)), None)


def others_listen(port: int, pids: set[int]) -> bool:
    """Return whether a socket listens on the port, at any address, that none of these processes holds.

    Much faster than the owners of all sockets: it reads only the descriptors of these processes.
    """
    if not has_proc():
        return any(pid not in pids for pid, _ in _listening(_sockets(), port))
    return bool(_listening_inodes(port) - inodes_of(pids))


# In /proc/net/tcp, proc_pid_net(5): the state of a listening socket, and the columns of address, state and inode.
_LISTEN, _ADDRESS_COLUMN, _STATE_COLUMN, _INODE_COLUMN = b"0A", 1, 3, 9


def _listening_inodes(port: int, address: str | None = None) -> set[int]:
    """Return the inodes of the sockets that listen on a port, at any address or at one."""
    wanted, inodes = b":%04X" % port, set()
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError), Path(f"/proc/net/{table}").open("rb") as lines:
            for line in lines:
                # Before it is split, because a busy machine has many other sockets.
                columns = line.split() if wanted in line else []
                if not columns or columns[_STATE_COLUMN] != _LISTEN or not columns[_ADDRESS_COLUMN].endswith(wanted):
                    continue
                if address is None or address == _address(columns[_ADDRESS_COLUMN].removesuffix(wanted)):
                    inodes.add(int(columns[_INODE_COLUMN]))
    return inodes


def listening(pids: set[int]) -> list[str]:
    """Return where processes listen: `127.0.0.1:80`, `[::1]:80`, or the path of a Unix socket."""
    if not has_proc():
        import psutil

        entries = {entry.laddr for _, entry in _sockets_of(pids) if entry.status == psutil.CONN_LISTEN}
        return sorted(_place(ip, port) for ip, port in entries)
    inodes, found = inodes_of(pids), set()
    for table in ("tcp", "tcp6"):
        for columns in _rows(table):
            if columns[_STATE_COLUMN] == _LISTEN and int(columns[_INODE_COLUMN]) in inodes:
                address, _, port = columns[_ADDRESS_COLUMN].partition(b":")
                found.add(_place(_address(address), int(port, 16)))
    # Names that are no paths are of no use to a client of ours.
    found |= {name for inode, name in unix_listeners().items() if inode in inodes and name.startswith("/")}
    return sorted(found)


def unix_listeners() -> dict[int, str]:
    """Return the names of all listening Unix sockets by inode, as they were bound; only with /proc."""
    names = {}
    for columns in _rows("unix"):
        # A socket has to be bound before it listens, unix(7), so it has a name.
        if int(columns[_UNIX_FLAGS_COLUMN], 16) & _ACCEPTS:
            names[int(columns[_UNIX_INODE_COLUMN])] = os.fsdecode(b" ".join(columns[_UNIX_PATH_COLUMN:]))
    return names


# In /proc/net/unix: the flags, with __SO_ACCEPTCON of linux/net.h, the inode, and the path if the socket has one.
_UNIX_FLAGS_COLUMN, _UNIX_INODE_COLUMN, _UNIX_PATH_COLUMN, _ACCEPTS = 3, 6, 7, 1 << 16


def _rows(table: str) -> Iterator[list[bytes]]:
    """Yield the rows of a table in /proc/net, without its heading."""
    with suppress(FileNotFoundError), Path(f"/proc/net/{table}").open("rb") as lines:
        next(lines, None)
        yield from map(bytes.split, lines)


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if _version(address) == IPV6 else f"{address}:{port}"


def _address(printed: bytes) -> str:
    """Return an address that the kernel has printed as numbers of 32 bits, each in the machine's own byte order."""
    words = [int(printed[index : index + 8], 16) for index in range(0, len(printed), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def inodes_of(pids: Iterable[int]) -> set[int]:
    """Return the inodes of the sockets that these processes hold, as far as the kernel shows them."""
    inodes = set()
    for pid in pids:
        with suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    target = os.readlink(descriptor.path)  # noqa: PTH115 - called often, must be fast
                    if target.startswith("socket:["):
                        inodes.add(int(target[len("socket:[") : -1]))
    return inodes


def connections(port: int) -> dict[str, int]:
    """Return the number of TCP connections to a local port by state, as tcp(7) names the states."""
    states = [entry.status for _, entry in _sockets() if entry.laddr and entry.laddr.port == port]
    return {state: states.count(state) for state in sorted(set(states))}


def sharers(listener: Listener) -> set[int]:
    """Return the PIDs of all processes that hold a listening socket open; lists of sockets name only one."""
    if not listener.port:
        # Of a Unix socket, every holder is a listener of its own.
        return {listener.pid} if listener.pid else set()
    holders = {listener.pid} if listener.pid else set()
    if has_proc():
        wanted = _listening_inodes(listener.port, listener.address)
        return holders | {pid for pid in all_pids() if wanted & inodes_of([pid])}
    import psutil

    sockets = _listening(_sockets_of(psutil.pids()), listener.port)
    return holders | {pid for pid, entry in sockets if pid and entry.laddr.ip == listener.address}


def _sockets() -> Iterator[tuple[int | None, Any]]:
    """Yield the TCP sockets that the system shows us, as psutil describes them, each with the PID of one owner."""
    import psutil

    if can_list_all_sockets():
        yield from ((entry.pid, entry) for entry in psutil.net_connections(kind="tcp"))
    else:
        yield from _sockets_of(psutil.pids())


def _sockets_of(pids: Iterable[int]) -> Iterator[tuple[int | None, Any]]:
    """Yield the TCP sockets of processes; none of those that are gone or belong to another user."""
    import psutil

    for pid in pids:
        with suppress(psutil.Error):
            for entry in psutil.Process(pid).net_connections(kind="tcp"):
                yield pid, entry


def _listening(sockets: Iterable[tuple[int | None, Any]], port: int) -> Iterator[tuple[int | None, Any]]:
    """Yield the sockets that listen on a port."""
    import psutil

    for pid, entry in sockets:
        if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port:
            yield pid, entry


def _version(address: str) -> int:
    return ip_address(address.removeprefix("::ffff:")).version


def _can_bind(wildcard: str, port: int) -> bool:
    """Return whether a port has no listener in this address family, or the system lacks the family."""
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
    return any(True for _ in _listening(_sockets_of(pids), port))


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection; raise OSError within about `timeout` seconds if there is none.

    For a port in the ephemeral range, the kernel may choose that very port for the client and connect it to itself.
    Such a connection counts as refused.
    """
    try:
        connection = socket.create_connection((host, port), timeout)
    except (ValueError, OverflowError) as error:
        raise OSError(errno.EINVAL, f"{host}:{port} is no address: {error}") from None
    if connection.getsockname() == connection.getpeername():
        # Reset the connection: in TIME_WAIT it would keep the port from a server that is about to start.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
    return connection


def refuses(host: str, port: int) -> bool:
    """Return whether the kernel refuses a connection at once because the port has no listener.

    A full queue or a packet filter drops the connection silently; that does not count as refused.
    """
    try:
        connect(host, port, _REFUSAL_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
