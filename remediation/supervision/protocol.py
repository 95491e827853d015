"""What a session is told by the supervisor that it was forked from, and how the two speak."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from remediation.deployment.context import Deployment
from remediation.supervision.attempt_log import AttemptLog
from remediation.supervision.channel import Channel
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import FOR_EVER, Heartbeats, Phase


class Again(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: run the suite once more as `folder` lists it, on this side of a deployment if there is one."""

    folder: bytes
    deployment: Deployment | None


class RoundOver(msgspec.Struct, frozen=True, tag=True):
    """To a session: how the round that it has asked for ended."""

    code: int


class Healing(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: a heal begins, and a further round may follow."""


class Workers(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: the checks run in other processes, which say on a board in `folder` how they are."""

    folder: bytes


class Verdict(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: the run has come to an end with this exit code, and its report is there."""

    code: int
    report: bytes


class Ended(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: pytest has ended with this exit code."""

    code: int


class Bye(msgspec.Struct, frozen=True, tag=True):
    """To a session: its end was heard."""


FromSession = Again | Healing | Workers | Verdict | Ended
ToSession = RoundOver | Bye


class SupervisorLink(msgspec.Struct):
    """Of one session."""

    channel: Channel
    heartbeats: Heartbeats
    slot: int
    log: AttemptLog
    stacks: IO[bytes]
    known: Handover

    def again(self, folder: Path, deployment: Deployment | None) -> tuple[int, list[Path]]:
        """Run the suite once more; return the exit code and where the findings are."""
        self.heartbeats.put(self.slot, FOR_EVER, Phase.HEAL)
        self.channel.send(Again(os.fsencode(folder), deployment))
        for answer in self._answers():
            if isinstance(answer, RoundOver):
                return answer.code, [folder]
        raise OSError("the process that watches over this one is gone")

    def end(self, code: int) -> None:
        """Tell the exit code, and wait until it was heard."""
        self.channel.send(Ended(code))
        next(self._answers(), None)

    def _answers(self) -> Iterator[RoundOver | Bye]:
        """Wait for answers; none come if the supervisor is gone."""
        while self.channel.open:
            yield from self.channel.receive(ToSession)


current: SupervisorLink | None = None
"""That of this process, if it is such a session."""

terminal_fd: int | None = None
"""The descriptor on which this process tells of its run, if not on pytest's terminal."""

is_watched = False
"""Whether somebody else sees this process through, as the monitor does its own, so that it needs no supervisor."""


def waiting_pid() -> int:
    """Return the PID of the process that a caller waits for: our supervisor, or this one."""
    return os.getppid() if current else os.getpid()
