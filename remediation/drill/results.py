"""The values of a drill: its trials, faults and results."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from remediation.config.model import Service
from remediation.drill.fault_names import FAULTS
from remediation.messages.message import Message, MessageError
from remediation.system.process import Identity


class RefusedError(MessageError):
    """No drill is possible now; nothing was harmed, and the message says why."""


class NotBackError(MessageError):
    """A service could not be restored after a fault; the message says why."""


class SkipError(MessageError):
    """A fault cannot be injected here; the message says why."""


class InterruptedDrillError(Exception):
    """A signal asked the drill to end."""


class Trial(Struct, frozen=True):
    """One fault of one service in one round."""

    fault: str
    service: Service
    round: int


class InjectedFault(Struct, frozen=True):
    """A fault that was injected into a service."""

    at: float
    """When, on the monotonic clock, in seconds."""
    victims: frozenset[Identity]
    """The processes of the service before the fault, and those that the fault made to resemble them."""
    stranger: int | None = None
    """The PID that holds the service's port and must not be killed, so that the heal must be refused."""
    healer_dies: bool = False
    """Whether the drill kills the healer half-way."""
    note: Message | None = None


class FaultResult(Struct):
    """The result of one trial."""

    trial: Trial
    detected: bool = False
    heals: int = 0
    """How many heals of the service had ended before the trial."""
    healed: bool = False
    refused: bool = False
    """Whether the heal was refused, as it should be, and named the process that prevented it."""
    downtime: float | None = None
    """Seconds from the fault until the service answered again."""
    harmed: list[Message] = field(default_factory=list)
    left: list[Message] = field(default_factory=list)
    wrong: list[Message] = field(default_factory=list)
    """Further problems."""
    skipped: Message | None = None
    note: Message | None = None
    seconds: float = 0.0
    output: str = ""
    """The output of the checks."""
    ended: bool = False
    """Whether the trial ran to its end."""

    @property
    def problems(self) -> list[Message]:
        """All problems; empty if the service passed."""
        if self.skipped:
            return []
        unnoticed = [] if self.detected else [Message("drill_unnoticed", {"name": self.trial.service.name})]
        return [*unnoticed, *self.wrong, *self.harmed, *self.left]


class DrillResults(Struct):
    """The results of a whole drill."""

    seed: int
    rounds: int
    trials: list[Trial]
    all: list[FaultResult] = field(default_factory=list)
    interrupted: bool = False
    not_back: list[Message] = field(default_factory=list)
    """Why services could not be restored."""

    @property
    def failed(self) -> list[FaultResult]:
        """The results with problems."""
        return [result for result in self.all if result.problems]

    @property
    def tried(self) -> list[FaultResult]:
        """The results of the trials that were not skipped."""
        return [result for result in self.all if not result.skipped]

    def by_fault(self) -> Mapping[tuple[str, str], list[FaultResult]]:
        """Return the results by service and fault, with the faults in the order of `--help`."""
        groups: dict[tuple[str, str], list[FaultResult]] = {}
        for result in self.all:
            groups.setdefault((result.trial.service.name, result.trial.fault), []).append(result)
        order = list(FAULTS)
        return dict(sorted(groups.items(), key=lambda item: (item[0][0], order.index(item[0][1]))))
