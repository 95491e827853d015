"""What the monitor, the process that it forks its cycles from, and the cycles say to each other, and how.

One message a line, in JSON, over a stream socket between two of them.
"""

from __future__ import annotations

import select
import socket
from typing import Any

import msgspec

from remediation.journal.record import Heal, Result, Run

_CHUNK = 65_536


class Begin(msgspec.Struct, frozen=True, tag=True):
    """To the fork server: begin a cycle with the checks of some services, or with all but those of some."""

    number: int
    services: list[str] | None
    without: list[str]
    interval: float
    """Seconds from one cycle to the next."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """To the fork server: begin no heal any more, break off what only checks, and end when all heals have ended."""


Order = Begin | Finish


class Again(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: run the checks that `folder` lists once more, in other forks."""

    folder: str


class Gather(msgspec.Struct, frozen=True, tag=True):
    """From a cycle that has run what it claimed: tell when the other forks have run the rest."""


class RoundEnded(msgspec.Struct, frozen=True, tag=True):
    """To a cycle: how other forks ended, and the folders in which they left what they found."""

    code: int
    folders: list[str]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: all checks are collected; the services that they are of, and the files read for it."""

    services: list[str]
    files: list[str]


class Taken(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: an order has arrived."""


class Healing(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: a heal begins; the services with the causes."""

    number: int
    causes: dict[str, str]


class Report(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: how it ended."""

    number: int
    code: int
    run: Run
    heals: list[Heal]
    gave_up: list[str]


class Over(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: a cycle's process is gone; `problem` if it did not end by itself, `output` if it broke."""

    number: int
    code: int
    problem: str = ""
    output: str = ""
    results: list[Result] = []
    """What is known of a check that hung, and of its services."""


News = Ready | Taken | Healing | Report | Over
FromCycle = Again | Gather | Healing | Report


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
