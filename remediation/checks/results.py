"""What became of each check in a round, and of each check and service over all rounds of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest

from remediation.checks.errors import Slower
from remediation.state.records import CheckOutcome, Result
from remediation.state.remediation import Remediation
from remediation.supervision.attempt_log import NOTE, ReportOutcome
from remediation.system.secrets import redacted

# What pytest colours a difference with on a terminal, ECMA-48 section 8.3.117.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# Of a message, in characters; the whole text stands in the report.
_LONGEST_MESSAGE = 2_000


class Attempt(msgspec.Struct, frozen=True):
    """One failed attempt. `final` says that no other followed in its round."""

    nodeid: str
    check: str
    error: bool
    """Whether it was set-up or teardown that failed rather than the check itself."""
    message: str
    type: str
    text: str
    started: float
    final: bool
    number: int
    heals: dict[str, int]
    """The services that a failure may heal, each with the number of heals that had ended before the attempt."""
    only_slower: bool = False
    """Whether it failed only because it takes longer than before a deployment."""


def note(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
    *,
    heals: dict[str, int],
    services: list[str],
    latency: float | None = None,
) -> dict[str, Any]:
    """Return what a report of an item has to carry besides what pytest puts there."""
    return {
        "check": label(item),
        # Reports of subtests are made before rerunfailures numbers those of the attempt.
        "number": getattr(item, "execution_count", 1) - 1,
        "heals": heals,
        "services": services,
        "latency": latency,
        "type": call.excinfo.typename if call.excinfo else "",
        "only_slower": call.excinfo is not None and isinstance(call.excinfo.value, Slower),
    }


def label(item: pytest.Item) -> str:
    """Name a check for people: the first line of its docstring, or its name; with its parameters."""
    doc = getattr(getattr(item, "obj", None), "__doc__", None)
    if not doc or not doc.strip():
        return item.name
    first: str = doc.strip().splitlines()[0].rstrip(".") or item.name
    # As the name has them, without secrets.
    _, bracket, parameters = item.name.partition("[")
    return f"{redacted(first)} [{parameters}" if bracket and hasattr(item, "callspec") else first


def report_outcome(report: pytest.TestReport) -> ReportOutcome:
    """Return the outcome of a report, which rerunfailures also sets to `rerun`."""
    return ReportOutcome(report.outcome)


def attempt(report: pytest.TestReport) -> Attempt | None:
    """Return the failed attempt that a report tells of, or None if it tells of none."""
    said = report_outcome(report)
    if said not in (ReportOutcome.FAILED, ReportOutcome.REPEATED):
        return None
    noted: dict[str, Any] = getattr(report, NOTE, {})
    text, message = _told(report)
    kind = noted.get("type") or "Failed"
    return Attempt(
        nodeid=report.nodeid,
        check=noted.get("check", report.nodeid),
        error=report.when != "call",
        # junitxml and our own texts name the type beside the message.
        message=message.removeprefix(f"{kind}: ").strip() or kind,
        type=kind,
        text=text,
        started=report.start,
        final=said is ReportOutcome.FAILED,
        number=noted.get("number", getattr(report, "rerun", 0)),
        heals=noted.get("heals", {}),
        only_slower=noted.get("only_slower", False),
    )


def _told(report: pytest.TestReport) -> tuple[str, str]:
    """Return all that a report says of a failure, and what sums it up."""
    crash = getattr(report.longrepr, "reprcrash", None)
    # Not longreprtext, which under xdist begins with the worker's name and version.
    text = _plain(str(report.longrepr or "")).strip()
    return text, (_plain(crash.message) if crash else _sentence(text))[:_LONGEST_MESSAGE]


def first_line(report: pytest.TestReport) -> str:
    """Return the first line of what sums up a failure."""
    return _told(report)[1].partition("\n")[0]


def _sentence(text: str) -> str:
    """Return the line of a text that says what happened: pytest marks it with an E."""
    lines = text.splitlines() or [""]
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[0])


def _plain(text: str) -> str:
    """Return text without the colours of pytest's terminal, and with lone surrogates made visible.

    Neither JSON nor a log can hold these.
    """
    text = _COLOUR.sub("", text)
    return text.encode("utf-8", "backslashreplace").decode()


class Attempts:
    """The failed attempts of one round, in order."""

    def __init__(self) -> None:
        """Start with none."""
        self.all: list[Attempt] = []

    @property
    def failures(self) -> int:
        """How many checks failed for good."""
        return sum(attempt.final for attempt in self.all)

    @property
    def failed_services(self) -> set[str]:
        """The services that a check which failed for good may heal."""
        return {name for attempt in self.all if attempt.final for name in attempt.heals}

    def add(self, new: Attempt) -> None:
        """Add an attempt; a teardown that failed as well joins the attempt that it belongs to."""
        for index, known in enumerate(self.all):
            if (known.nodeid, known.number) == (new.nodeid, new.number):
                text = f"{known.text}\n\n{new.text}"
                self.all[index] = msgspec.structs.replace(known, text=text, final=known.final and new.final)
                return
        self.all.append(new)


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


class RoundFindings(msgspec.Struct):
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
        match report_outcome(report):
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


def places(rounds: Iterable[RoundFindings]) -> dict[str, tuple[str, int | None]]:
    """Return where each check stands, by node ID: its file, seen from pytest's root directory, and its line."""
    return {one.nodeid: (one.file, one.line) for part in rounds for one in part.results}


def over_all_rounds(
    rounds: Iterable[RoundFindings], remediations: Mapping[str, list[Remediation]], services: Iterable[str]
) -> list[Result]:
    """Return what became of each check and each service, for the history."""
    checks = _checks(list(rounds))
    return [*checks, *filter(None, (_service(name, checks, remediations.get(name, [])) for name in services))]


def _checks(rounds: list[RoundFindings]) -> list[Result]:
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


class Ends:
    """The ends of checks, as pytest reports them."""

    def __init__(self) -> None:
        """Start with none."""
        self._retried: set[str] = set()
        self._ended: set[str] = set()
        self._crashed: set[str] = set()

    def add(self, report: pytest.TestReport) -> None:
        """Take what a report says: a check ends by the teardown of an attempt that no other follows."""
        if report_outcome(report) is ReportOutcome.REPEATED:
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
