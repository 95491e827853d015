"""Connect and read until a deadline, and explain an answer that is not HTTP.

A socket's own timeout starts again with every address and every byte, so a server could stretch it for ever.
"""

from __future__ import annotations

import errno
import io
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from remediation.messages.message import english
from remediation.system import ports

if TYPE_CHECKING:
    from http.client import HTTPException

    from remediation.config.model import Address

Value = TypeVar("Value")

# How many characters of an answer to show: enough to tell a banner from a page.
_SHOWN = 60
# Seconds between two tries to connect to a socket whose queue is full.
_QUEUE_POLL = 0.01
# The beginning of a TLS alert, by which a server rejects plain HTTP, RFC 8446 section 5.1 and 6.
_TLS_ALERT = "\x15\x03"


def connect(host: str, number: int, deadline: float) -> socket.socket:
    """Connect to port `number` at the first address of a host that accepts a connection.

    OSError if none does before `deadline`, on the monotonic clock, which includes the name lookup.
    """
    error: OSError = TimeoutError(errno.ETIMEDOUT, "timed out")
    for address in addresses(host, number, deadline):
        try:
            return ports.connect(address, number, left(deadline))
        except OSError as failure:
            error = failure
    raise error


def connect_to(address: Address, deadline: float) -> socket.socket:
    """Connect to the port or the Unix socket of a service; OSError if that fails before `deadline`."""
    if address.socket:
        return connect_to_socket(address.socket, deadline)
    return connect(address.host, address.port, deadline)


def connect_to_socket(path: str, deadline: float) -> socket.socket:
    """Connect to the Unix socket at a path; OSError if that fails before `deadline`, on the monotonic clock."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        while True:
            connection.settimeout(left(deadline))
            try:
                connection.connect(path)
            except FileNotFoundError:
                raise FileNotFoundError(errno.ENOENT, english("no_socket")) from None
            except BlockingIOError:
                # Its queue is full, and the kernel does not let us wait, unix(7).
                time.sleep(_QUEUE_POLL)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def addresses(host: str, number: int, deadline: float) -> list[str]:
    """Return the IP addresses of a host, in the order in which to try them.

    OSError if there are none before `deadline`, on the monotonic clock.
    """

    def resolve(flags: int = 0) -> list[str]:
        answers = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=flags)
        return [str(answer[4][0]) for answer in answers]

    with suppress(socket.gaierror, ValueError):
        return resolve(socket.AI_NUMERICHOST)
    try:
        # The resolver has its own timeout, and no signal ends it.
        return within(deadline, resolve)
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answered in time") from None
    except ValueError:
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None


def left(deadline: float) -> float:
    """Return the seconds until a deadline on the monotonic clock; TimeoutError after it."""
    if (seconds := deadline - time.monotonic()) <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "timed out")
    return seconds


def within(deadline: float, work: Callable[[], Value]) -> Value:
    """Return what `work` returns, or raise what it raises; TimeoutError if it takes longer than `deadline`.

    It is for calls that cannot be given a deadline, such as those into the kernel about a file system that hangs: they
    go on in a thread of their own, which is abandoned.
    """
    done: list[Value] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        # The system allows no more threads.
        raise OSError(errno.EAGAIN, str(error)) from None
    thread.join(left(deadline))
    if failures:
        raise failures[0]
    if not done:
        raise TimeoutError(errno.ETIMEDOUT, "timed out")
    return done[0]


class Until:
    """The reading end of a connection, limited by a deadline, with the interface that http.client needs of a socket."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        """Read from `connection` until `deadline`, on the monotonic clock."""
        self._connection = connection
        self._deadline = deadline

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """Return a file to read from; reading raises TimeoutError after the deadline."""
        return io.BufferedReader(_Reading(self._connection, self._deadline))


class _Reading(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        # The socket counts this file, and stays open until the file is closed as well.
        self._file = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(left(self._deadline))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def beginning(text: str | bytes) -> str:
    """Return the beginning of a server's answer, in quotes and printable."""
    if isinstance(text, bytes):
        # A character may take four bytes; this may cut the last one in two.
        text = text[: 4 * _SHOWN + 4].decode("utf-8", "backslashreplace")
    return repr(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")


def why(error: Exception) -> str:
    """Return in plain words what an error means, whatever the protocol."""
    if isinstance(error, TimeoutError):
        return english("timed_out")
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def no_http(error: HTTPException) -> str:
    """Return in plain words why an answer cannot be read as HTTP."""
    from http import client

    if isinstance(error, client.RemoteDisconnected):
        return english("closed")
    if not isinstance(error, client.BadStatusLine):
        return english("bad_http", problem=error)
    line = str(error.args[0]).rstrip()
    if line.startswith(_TLS_ALERT):
        return english("speaks_tls")
    return english("no_http", start=beginning(line))
