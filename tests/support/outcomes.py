"""Builds the outcome of a check or a service from the two moments that tests write down."""

from __future__ import annotations

from remediation.state.records import CheckOutcome


def outcome_of(failed_at: float | None, passed_at: float | None) -> CheckOutcome:
    """Return the outcome of a check that first failed at one moment, and passed from the other one on."""
    if failed_at is None:
        return CheckOutcome.SKIPPED if passed_at is None else CheckOutcome.PASSED
    return CheckOutcome.FAILED if passed_at is None else CheckOutcome.HEALED
