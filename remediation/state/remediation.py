"""What was done for a service, in the one form that healing, history, state and report share.

It stands below all of them, because the state of a service keeps its last remediation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Self

Origin = Literal["check", "monitor", "hand"]

_STORED = ("service", "at", "origin", "cause", "action", "ok", "reason", "since", "answered_at", "evidence")
_BRIEF = ("at", "action", "ok", "reason")


class RemediationResult(Enum):
    """How a remediation ended. The disk keeps it as `ok`: it has only results of what was done."""

    READY = "ready"
    """A step was taken, and the service is ready again."""
    FAILED = "failed"
    """A step was taken in vain."""
    ADOPTED = "adopted"
    """Its process was found again, and no more was done."""
    RECOVERED = "recovered"
    """It is ready again since its dependencies were healed; nothing was done to it."""
    HINDERED = "hindered"
    """A step came up, but nothing could be done."""
    SKIPPED = "skipped"
    """Nothing was done this time; it may be in a later round."""
    REFUSED = "refused"
    """Nothing may be done, now or in a later round."""
    GAVE_UP = "gave-up"
    """The same, and this is the moment at which the restart budget was spent."""

    @property
    def ok(self) -> bool:
        """Whether the service is ready now, so that checking again makes sense."""
        return self in (RemediationResult.READY, RemediationResult.ADOPTED, RemediationResult.RECOVERED)

    @property
    def used_step(self) -> bool:
        """Whether it used up a step of the ladder."""
        return self in (RemediationResult.READY, RemediationResult.FAILED, RemediationResult.HINDERED)

    @property
    def refused(self) -> bool:
        """Whether nothing may be done in this run any more."""
        return self in (RemediationResult.REFUSED, RemediationResult.GAVE_UP)


class Remediation(msgspec.Struct, frozen=True):
    """What was done for a service, or why nothing was. Moments in epoch seconds."""

    service: str
    at: float
    """When it ended."""
    origin: Origin
    cause: str
    """Of its incident: what the first failed attempt said."""
    action: str
    """What was done, in words; empty if nothing was."""
    result: RemediationResult
    reason: str = ""
    """Why the service is not ready, for people."""
    since: float | None = None
    """When its incident began: the first failed attempt. None if somebody acted by hand."""
    answered_at: float | None = None
    """When the service was seen to answer again."""
    evidence: str = ""
    """The folder of what was known of the service before; empty if there is none."""
    number: int = 0
    """How many heals of the service had ended with this one; 0 if it is not counted, since we did nothing."""
    rolled_back: bool = False
    """Whether the rollback of the service was run, by whomever."""
    rollback_problem: str = ""
    """Why its rollback failed; empty if it did not."""

    @property
    def ok(self) -> bool:
        """Whether the service was ready at its end."""
        return self.result.ok

    @property
    def downtime(self) -> float | None:
        """Seconds from the first failed attempt until the service answered again, if both are known."""
        if self.since is None or self.answered_at is None:
            return None
        return max(0.0, self.answered_at - self.since)

    def stored(self) -> dict[str, Any]:
        """Return what the history keeps of it, and `report --json` tells."""
        return {name: getattr(self, name) for name in _STORED}

    def brief(self) -> dict[str, Any]:
        """Return what the state of its service keeps of it, and `status --json` tells."""
        return {name: getattr(self, name) for name in _BRIEF}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any], *, strict: bool = True) -> Self:
        """Return a remediation from what `stored` returned, or more. ValidationError if it is not that.

        One that is not `strict` may have 0 and 1 as its truth values, as SQLite has them.
        """
        ok = msgspec.convert(stored.get("ok"), bool, strict=strict)
        result = RemediationResult.READY if ok else RemediationResult.FAILED
        known = {name: stored[name] for name in _STORED if name in stored}
        return msgspec.convert({**known, "result": result}, cls, strict=strict)


def fold(remediations: Sequence[Remediation], *, is_sick: bool) -> Remediation:
    """Return all that a run did for a service as one, for its report.

    Its action tells of all actions, or why there was none. A service that `is_sick` at the end has not answered.
    """
    last = remediations[-1]
    actions = ", then ".join(
        one.action if one.ok else f"{one.action} in vain ({one.reason})" for one in remediations if one.action
    )
    return msgspec.structs.replace(
        last,
        cause=remediations[0].cause,
        action=actions or f"none: {last.reason}",
        since=min((one.since for one in remediations if one.since is not None), default=None),
        answered_at=None if is_sick else last.answered_at,
        evidence=", ".join(one.evidence for one in remediations if one.evidence),
    )
