"""What became of each check in a round, and of each check and service over all rounds of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest

from remediation.checks import attempts
from remediation.checks.attempts import Attempt
from remediation.state.records import CheckOutcome, Result
from remediation.state.remediation import Remediation
from remediation.supervision.attempt_log import NOTE, ReportOutcome


class CheckResult(msgspec.Struct):
    """One check in one round: when it began and, if it passed, when the passing call began and what it took."""

    nodeid: str
    check: str
    services: list[str]
    at: float
    outcome: CheckOutcome = CheckOutcome.SKIPPED
    passed_at: float | None = None
    latency: float | None = None
    file: str = ""
    """Where it stands, seen from pytest's root directory;"""
    line: int | None = None
    """in this line, from 1 on, if that is known."""


class Findings(msgspec.Struct):
    """What a round found: every failed attempt, and what became of each check."""

    attempts: list[Attempt]
    results: list[CheckResult]


class Results:
    """The results of one round, in order."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_check: dict[str, CheckResult] = {}

    @property
    def all(self) -> list[CheckResult]:
        """One for each check that came to an end, in order."""
        return list(self._by_check.values())

    def add(self, report: pytest.TestReport) -> None:
        """Take what a report of pytest says of its check."""
        noted: dict[str, Any] = getattr(report, NOTE, {})
        check = noted.get("check", report.nodeid)
        known = self._by_check.setdefault(
            report.nodeid, CheckResult(report.nodeid, check, noted.get("services", []), report.start)
        )
        known.file, known.line = _place(report)
        match attempts.outcome(report):
            case ReportOutcome.FAILED:
                known.outcome, known.passed_at, known.latency = CheckOutcome.FAILED, None, None
            case ReportOutcome.REPEATED:
                known.outcome, known.passed_at, known.latency = CheckOutcome.SKIPPED, None, None
            case ReportOutcome.PASSED if report.when == "call" and known.outcome is not CheckOutcome.FAILED:
                known.outcome, known.passed_at = CheckOutcome.PASSED, report.start
                known.latency = report.duration if noted.get("latency") is None else noted["latency"]


def _place(report: pytest.TestReport) -> tuple[str, int | None]:
    file, line, _ = report.location
    return file, None if line is None else line + 1


def places(rounds: Iterable[Findings]) -> dict[str, tuple[str, int | None]]:
    """Return where each check stands, by node ID: its file, seen from pytest's root directory, and its line."""
    return {one.nodeid: (one.file, one.line) for part in rounds for one in part.results}


def over_all_rounds(
    rounds: Iterable[Findings], remediations: Mapping[str, list[Remediation]], services: Iterable[str]
) -> list[Result]:
    """Return what became of each check and each service, for the history."""
    checks = _checks(list(rounds))
    return [*checks, *filter(None, (_service(name, checks, remediations.get(name, [])) for name in services))]


def _checks(rounds: list[Findings]) -> list[Result]:
    found: dict[str, Result] = {}
    for part in rounds:
        failed: dict[str, list[Attempt]] = {}
        for attempt in part.attempts:
            failed.setdefault(attempt.nodeid, []).append(attempt)
        for one in part.results:
            mine = failed.get(one.nodeid, [])
            found[one.nodeid] = _with_round(found.get(one.nodeid), one, mine)
    return list(found.values())


def _with_round(before: Result | None, one: CheckResult, failed: list[Attempt]) -> Result:
    """Add what a further round says of a check; a skip proves nothing."""
    result = before or Result("check", one.nodeid, one.check, one.services, one.at, CheckOutcome.SKIPPED, attempts=0)
    tried = len(failed) + (one.outcome is CheckOutcome.PASSED)
    result = msgspec.structs.replace(result, attempts=result.attempts + tried)
    if one.outcome is CheckOutcome.SKIPPED:
        return result
    if one.outcome is CheckOutcome.FAILED and not result.outcome.has_failed:
        result = msgspec.structs.replace(result, failed_at=one.at)
        if failed:
            first = failed[0]
            result = msgspec.structs.replace(
                result, failed_at=first.started, message=first.message, only_slower=first.only_slower
            )
    is_healed = one.outcome is CheckOutcome.PASSED and result.outcome.has_failed
    outcome = CheckOutcome.HEALED if is_healed else one.outcome
    return msgspec.structs.replace(result, outcome=outcome, passed_at=one.passed_at, latency=one.latency)


def _service(name: str, checks: Iterable[Result], remediations: list[Remediation]) -> Result | None:
    """Return what became of a service: sick as long as one of its checks is, well again when it answered."""
    own = [one for one in checks if name in one.services]
    if not own:
        return None
    worst = CheckOutcome.worst(one.outcome for one in own)
    failed = [one for one in own if one.outcome.has_failed]
    passed = [one.passed_at for one in own if one.passed_at is not None]
    first = min(failed, key=lambda one: one.failed_at or 0.0, default=None)
    answered = [one.answered_at for one in remediations if one.ok and one.answered_at is not None]
    recovered = [*answered[-1:], *(one.passed_at for one in failed if one.passed_at is not None)]
    well_at = None
    if worst is CheckOutcome.HEALED:
        well_at = recovered[0]
    elif worst is CheckOutcome.PASSED:
        well_at = min(passed)
    return Result(
        "service", name, name, [name], min(one.at for one in own), worst,
        failed_at=first.failed_at if first else None,
        passed_at=well_at,
        message=first.message if first else None,
    )  # fmt: skip
