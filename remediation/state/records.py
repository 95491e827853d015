"""The records that the history keeps: a run with the result of each check and service.

They are apart from the database, so that a heal does not wait for its import.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Literal

import msgspec

from remediation.state.remediation import Origin

Kind = Literal["check", "service"]


class CheckOutcome(Enum):
    """The outcome of a check or a service: decided once, where a result is made, and compared everywhere else.

    Baselines and the rounds of a run keep the values on disk.
    """

    FAILED = "failed"
    """It failed for good, and was not healthy at the end."""
    HEALED = "healed"
    """It failed for good in one round, and was healthy at the end; a single round never has this outcome."""
    PASSED = "passed"
    SKIPPED = "skipped"
    """It neither passed nor failed."""

    @property
    def has_failed(self) -> bool:
        """Whether it failed for good, even if it was healthy at the end."""
        return self in _HAS_FAILED

    @property
    def is_well(self) -> bool:
        """Whether it was healthy at the end."""
        return self in _IS_WELL

    @classmethod
    def worst(cls, outcomes: Iterable[CheckOutcome]) -> CheckOutcome:
        """Return the worst of several outcomes, SKIPPED if there are none."""
        given = set(outcomes)
        # The order of the members above decides.
        return next((outcome for outcome in cls if outcome in given), cls.SKIPPED)


_HAS_FAILED = frozenset({CheckOutcome.FAILED, CheckOutcome.HEALED})
_IS_WELL = frozenset({CheckOutcome.PASSED, CheckOutcome.HEALED})


class Measurement(msgspec.Struct, frozen=True):
    """A value that a check measured, such as ("memory", 327155712.0, "B")."""

    name: str
    value: float
    unit: str


class Result(msgspec.Struct, frozen=True):
    """The result of one check, or of one service, in one run; moments in epoch seconds, latency in seconds.

    A run of several rounds has one result for each.
    """

    kind: Kind
    key: str
    """The node ID of a check, the name of a service."""
    name: str
    services: list[str]
    """The services that a failure of the check may heal."""
    at: float
    outcome: CheckOutcome
    failed_at: float | None = None
    """If it failed for good in any round, when its first attempt failed."""
    passed_at: float | None = None
    """If it was healthy at the end, since when."""
    latency: float | None = None
    """How long the passing call took."""
    attempts: int = 1
    """The number of attempts over all rounds."""
    message: str | None = None
    only_slower: bool = False
    """Whether it failed only because it took longer than before a deployment."""
    measurements: list[Measurement] = []
    """What the last attempt of a check measured, whether it passed or not."""
    incident: str = ""
    """The incident that it belongs to or ends; empty if it was healthy, or before the run was noted."""

    @property
    def has_incidents(self) -> bool:
        """Whether it has incidents of its own: those of a check that names services are the services'."""
        return self.kind == "service" or not self.services


class Run(msgspec.Struct, frozen=True):
    """One health run; `interval` is the interval of the monitor that ran it, in seconds."""

    began: float
    ended: float
    origin: Origin
    verdict: str
    interval: float | None
    results: list[Result]
