"""What the history keeps: a run with what became of each check and service, and each remediation.

Apart from the database, so that a heal does not wait for it to be imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Literal

import msgspec

from remediation.state.remediation import Origin

Kind = Literal["check", "service"]


class CheckOutcome(Enum):
    """What became of a check or a service: decided where a result is made, and compared everywhere else.

    The values are what baselines and the rounds of a run have on disk.
    """

    FAILED = "failed"
    """It failed for good, and was not well at the end."""
    HEALED = "healed"
    """It failed for good in one round, and was well at the end; one round alone never finds that."""
    PASSED = "passed"
    SKIPPED = "skipped"
    """It neither passed nor failed."""

    @property
    def has_failed(self) -> bool:
        """Whether it failed for good, even if it was well at the end."""
        return self in _HAS_FAILED

    @property
    def is_well(self) -> bool:
        """Whether it was well at the end."""
        return self in _IS_WELL

    @classmethod
    def worst(cls, outcomes: Iterable[CheckOutcome]) -> CheckOutcome:
        """Return the worst of several, SKIPPED if there is none."""
        found = set(outcomes)
        # In the order in which they stand above.
        return next((one for one in cls if one in found), cls.SKIPPED)


_HAS_FAILED = frozenset({CheckOutcome.FAILED, CheckOutcome.HEALED})
_IS_WELL = frozenset({CheckOutcome.PASSED, CheckOutcome.HEALED})


class Result(msgspec.Struct, frozen=True):
    """What became of one check, or of one service, in one run; moments in epoch seconds, latency in seconds.

    A run of several rounds gives one result.
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
    """When the first attempt failed of what failed for good in any round."""
    passed_at: float | None = None
    """From when on it was well at the end."""
    latency: float | None = None
    """What the passing call took."""
    attempts: int = 1
    """Attempts in all, over all rounds."""
    message: str | None = None
    only_slower: bool = False
    """Whether it failed only because it takes longer than before a deployment."""


class Run(msgspec.Struct, frozen=True):
    """One health run; `interval` is that of the monitor whose cycle it was, in seconds."""

    began: float
    ended: float
    origin: Origin
    verdict: str
    interval: float | None
    results: list[Result]
