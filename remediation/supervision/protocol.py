"""The messages between a session and its supervisor, and the session's link to it."""

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
    """To the supervisor: run the checks that `folder` lists once more, on this side of a deployment if there is one."""

    folder: bytes
    deployment: Deployment | None


class RoundOver(msgspec.Struct, frozen=True, tag=True):
    """To a session: the exit code of the round that it requested."""

    code: int


class Healing(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: a heal begins, and a further round may follow."""


class Workers(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: the checks run in other processes, whose heartbeats are in `folder`."""

    folder: bytes


class Verdict(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: the run has ended with this exit code, and has written its report."""

    code: int
    report: bytes


class Ended(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: pytest has ended with this exit code."""

    code: int


class Bye(msgspec.Struct, frozen=True, tag=True):
    """To a session: the supervisor has received `Ended`."""


FromSession = Again | Healing | Workers | Verdict | Ended
ToSession = RoundOver | Bye


class SupervisorLink(msgspec.Struct):
    """The link of one session to its supervisor."""

    channel: Channel
    heartbeats: Heartbeats
    slot: int
    log: AttemptLog
    stacks: IO[bytes]
    known: Handover

    def again(self, folder: Path, deployment: Deployment | None) -> tuple[int, list[Path]]:
        """Run the suite once more. Return the exit code and the folders with the findings."""
        self.heartbeats.put(self.slot, FOR_EVER, Phase.HEAL)
        self.channel.send(Again(os.fsencode(folder), deployment))
        for answer in self._answers():
            if isinstance(answer, RoundOver):
                return answer.code, [folder]
        raise OSError("the process that watches over this one is gone")

    def end(self, code: int) -> None:
        """Send the exit code, and wait until the supervisor has received it."""
        self.channel.send(Ended(code))
        next(self._answers(), None)

    def _answers(self) -> Iterator[RoundOver | Bye]:
        """Yield answers as they arrive, until the supervisor is gone."""
        while self.channel.open:
            yield from self.channel.receive(ToSession)


current: SupervisorLink | None = None
"""The link of this process, if it is a session with a supervisor."""

terminal_fd: int | None = None
"""The descriptor for log lines of this run; None for pytest's terminal."""

is_watched = False
"""Whether another process supervises this one, as in the monitor, so that it needs no supervisor."""


def waiting_pid() -> int:
    """Return the PID of the process that the caller waits for: the supervisor, or this process."""
    return os.getppid() if current else os.getpid()
