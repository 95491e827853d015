"""The channel between two of our processes: a stream socket with one JSON message per line."""

from __future__ import annotations

import select
import socket
from typing import Any

import msgspec

_CHUNK = 65_536


class Channel:
    """One end of a socket that sends and receives whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over the socket."""
        self._socket = connection
        self._rest = b""
        self.open = True
        """Whether the other end is still open, as far as this end has read."""

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def send(self, message: msgspec.Struct) -> None:
        """Send a message. Does nothing if the other end is gone."""
        try:
            self._socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:
            self.open = False

    @property
    def has_news(self) -> bool:
        """Whether there is something to read: a message, or the end of the other side."""
        poll = select.poll()
        if self.open:
            poll.register(self, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self, kind: Any) -> list[Any]:
        """Return the messages that have arrived. `kind` is their type, or a union of types.

        Blocks if there is nothing to read, so check `has_news` first.
        """
        try:
            chunk = self._socket.recv(_CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self.open = False
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [msgspec.json.decode(line, type=kind) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self.open = False
        self._socket.close()
