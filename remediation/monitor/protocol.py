"""What the monitor, the process that it forks its cycles from, and the cycles say to each other, and how.

One message a line, in JSON, over a stream socket between two of them.
"""

from __future__ import annotations

import msgspec

from remediation.state.records import Run
from remediation.state.remediation import Remediation


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
    """From a cycle: a heal begins; the services with the causes, and since when they are sick, in epoch seconds."""

    number: int
    causes: dict[str, str]
    since: dict[str, float] = {}


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: a check failed for good; the services that it may heal, and since when, in epoch seconds."""

    number: int
    services: list[str]
    since: float
    message: str


class Report(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: how it ended."""

    number: int
    code: int
    run: Run
    remediations: list[Remediation]
    gave_up: list[str]


class Over(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: a cycle's process is gone; `problem` if it did not end by itself, `output` if it broke."""

    number: int
    code: int
    problem: str = ""
    output: str = ""


News = Ready | Taken | Failed | Healing | Report | Over
FromCycle = Again | Gather | Failed | Healing | Report
