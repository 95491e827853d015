"""Which checks of a round came to their end. One that did not proves nothing, whatever pytest's exit code says."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from remediation.checks import attempts
from remediation.supervision.attempt_log import ReportOutcome


class Ends:
    """The ends of checks, as pytest reports them."""

    def __init__(self) -> None:
        """Start with none."""
        self._retried: set[str] = set()
        self._ended: set[str] = set()
        self._crashed: set[str] = set()

    def add(self, report: pytest.TestReport) -> None:
        """Take what a report says: a check ends by the teardown of an attempt that no other follows."""
        if attempts.outcome(report) is ReportOutcome.REPEATED:
            self._retried.add(report.nodeid)
        elif report.when == "setup":
            self._retried.discard(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self._retried:
            self._ended.add(report.nodeid)
        elif report.when not in ("call", "teardown"):
            # What xdist says, at no phase of its own, of a check whose worker crashed.
            self._crashed.add(report.nodeid)

    def missing(self, expected: Iterable[str]) -> set[str]:
        """Return which of the expected checks have not ended, and which crashed."""
        return set(expected) - self._ended | self._crashed
