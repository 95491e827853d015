"""A connection that ends at a moment, and what is said of one that leads to no HTTP.

A socket's own timeout counts anew with every address and every byte, so a server could stretch it for ever.
"""

from __future__ import annotations

import errno
import io
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from remediation.messages.message import english
from remediation.system import ports

if TYPE_CHECKING:
    from http.client import HTTPException

# So much of what a server said is shown, in characters: enough to tell a banner from a page.
_SHOWN = 60
# A record of TLS that says that what came before is not understood, RFC 8446 section 5.1 and 6.
_TLS_ALERT = "\x15\x03"


def connect(host: str, number: int, deadline: float) -> socket.socket:
    """Return a connection to port `number` at the first address of a host that takes one.

    OSError if there is none until `deadline`, on the monotonic clock; the name is asked for within it, too.
    """
    error: OSError = TimeoutError(errno.ETIMEDOUT, "timed out")
    for address in addresses(host, number, deadline):
        try:
            return ports.connect(address, number, _left(deadline))
        except OSError as refused:
            error = refused
    raise error


def addresses(host: str, number: int, deadline: float) -> list[str]:
    """Return the IP addresses of a host, in the order in which they are to be tried.

    OSError if there are none until `deadline`, on the monotonic clock.
    """

    def ask(flags: int = 0) -> None:
        answers = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=flags)
        found.extend(str(answer[4][0]) for answer in answers)

    def ask_somebody() -> None:
        try:
            ask()
        except OSError as error:
            failures.append(error)
        except ValueError:
            failures.append(socket.gaierror(socket.EAI_NONAME, "no name of a host"))

    found: list[str] = []
    failures: list[OSError] = []
    with suppress(socket.gaierror, ValueError):
        ask(socket.AI_NUMERICHOST)
        return found
    # A resolver has its own idea of patience, and no signal ends it.
    asking = threading.Thread(target=ask_somebody, daemon=True)
    try:
        asking.start()
    except RuntimeError as error:
        # As many threads as the system allows.
        raise OSError(errno.EAGAIN, str(error)) from None
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


def beginning(text: str | bytes) -> str:
    """Return the beginning of what a server said, in quotes and printable."""
    if isinstance(text, bytes):
        # A character may take four bytes; the last one may be cut in two.
        text = text[: 4 * _SHOWN + 4].decode("utf-8", "backslashreplace")
    return repr(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")


def no_http(error: HTTPException) -> str:
    """Say in plain words why an answer cannot be read as HTTP."""
    from http import client

    if isinstance(error, client.RemoteDisconnected):
        return english("closed")
    if not isinstance(error, client.BadStatusLine):
        return english("bad_http", problem=error)
    line = str(error.args[0]).rstrip()
    if line.startswith(_TLS_ALERT):
        return english("speaks_tls")
    return english("no_http", start=beginning(line))
