"""A connection that ends at a moment: a socket's own timeout counts anew with every address and every byte."""

from __future__ import annotations

import errno
import io
import socket
import threading
import time
from contextlib import suppress
from typing import Any

_Addresses = list[tuple[Any, ...]]


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """Return a connection to the first address of a host that takes one.

    OSError if there is none until `deadline`, on the monotonic clock; the name is asked for within it, too.
    """
    error: OSError = TimeoutError("timed out")
    for family, kind, protocol, _, address in _addresses(host, port, deadline):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(deadline))
            connection.connect(address)
        except OSError as refused:
            connection.close()
            error = refused
        else:
            return connection
    raise error


def _addresses(host: str, port: int, deadline: float) -> _Addresses:
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: _Addresses = []
    failures: list[OSError] = []

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failures.append(error)
        except ValueError:
            failures.append(socket.gaierror(socket.EAI_NONAME, "no name of a host"))

    # A resolver has its own idea of patience, and no signal ends it.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_left(deadline))
    if failures:
        raise failures[0]
    if not found:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answered in time")
    return found


def _left(deadline: float) -> float:
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "timed out")
    return left


class Until:
    """The reading end of a connection until a moment, in the shape in which http.client takes a socket."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        """Read from `connection` until `deadline`, on the monotonic clock."""
        self._connection = connection
        self._deadline = deadline

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """Return a file to read from; TimeoutError once the time is over."""
        return io.BufferedReader(_Reading(self._connection, self._deadline))


class _Reading(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        # The socket knows of this file, and stays open until it is closed as well.
        self._file = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(_left(self._deadline))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
