"""What changed: each check after a deployment compared with the same check before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from remediation.config.model import LatencyLimits
from remediation.deployment.baseline import Baseline, Known
from remediation.messages.message import Message
from remediation.state.records import CheckOutcome, Result


class ChangeKind(Enum):
    """How a check can differ from what it was before; the value is the key of the text that says so."""

    BROKEN_BY_HEAL = "broken_by_heal"
    BROKEN_BY_DEPLOYMENT = "broken_by_deployment"
    STILL_BROKEN = "still_broken"
    FAILS_NEW = "fails_new"
    """It fails, and the baseline does not know it."""
    TOO_SLOW = "too_slow"
    """It fails only because it takes longer than before, as --fail-on-slower demands."""
    REPAIRED = "repaired"
    SLOWER = "slower"
    """It passes, but takes longer than before."""
    NOT_RUN = "not_run"
    """It passed before, and was skipped or not run at all."""

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
    """A latency beyond what the baseline allows, both in seconds."""

    now: float
    before: float


class Change(Struct, frozen=True):
    """What changed of one check."""

    nodeid: str
    check: str
    kind: ChangeKind
    values: Mapping[str, object] = {}
    """What the text of the change names besides."""

    @property
    def what(self) -> Message:
        """The change in words, such as `broken by the deployment`."""
        return Message(self.kind.value, self.values)

    @property
    def message(self) -> Message:
        """The change with the name of its check, to be told."""
        tone = "bad" if self.kind.is_failure else "doubtful" if self.kind in _DOUBTFUL else "good"
        return Message(f"changed_{tone}", {"check": self.check, "what": self.what})


def changes(
    results: Iterable[Result],
    *,
    baseline: Baseline | None,
    limits: LatencyLimits,
    harmed: Mapping[str, Sequence[str]],
) -> list[Change]:
    """Return what changed of the checks, in their order, and what passed before and is not among them.

    `harmed` has those that passed before a heal and fail after it, with the services that were healed; without a
    baseline these are all that can be told.
    """
    found, seen = list[Change](), set()
    for one in results:
        seen.add(one.key)
        if one.kind != "check":
            continue
        if one.key in harmed:
            healed = ", ".join(harmed[one.key])
            found.append(Change(one.key, one.name, ChangeKind.BROKEN_BY_HEAL, {"others": healed}))
        elif baseline and (change := _change(one, baseline.checks.get(one.key), limits)):
            found.append(change)
    known = baseline.checks if baseline else {}
    lost = (nodeid for nodeid, one in known.items() if one.outcome is CheckOutcome.PASSED and nodeid not in seen)
    return found + [Change(nodeid, known[nodeid].check, ChangeKind.NOT_RUN) for nodeid in lost]


def _change(now: Result, before: Known | None, limits: LatencyLimits) -> Change | None:
    if kind := _kind(now, before):
        return Change(now.key, now.name, kind)
    if before is None or before.outcome is not CheckOutcome.PASSED or not now.outcome.is_well:
        return None
    if slow := slowdown(now.latency, before.latency, limits):
        return Change(now.key, now.name, ChangeKind.SLOWER, {"now": slow.now, "before": slow.before})
    return None


def _kind(now: Result, before: Known | None) -> ChangeKind | None:
    """Return what changed, apart from the latency."""
    fails = now.outcome is CheckOutcome.FAILED
    if before is None or before.outcome is CheckOutcome.SKIPPED:
        return ChangeKind.FAILS_NEW if fails else None
    if before.outcome is CheckOutcome.FAILED:
        return ChangeKind.STILL_BROKEN if fails else ChangeKind.REPAIRED if now.outcome.is_well else None
    if fails:
        # With --fail-on-slower: it answers as it should.
        return ChangeKind.TOO_SLOW if now.only_slower else ChangeKind.BROKEN_BY_DEPLOYMENT
    return ChangeKind.NOT_RUN if now.outcome is CheckOutcome.SKIPPED else None


def slowdown(now: float | None, before: float | None, limits: LatencyLimits) -> Slowdown | None:
    """Return by how much a latency, in seconds, is beyond what the one before allows; None if it is not."""
    if now is None or before is None or now < before * limits.factor or now - before < limits.margin:
        return None
    return Slowdown(round(now, 3), round(before, 3))
