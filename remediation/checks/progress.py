"""Log the progress of a round, check by check, as pytest reports it."""

from __future__ import annotations

from typing import Any

import pytest

from remediation.checks import CHECKED, PENDING, REDIRECTED
from remediation.checks.results import attempt, report_outcome
from remediation.messages.message import Message
from remediation.state.event_log import EventLog
from remediation.supervision.attempt_log import NOTE, ReportOutcome


class ProgressReporter:
    """Logs the begin and the outcome of each check; with xdist, the controller does."""

    def __init__(self, event_log: EventLog) -> None:
        """Write to `event_log`."""
        self._event_log = event_log
        self._checking: str | None = None

    def begins(self, nodeid: str, check: str) -> None:
        """Log that a check begins, once for all its attempts."""
        if self._checking != nodeid:
            self._checking = nodeid
            self._event_log.log("checking", check=check)

    def has_begun(self, nodeid: str) -> None:
        """Mark a check as begun, without a log entry."""
        self._checking = nodeid

    def retries_after(self, report: pytest.TestReport) -> None:
        """Log that the attempt of a report failed and another one follows."""
        note: dict[str, Any] = getattr(report, NOTE, {})
        self.retries(note["check"], note["number"] + 1, note["attempts"], note["delay"])

    def retries(self, check: str, attempt: int, attempts: int, delay: float) -> None:
        """Log that an attempt failed and another one follows."""
        self._event_log.log("retry", check=check, attempt=attempt, attempts=attempts, delay=delay)

    def reports(self, report: pytest.TestReport) -> None:
        """Log the outcome of a check if the report has it."""
        note: dict[str, Any] = getattr(report, NOTE, {})
        check, outcome = note.get("check", report.nodeid), report_outcome(report)
        if hasattr(report, "node"):
            # Workers run in parallel, so the controller receives the reports of a check only after its end.
            if report.when == "setup":
                self.begins(report.nodeid, check)
            if outcome is ReportOutcome.REPEATED:
                self.retries(check, getattr(report, "rerun", 0) + 1, note.get("attempts", 1), note.get("delay", 0.0))
        if outcome is ReportOutcome.FAILED:
            self._log_failure(report, check)
        elif outcome is ReportOutcome.SKIPPED:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
            self._event_log.log("skipped", check=check, reason=reason.removeprefix("Skipped: "))
        elif outcome is ReportOutcome.PASSED and report.when == "call":
            shown = [_shown(name, value) for name, value in report.user_properties]
            self._event_log.log("passed_showing" if shown else "passed", check=check, shown=shown)

    def _log_failure(self, report: pytest.TestReport, check: str) -> None:
        number = getattr(report, "rerun", 0) + 1
        self._event_log.log("failed" if number > 1 else "failed_once", check=check, attempts=number)
        if failed := attempt(report):
            # The name of a declared check is its request, `GET /health`, which its failure says as well.
            is_named = " " in check and f"{check}: " in failed.message
            self._event_log.log("because_of" if is_named else "because", check=check, reason=failed.message)


# The texts of what auto-heal itself shows beside a check, with the name of their value.
_TEXTS = {REDIRECTED: ("redirected_to", "place"), CHECKED: ("checked_before", "ago"), PENDING: ("exceeded", "problem")}


def _shown(name: str, value: object) -> Message | str:
    if name not in _TEXTS:
        return f"{name}: {value}"
    key, value_name = _TEXTS[name]
    return Message(key, {value_name: value})
