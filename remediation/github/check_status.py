"""How each check stands at the end of a run, in words: what the summary and the annotations on GitHub tell alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from remediation.deployment.baseline import Baseline, Known
from remediation.deployment.comparison import Change, ChangeKind
from remediation.messages.message import Message, first_line
from remediation.state.records import CheckOutcome, Result

Kind = Literal["sick", "undone", "healed", "slower", "gone", "repaired", "passed", "skipped"]
_BY_IMPORTANCE: tuple[Kind, ...] = ("sick", "undone", "healed", "slower", "gone", "repaired", "passed", "skipped")


class CheckStatus(Struct, frozen=True):
    """One check at the end; `undone` is what failed until the deployment was rolled back."""

    check: Result
    kind: Kind
    words: str
    """What there is to say of it besides its reason, such as `broken by the deployment`."""
    change: ChangeKind | None
    """What changed; None if nothing did."""
    before: Known | None
    """What was known of it before the deployment."""

    @property
    def text(self) -> str:
        """All that there is to say of it, with the reason of its failure if it failed."""
        reason = first_line(self.check.message or "")
        if self.kind in ("sick", "undone"):
            return ": ".join(filter(None, (self.words, reason or "failed")))
        if not self.check.outcome.has_failed:
            return self.words
        return f"{self.words}, after: {reason or 'a failure'}"


def check_statuses(
    results: Iterable[Result], changes: Iterable[Change], *, baseline: Baseline | None, verdict: str
) -> list[CheckStatus]:
    """Return how the checks among the results stand: the sick ones first, then what is worth a look, then the rest."""
    by_check = {change.nodeid: change for change in changes}
    known = baseline.checks if baseline else {}
    checks = [one for one in results if one.kind == "check"]
    # One that is gone has a row as well: what vanishes must not go unnoticed.
    there = {one.key for one in checks}
    gone = [change for change in by_check.values() if change.kind is ChangeKind.NOT_RUN and change.nodeid not in there]
    checks += [Result("check", one.nodeid, one.check, [], 0.0, CheckOutcome.SKIPPED, attempts=0) for one in gone]
    found = []
    for one in checks:
        change, before = by_check.get(one.key), known.get(one.key)
        kind, words = _kind(one, change, before, verdict)
        found.append(CheckStatus(one, kind, words, change.kind if change else None, before))
    # What was broken before the deployment is less of a surprise than what it broke.
    return sorted(found, key=lambda one: (_BY_IMPORTANCE.index(one.kind), one.change is ChangeKind.STILL_BROKEN))


def _kind(one: Result, change: Change | None, before: Known | None, verdict: str) -> tuple[Kind, str]:
    changed = str(change.what) if change else ""
    slower = change is not None and change.kind is ChangeKind.SLOWER
    if one.outcome is CheckOutcome.FAILED:
        return "sick", changed
    if one.outcome is CheckOutcome.SKIPPED:
        return ("gone", changed) if change else ("skipped", "skipped")
    if one.outcome is CheckOutcome.PASSED:
        return "passed" if not change else "slower" if slower else "repaired", changed or "passed"
    if verdict == "rolled-back" and (undone := _undone(before)):
        return "undone", undone
    return "slower" if slower else "healed", "; ".join(filter(None, (changed, "healed")))


def _undone(before: Known | None) -> str:
    """Say that a check which passes now failed until the deployment was rolled back, unless it failed before it."""
    if before is None or before.outcome is CheckOutcome.SKIPPED:
        return "failed, rolled back"
    return (
        ""
        if before.outcome is CheckOutcome.FAILED
        else f"{Message(ChangeKind.BROKEN_BY_DEPLOYMENT.value, {})}, rolled back"
    )
