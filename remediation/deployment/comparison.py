"""Compares each check after a deployment with the same check before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from remediation.config.model import LatencyLimits
from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.messages.message import Message
from remediation.state.records import CheckOutcome, Result


class ChangeKind(Enum):
    """How a check can differ from its state before; the value is the key of the text that says so."""

    BROKEN_BY_HEAL = "broken_by_heal"
    BROKEN_BY_DEPLOYMENT = "broken_by_deployment"
    STILL_BROKEN = "still_broken"
    FAILS_NEW = "fails_new"
    """The check fails, and the baseline does not have it."""
    TOO_SLOW = "too_slow"
    """The check fails only because it takes longer than before, as --fail-on-slower demands."""
    REPAIRED = "repaired"
    SLOWER = "slower"
    """The check passes, but takes longer than before."""
    NOT_RUN = "not_run"
    """The check passed before, and now was skipped or did not run."""

    @property
    def is_failure(self) -> bool:
        """Whether the check fails."""
        return self in _FAILURES


_FAILURES = frozenset({
    ChangeKind.BROKEN_BY_HEAL,
    ChangeKind.BROKEN_BY_DEPLOYMENT,
    ChangeKind.STILL_BROKEN,
    ChangeKind.FAILS_NEW,
    ChangeKind.TOO_SLOW,
})  # fmt: skip
_DOUBTFUL = frozenset({ChangeKind.SLOWER, ChangeKind.NOT_RUN})


class Slowdown(Struct, frozen=True):
    """A latency that the baseline does not allow, and the latency before, both in seconds."""

    now: float
    before: float


class Change(Struct, frozen=True):
    """The change of one check."""

    nodeid: str
    check: str
    kind: ChangeKind
    values: Mapping[str, object] = {}
    """The values of the text of the change."""

    @property
    def what(self) -> Message:
        """The change in words, such as `broken by the deployment`."""
        return Message(self.kind.value, self.values)

    @property
    def message(self) -> Message:
        """The change with the name of its check, for the log."""
        tone = "bad" if self.kind.is_failure else "doubtful" if self.kind in _DOUBTFUL else "good"
        return Message(f"changed_{tone}", {"check": self.check, "what": self.what})


def changes(
    results: Iterable[Result],
    *,
    baseline: Baseline | None,
    limits: LatencyLimits,
    harmed: Mapping[str, Sequence[str]],
) -> list[Change]:
    """Return the changes of the checks, in their order, and of those that passed before and are missing now.

    `harmed` maps the checks that passed before a heal and fail after it to the services that were healed. Without a
    baseline, these are the only changes.
    """
    changed, seen = list[Change](), set()
    for result in results:
        seen.add(result.key)
        if result.kind != "check":
            continue
        if result.key in harmed:
            healed = ", ".join(harmed[result.key])
            changed.append(Change(result.key, result.name, ChangeKind.BROKEN_BY_HEAL, {"others": healed}))
        elif baseline and (change := _change(result, baseline.checks.get(result.key), limits)):
            changed.append(change)
    before = baseline.checks if baseline else {}
    missing = (nodeid for nodeid, it in before.items() if it.outcome is CheckOutcome.PASSED and nodeid not in seen)
    return changed + [Change(nodeid, before[nodeid].check, ChangeKind.NOT_RUN) for nodeid in missing]


def _change(now: Result, before: BaselineCheck | None, limits: LatencyLimits) -> Change | None:
    if kind := _kind(now, before):
        return Change(now.key, now.name, kind)
    if before is None or before.outcome is not CheckOutcome.PASSED or not now.outcome.is_well:
        return None
    if slow := slowdown(now.latency, before.latency, limits):
        return Change(now.key, now.name, ChangeKind.SLOWER, {"now": slow.now, "before": slow.before})
    return None


def _kind(now: Result, before: BaselineCheck | None) -> ChangeKind | None:
    """Return the kind of the change, apart from the latency."""
    fails = now.outcome is CheckOutcome.FAILED
    if before is None or before.outcome is CheckOutcome.SKIPPED:
        return ChangeKind.FAILS_NEW if fails else None
    if before.outcome is CheckOutcome.FAILED:
        return ChangeKind.STILL_BROKEN if fails else ChangeKind.REPAIRED if now.outcome.is_well else None
    if fails:
        # With --fail-on-slower, a check can fail although the service answers correctly.
        return ChangeKind.TOO_SLOW if now.only_slower else ChangeKind.BROKEN_BY_DEPLOYMENT
    return ChangeKind.NOT_RUN if now.outcome is CheckOutcome.SKIPPED else None


def slowdown(now: float | None, before: float | None, limits: LatencyLimits) -> Slowdown | None:
    """Return the slowdown if a latency exceeds what the one before allows, both in seconds; None if not."""
    if now is None or before is None or now < before * limits.factor or now - before < limits.margin:
        return None
    return Slowdown(round(now, 3), round(before, 3))
