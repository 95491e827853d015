"""Tell the checks of a round in the words of the catalogue, as pytest reports them."""

from __future__ import annotations

from typing import Any

import pytest

from remediation.checks.results import attempt, report_outcome
from remediation.state.event_log import EventLog
from remediation.supervision.attempt_log import NOTE, ReportOutcome


class ProgressReporter:
    """Says what is checked and how it ends; under xdist the controller says it."""

    def __init__(self, event_log: EventLog) -> None:
        """Speak by `event_log`."""
        self._event_log = event_log
        self._checking: str | None = None

    def begins(self, nodeid: str, check: str) -> None:
        """Say that a check begins, once for all its attempts."""
        if self._checking != nodeid:
            self._checking = nodeid
            self._event_log.log("checking", check=check)

    def has_begun(self, nodeid: str) -> None:
        """Take it as said that a check begins."""
        self._checking = nodeid

    def retries_after(self, report: pytest.TestReport) -> None:
        """Say that the attempt of a report failed and another will follow."""
        noted: dict[str, Any] = getattr(report, NOTE, {})
        self.retries(noted["check"], noted["number"] + 1, noted["attempts"], noted["delay"])

    def retries(self, check: str, attempt: int, attempts: int, delay: float) -> None:
        """Say that an attempt failed and another will follow."""
        self._event_log.log("retry", check=check, attempt=attempt, attempts=attempts, delay=delay)

    def reports(self, report: pytest.TestReport) -> None:
        """Say how a check ended, if this report says so."""
        noted: dict[str, Any] = getattr(report, NOTE, {})
        check, outcome = noted.get("check", report.nodeid), report_outcome(report)
        if hasattr(report, "node"):
            # Workers run side by side, so the controller hears of a check when it has ended.
            if report.when == "setup":
                self.begins(report.nodeid, check)
            if outcome is ReportOutcome.REPEATED:
                self.retries(check, getattr(report, "rerun", 0) + 1, noted.get("attempts", 1), noted.get("delay", 0.0))
        if outcome is ReportOutcome.FAILED:
            self._fails(report, check)
        elif outcome is ReportOutcome.SKIPPED:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
            self._event_log.log("skipped", check=check, reason=reason.removeprefix("Skipped: "))
        elif outcome is ReportOutcome.PASSED and report.when == "call":
            shown = ", ".join(f"{name}: {value}" for name, value in report.user_properties)
            self._event_log.log("passed_showing" if shown else "passed", check=check, shown=shown)

    def _fails(self, report: pytest.TestReport, check: str) -> None:
        number = getattr(report, "rerun", 0) + 1
        self._event_log.log("failed" if number > 1 else "failed_once", check=check, attempts=number)
        if failed := attempt(report):
            self._event_log.log("because", check=check, reason=failed.message)
