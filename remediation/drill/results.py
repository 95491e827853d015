"""What a drill does, one fault after another, and what it finds: the values."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from remediation.config.model import Service
from remediation.drill.fault_names import FAULTS
from remediation.messages.message import Message, MessageError
from remediation.system.process import Identity


class RefusedError(MessageError):
    """There can be no drill now; nothing was harmed, and the message says what stands in its way."""


class NotBackError(MessageError):
    """After a fault a service could not be brought back; the message says why."""


class SkipError(MessageError):
    """A fault cannot be made here; the message says why."""


class InterruptedDrillError(Exception):
    """Somebody asked the drill to end."""


class Trial(Struct, frozen=True):
    """One fault, once, of one service."""

    fault: str
    service: Service
    round: int


class InjectedFault(Struct, frozen=True):
    """What was done to a service."""

    at: float
    """When, on the monotonic clock, in seconds."""
    victims: frozenset[Identity]
    """Its processes as they were, and who was made to look like one."""
    stranger: int | None = None
    """Who holds its port and may not be ended, so that the heal is to be refused."""
    healer_dies: bool = False
    """Whether whoever heals it is to be killed half-way."""
    note: Message | None = None


class FaultResult(Struct):
    """What became of one trial."""

    trial: Trial
    detected: bool = False
    heals: int = 0
    """How many heals of the service had ended before it."""
    healed: bool = False
    refused: bool = False
    """Whether the heal was refused, as it should be, and said because of whom."""
    downtime: float | None = None
    """Seconds from the fault until the service answered again."""
    harmed: list[Message] = field(default_factory=list)
    left: list[Message] = field(default_factory=list)
    wrong: list[Message] = field(default_factory=list)
    """What else is not as it should be."""
    skipped: Message | None = None
    note: Message | None = None
    seconds: float = 0.0
    output: str = ""
    """What the checks printed."""
    ended: bool = False
    """Whether it was gone through to its end."""

    @property
    def problems(self) -> list[Message]:
        """All that is not as it should be; empty if the service passed."""
        if self.skipped:
            return []
        unnoticed = [] if self.detected else [Message("drill_unnoticed", {"name": self.trial.service.name})]
        return [*unnoticed, *self.wrong, *self.harmed, *self.left]


class DrillResults(Struct):
    """What became of a whole drill."""

    seed: int
    rounds: int
    trials: list[Trial]
    all: list[FaultResult] = field(default_factory=list)
    interrupted: bool = False
    not_back: list[Message] = field(default_factory=list)
    """Why a service could not be put back as it was."""

    @property
    def failed(self) -> list[FaultResult]:
        """Those in which something was not as it should be."""
        return [finding for finding in self.all if finding.problems]

    @property
    def tried(self) -> list[FaultResult]:
        """Those that were not skipped."""
        return [finding for finding in self.all if not finding.skipped]

    def by_fault(self) -> Mapping[tuple[str, str], list[FaultResult]]:
        """Return the findings of each service and fault, in the order in which `--help` lists these."""
        found: dict[tuple[str, str], list[FaultResult]] = {}
        for finding in self.all:
            found.setdefault((finding.trial.service.name, finding.trial.fault), []).append(finding)
        order = list(FAULTS)
        return dict(sorted(found.items(), key=lambda item: (item[0][0], order.index(item[0][1]))))
