"""Ask a Redis server for a PING, by its protocol RESP.

The client library would read an endless answer into memory, and a server that sends a byte at a time could stretch its
timeout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from remediation.messages.message import english
from remediation.probes import deadline_io, tls

if TYPE_CHECKING:
    import io
    import socket

_PORT = 6379
# A status or an error takes one line; a longer one is not of Redis.
_LONGEST = 1_024


class RedisError(Exception):
    """The server did not answer as Redis does; the message is one short sentence."""


class Target(NamedTuple):
    """A Redis server, and how to enter."""

    place: str
    """For messages: host and port, or the path of a Unix socket."""
    host: str
    port: int
    socket: str
    secure: bool
    greetings: tuple[tuple[str, ...], ...]
    """The commands before the PING: AUTH and SELECT."""


def target(url: str) -> Target:
    """Return the server of a URL such as `redis://:password@localhost:6379/0`, `rediss://` or `unix:///run/redis.sock`.

    ValueError in one sentence, without the password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or _PORT
    except ValueError:
        raise ValueError("is no URL such as redis://localhost:6379/0") from None
    if parts.scheme not in ("redis", "rediss", "unix") or (parts.scheme == "unix" and not parts.path):
        raise ValueError("is no URL such as redis://localhost:6379/0, rediss://localhost or unix:///run/redis.sock")
    if parts.scheme != "unix" and "@" in parts.path + parts.query + parts.fragment:
        # A password that has a / or a # ends there, and its beginning would be the place of the server.
        raise ValueError("is no URL: in user and password, percent-encode special characters, such as %2F for /")
    greetings: list[tuple[str, ...]] = []
    if parts.password is not None:
        user = (unquote(parts.username),) if parts.username else ()
        greetings.append(("AUTH", *user, unquote(parts.password)))
    if parts.scheme == "unix":
        return Target(parts.path, "", 0, parts.path, secure=False, greetings=tuple(greetings))
    if number := parts.path.strip("/"):
        greetings.append(("SELECT", number))
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Target(place, host, port, "", secure=parts.scheme == "rediss", greetings=tuple(greetings))


def ping(server: Target, *, ca_file: Path | None, verify: bool, deadline: float) -> None:
    """Return once the server has answered PONG. OSError or RedisError if it does not before `deadline`, monotonic."""
    if server.socket:
        connection = deadline_io.connect_to_socket(server.socket, deadline)
    else:
        connection = deadline_io.connect(server.host, server.port, deadline)
    with connection as plain:
        plain.settimeout(deadline_io.left(deadline))
        if not server.secure:
            _speak(plain, server, deadline)
            return
        with tls.context(verify=verify, ca_file=ca_file).wrap_socket(plain, server_hostname=server.host) as secure:
            _speak(secure, server, deadline)


def _speak(connection: socket.socket, server: Target, deadline: float) -> None:
    with deadline_io.Until(connection, deadline).makefile() as answers:
        connection.sendall(b"".join(map(_encoded, (*server.greetings, ("PING",)))))
        for wanted in (*(b"+OK" for _ in server.greetings), b"+PONG"):
            if (answer := _line(answers)) != wanted:
                raise RedisError(_problem(answer))


def _encoded(words: Sequence[str]) -> bytes:
    parts = [word.encode() for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])


def _line(answers: io.BufferedReader) -> bytes:
    line = answers.readline(_LONGEST)
    if not line:
        raise RedisError(english("closed"))
    return line.rstrip(b"\r\n")


def _problem(answer: bytes) -> str:
    if answer.startswith(b"-"):
        # Such as "LOADING Redis is loading the dataset in memory".
        return english("redis_error", problem=answer[1:].decode("utf-8", "backslashreplace"))
    return english("no_redis", start=deadline_io.beginning(answer))
