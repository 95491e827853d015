"""Where a service listens: at a port, or at a Unix socket. Only who listens matters here, not what it answers."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from remediation.system import ports
from remediation.system.capabilities import has_proc
from remediation.system.ports import Listener
from remediation.system.process import pids as all_pids

# As for a port: the kernel refuses at once. No answer within this many seconds is not a refusal.
_REFUSAL_SECONDS = 0.5
# The credentials of the peer, unix(7): PID, user and group.
_CREDENTIALS = struct.Struct("3i")


class Endpoint(Protocol):
    """Where a service listens."""

    def is_local(self) -> bool:
        """Return whether it belongs to this machine."""

    def refuses(self) -> bool:
        """Return whether the kernel refuses a connection at once because nobody listens."""

    def listeners(self) -> list[Listener]:
        """Return the sockets that a client would reach."""

    def listens(self, pids: set[int]) -> bool:
        """Return whether one of these processes listens there."""

    def others_listen(self, pids: set[int]) -> bool:
        """Return whether a socket listens there that none of these processes holds; faster than `listeners`."""


class TcpEndpoint(Struct, frozen=True):
    """A port of a host."""

    host: str
    port: int

    def is_local(self) -> bool:
        """Return whether every address of the host belongs to this machine."""
        return ports.is_local(self.host)

    def refuses(self) -> bool:
        """Return whether the kernel refuses a connection at once because the port has no listener."""
        return ports.refuses(self.host, self.port)

    def listeners(self) -> list[Listener]:
        """Return the listeners that a client of the host would reach."""
        return ports.listeners(self.port, self.host)

    def listens(self, pids: set[int]) -> bool:
        """Return whether one of these processes listens on the port, at any address."""
        return ports.listens(pids, self.port)

    def others_listen(self, pids: set[int]) -> bool:
        """Return whether a socket listens on the port, at any address, that none of these processes holds."""
        return ports.others_listen(self.port, pids)


class UnixEndpoint(Struct, frozen=True):
    """A Unix socket, unix(7).

    The file that a dead server leaves behind is the next server's affair: nobody listens there, and we never remove it.
    """

    path: str

    def is_local(self) -> bool:
        """Return True: a Unix socket connects processes of one machine."""
        return True

    def refuses(self) -> bool:
        """Return whether nobody listens: the file is missing, is no socket, or its server is gone."""
        try:
            self._connect().close()
        except OSError as error:
            return error.errno in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR, errno.ENOTSOCK, errno.EPROTOTYPE)
        return False

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_REFUSAL_SECONDS)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def listeners(self) -> list[Listener]:
        """Return all processes that hold the socket.

        A server that was replaced may still hold a socket of this name, which no client reaches any more.
        """
        holders = dict(self._holders(all_pids()))
        if not holders:
            # Somebody may listen all the same, whose descriptors the kernel hides: another user.
            return [] if self.refuses() else [Listener(None, self.path, 0)]
        if len(set().union(*holders.values())) > 1 and (reached := holders.get(self._peer())):
            holders = {pid: held for pid, held in holders.items() if held & reached}
        return [Listener(pid, self.path, 0) for pid in sorted(holders)]

    def _peer(self) -> int:
        """Return the PID of the process that made the socket listen; 0 if the system does not say it."""
        if not hasattr(socket, "SO_PEERCRED"):
            return 0
        with suppress(OSError), self._connect() as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return int(_CREDENTIALS.unpack(credentials)[0])
        return 0

    def listens(self, pids: set[int]) -> bool:
        """Return whether one of these processes listens on the socket."""
        return any(True for _ in self._holders(pids))

    def others_listen(self, pids: set[int]) -> bool:
        """Return whether somebody listens on a socket of this name that none of these processes holds."""
        if not has_proc():
            return any(pid not in pids for pid, _ in self._holders(all_pids()))
        own = ports.inodes_of(pids)
        others = {name for inode, name in self._names().items() if inode not in own}
        # Only if one may be another socket is it worth while to find its owner.
        return self.path in others or bool(others and any(not held & own for _, held in self._holders(all_pids())))

    def _holders(self, pids: Iterable[int]) -> Iterator[tuple[int, set[int]]]:
        """Yield those of these processes that listen on a socket of this name, with the sockets' inodes."""
        if not has_proc():
            yield from self._holders_elsewhere(pids)
        elif names := self._names():
            for pid in pids:
                inodes = {inode for inode in ports.inodes_of([pid]) & names.keys() if self._is_here(names[inode], pid)}
                if inodes:
                    yield pid, inodes

    @property
    def _exists(self) -> bool:
        """Whether the socket is there; if it was removed, no client reaches the server that has bound it."""
        return Path(self.path).is_socket()

    def _names(self) -> dict[int, str]:
        """Return the names of the listening sockets that may be this one, by inode."""
        if not self._exists:
            return {}
        base = os.path.basename(self.path)  # noqa: PTH119 - a word
        return {inode: name for inode, name in ports.unix_listeners().items() if name.rpartition("/")[2] == base}

    def _is_here(self, name: str, pid: int) -> bool:
        """Return whether a name that a process has bound is this socket; it may be relative to its folder."""
        if name == self.path:
            return True
        try:
            folder = "/" if name.startswith("/") else str(Path(f"/proc/{pid}/cwd").readlink())
        except OSError:
            return False
        return _is_same(Path(folder, name), self.path)

    def _holders_elsewhere(self, pids: Iterable[int]) -> Iterator[tuple[int, set[int]]]:
        """Yield the processes with a socket of this name: without /proc, nothing tells whether it listens."""
        import psutil

        for pid in pids if self._exists else ():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                names = [str(entry.laddr) for entry in process.net_connections(kind="unix") if entry.laddr]
                if any(_is_same(Path(process.cwd(), name), self.path) for name in names):
                    yield pid, {pid}


def _is_same(name: Path, path: str) -> bool:
    """Return whether two paths name the same file, which need not exist any more."""
    folder, base = os.path.split(path)
    return name.name == base and os.path.realpath(name.parent) == os.path.realpath(folder)
