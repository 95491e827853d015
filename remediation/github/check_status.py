"""The status of each check at the end of a run, in words that the summary and the annotations on GitHub share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.deployment.comparison import Change, ChangeKind
from remediation.messages.message import Message, first_line
from remediation.state.records import CheckOutcome, Result

Kind = Literal["sick", "undone", "healed", "slower", "gone", "repaired", "passed", "skipped"]
_BY_IMPORTANCE: tuple[Kind, ...] = ("sick", "undone", "healed", "slower", "gone", "repaired", "passed", "skipped")


class CheckStatus(Struct, frozen=True):
    """One check at the end of a run; the kind `undone` means that it failed until the deployment was rolled back."""

    check: Result
    kind: Kind
    description: str
    """The status besides its reason, such as `broken by the deployment`."""
    change: ChangeKind | None
    """What changed; None if nothing did."""
    before: BaselineCheck | None
    """The check before the deployment, if the baseline has it."""

    @property
    def text(self) -> str:
        """The whole status, with the reason of the failure if the check failed."""
        reason = first_line(self.check.message or "")
        if self.kind in ("sick", "undone"):
            return ": ".join(filter(None, (self.description, reason or "failed")))
        if not self.check.outcome.has_failed:
            return self.description
        return f"{self.description}, after: {reason or 'a failure'}"


def check_statuses(
    results: Iterable[Result], changes: Iterable[Change], *, baseline: Baseline | None, verdict: str
) -> list[CheckStatus]:
    """Return the statuses of the checks among the results, by importance, the failing ones first."""
    by_check = {change.nodeid: change for change in changes}
    checks_before = baseline.checks if baseline else {}
    checks = [result for result in results if result.kind == "check"]
    # A check that did not run has a row as well, so that its absence is noticed.
    run_now = {check.key for check in checks}
    gone = [
        change for change in by_check.values() if change.kind is ChangeKind.NOT_RUN and change.nodeid not in run_now
    ]
    checks += [Result("check", it.nodeid, it.check, [], 0.0, CheckOutcome.SKIPPED, attempts=0) for it in gone]
    statuses = []
    for check in checks:
        change, before = by_check.get(check.key), checks_before.get(check.key)
        kind, description = _kind(check, change, before, verdict)
        statuses.append(CheckStatus(check, kind, description, change.kind if change else None, before))
    # A check that was broken before the deployment is less of a surprise than one that the deployment broke.
    return sorted(
        statuses, key=lambda status: (_BY_IMPORTANCE.index(status.kind), status.change is ChangeKind.STILL_BROKEN)
    )


def _kind(check: Result, change: Change | None, before: BaselineCheck | None, verdict: str) -> tuple[Kind, str]:
    changed = str(change.what) if change else ""
    slower = change is not None and change.kind is ChangeKind.SLOWER
    if check.outcome is CheckOutcome.FAILED:
        return "sick", changed
    if check.outcome is CheckOutcome.SKIPPED:
        return ("gone", changed) if change else ("skipped", "skipped")
    if check.outcome is CheckOutcome.PASSED:
        return "passed" if not change else "slower" if slower else "repaired", changed or "passed"
    if verdict == "rolled-back" and (undone := _undone(before)):
        return "undone", undone
    return "slower" if slower else "healed", "; ".join(filter(None, (changed, "healed")))


def _undone(before: BaselineCheck | None) -> str:
    """Return the status of a check that failed until the rollback; empty if it failed before the deployment too."""
    if before is None or before.outcome is CheckOutcome.SKIPPED:
        return "failed, rolled back"
    return (
        ""
        if before.outcome is CheckOutcome.FAILED
        else f"{Message(ChangeKind.BROKEN_BY_DEPLOYMENT.value, {})}, rolled back"
    )
