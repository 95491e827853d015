"""The messages between the monitor, the fork server and the cycles.

Each is a line of JSON on a stream socket between two of them.
"""

from __future__ import annotations

import msgspec

from remediation.healing.hooks import HealEvent
from remediation.state.records import Run
from remediation.state.remediation import Remediation


class Begin(msgspec.Struct, frozen=True, tag=True):
    """To the fork server: begin a cycle with the checks of `services`, or with all checks except those of `without`."""

    number: int
    services: list[str] | None
    without: list[str]
    interval: float
    """Seconds from one cycle to the next."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """To the fork server: begin no more heals, interrupt cycles that only check, and end when all heals have ended."""


class Notify(msgspec.Struct, frozen=True, tag=True):
    """To the fork server: tell the project's hooks of an event, in a fork that nobody waits for."""

    event: HealEvent


Order = Begin | Finish | Notify


class Again(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: run the checks that `folder` lists once more, in other forks."""

    folder: str


class Gather(msgspec.Struct, frozen=True, tag=True):
    """From a cycle that has run its own checks: answer when the other forks have run the rest."""


class RoundEnded(msgspec.Struct, frozen=True, tag=True):
    """To a cycle: the exit code of other forks, and the folders with their findings."""

    code: int
    folders: list[str]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: all checks are collected. It sends their services, and the files that it has read."""

    services: list[str]
    files: list[str]
    has_listener: bool = False
    """Whether a hook of the project wants to know of events."""


class Taken(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: an order has arrived."""


class Healing(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: a heal begins. It sends the causes and the times of the first failure, in epoch seconds."""

    number: int
    causes: dict[str, str]
    since: dict[str, float] = {}
    starting: list[str] = []
    """The services that are started for the first time, which is no outage."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: a check failed for good, first at `since`, in epoch seconds. It may heal `services`."""

    number: int
    services: list[str]
    since: float
    message: str
    starting: list[str] = []
    """Those of them that never ran."""


class Report(msgspec.Struct, frozen=True, tag=True):
    """From a cycle: its result."""

    number: int
    code: int
    run: Run
    remediations: list[Remediation]
    gave_up: list[str]


class Over(msgspec.Struct, frozen=True, tag=True):
    """From the fork server: a cycle's process has ended. `problem` is set if it was killed, `output` if it broke."""

    number: int
    code: int
    problem: str = ""
    output: str = ""


News = Ready | Taken | Failed | Healing | Report | Over
FromCycle = Again | Gather | Failed | Healing | Report
