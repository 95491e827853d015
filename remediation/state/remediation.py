"""A remediation: what was done for a service, in the form that healing, history, state and report share.

This module is below all of them, because the state of a service keeps its last remediation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Self

Origin = Literal["check", "monitor", "hand"]

_STORED = (
    "service", "at", "origin", "cause", "action", "ok", "reason", "since", "answered_at", "evidence", "incident",
)  # fmt: skip
_BRIEF = ("at", "action", "ok", "reason")


class RemediationResult(Enum):
    """How a remediation ended. On disk it is a boolean `ok`, since the disk keeps only remediations that acted."""

    READY = "ready"
    """A step of the ladder was taken, and the service is ready again."""
    FAILED = "failed"
    """A step of the ladder was taken, and the service is not ready."""
    ADOPTED = "adopted"
    """We found its process again, and did no more."""
    RECOVERED = "recovered"
    """It is ready again after its dependencies were healed; we did nothing to it."""
    HINDERED = "hindered"
    """A step of the ladder was due, but an obstacle prevented every action."""
    SKIPPED = "skipped"
    """We did nothing in this round, but may do something in a later one."""
    REFUSED = "refused"
    """We may do nothing, now or in a later round."""
    GAVE_UP = "gave-up"
    """As REFUSED, and the restart budget has just been spent."""

    @property
    def ok(self) -> bool:
        """Whether the service is ready now, so that checking again makes sense."""
        return self in (RemediationResult.READY, RemediationResult.ADOPTED, RemediationResult.RECOVERED)

    @property
    def used_step(self) -> bool:
        """Whether it used a step of the ladder."""
        return self in (RemediationResult.READY, RemediationResult.FAILED, RemediationResult.HINDERED)

    @property
    def refused(self) -> bool:
        """Whether nothing more may be done in this run."""
        return self in (RemediationResult.REFUSED, RemediationResult.GAVE_UP)


class Remediation(msgspec.Struct, frozen=True):
    """What was done for a service, or why nothing was done. Moments in epoch seconds."""

    service: str
    at: float
    """When it ended."""
    origin: Origin
    cause: str
    """The cause of its incident: the message of the first failed attempt."""
    action: str
    """What was done, in words; empty if nothing was done."""
    result: RemediationResult
    reason: str = ""
    """Why the service is not ready, for people."""
    since: float | None = None
    """When its incident began, with the first failed attempt. None for an action by hand."""
    answered_at: float | None = None
    """When we saw the service answer again."""
    evidence: str = ""
    """The folder of the evidence that was collected before; empty if there is none."""
    steps: int = 1
    """How many steps of the ladder it used, if it used any: a reload that fails is followed by the next step."""
    incident: str = ""
    """The id of its incident; empty for an action by hand, and for the first start of a service."""
    number: int = 0
    """The number of heals of the service, this one included; 0 if we did nothing, so that it does not count."""
    rolled_back: bool = False
    """Whether the rollback of the service was run, by this process or another."""
    rollback_problem: str = ""
    """Why the rollback failed; empty if it did not."""

    @property
    def ok(self) -> bool:
        """Whether the service was ready at the end."""
        return self.result.ok

    @property
    def downtime(self) -> float | None:
        """Seconds from the first failed attempt until the service answered again, if both are known."""
        if self.since is None or self.answered_at is None:
            return None
        return max(0.0, self.answered_at - self.since)

    def stored(self) -> dict[str, Any]:
        """Return the fields that the history keeps and `report --json` prints."""
        return {name: getattr(self, name) for name in _STORED}

    def brief(self) -> dict[str, Any]:
        """Return the fields that the state of its service keeps and `status --json` prints."""
        return {name: getattr(self, name) for name in _BRIEF}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any], *, strict: bool = True) -> Self:
        """Return a remediation from the fields of `stored`; ignore others. ValidationError if they do not fit.

        Without `strict`, 0 and 1 count as booleans, as in SQLite.
        """
        ok = msgspec.convert(stored.get("ok"), bool, strict=strict)
        result = RemediationResult.READY if ok else RemediationResult.FAILED
        fields = {name: stored[name] for name in _STORED if name in stored}
        return msgspec.convert({**fields, "result": result}, cls, strict=strict)


def steps_used(remediations: Iterable[Remediation]) -> int:
    """Return how many steps of the ladder of their service these remediations used."""
    return sum(remediation.steps for remediation in remediations if remediation.result.used_step)


def fold(remediations: Sequence[Remediation], *, is_sick: bool) -> Remediation:
    """Combine all remediations of a service in a run into one, for the report.

    Its action lists all actions, or says why there was none. A service that `is_sick` at the end has not answered.
    """
    last = remediations[-1]
    actions = ", then ".join(
        each.action if each.ok else f"{each.action} in vain ({each.reason})" for each in remediations if each.action
    )
    return msgspec.structs.replace(
        last,
        cause=remediations[0].cause,
        action=actions or f"none: {last.reason}",
        since=min((each.since for each in remediations if each.since is not None), default=None),
        answered_at=None if is_sick else last.answered_at,
        evidence=", ".join(each.evidence for each in remediations if each.evidence),
    )
