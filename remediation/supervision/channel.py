"""How processes of ours talk to each other: one message a line, in JSON, over a stream socket between two of them."""

from __future__ import annotations

import select
import socket
from typing import Any

import msgspec

_CHUNK = 65_536


class Channel:
    """One end of a socket: whole messages in, whole messages out."""

    def __init__(self, connection: socket.socket) -> None:
        """Own the socket."""
        self._socket = connection
        self._rest = b""
        self.open = True
        """Whether the other end is still there, as far as we have read."""

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._socket.fileno()

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; nothing happens if the other end is gone."""
        try:
            self._socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:
            self.open = False

    @property
    def has_news(self) -> bool:
        """Whether there is something to read, if only that the other end is gone."""
        poll = select.poll()
        if self.open:
            poll.register(self, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self, kind: Any) -> list[Any]:
        """Return the messages of a `kind`, or a union of kinds, that have come.

        Waits for the first bytes of one, so ask when there is something to read.
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
