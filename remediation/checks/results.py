"""The results of each check in a round, and of each check and service over all rounds of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest

from remediation.checks.errors import Slower
from remediation.state.records import CheckOutcome, Measurement, Result
from remediation.state.remediation import Remediation
from remediation.supervision.attempt_log import NOTE, ReportOutcome
from remediation.system.secrets import redacted

# What the attempt of an item has measured.
MEASUREMENTS = pytest.StashKey[list[Measurement]]()

# The escape sequences with which pytest colours a difference on a terminal, ECMA-48 section 8.3.117.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# A quoted string in a failure's message, as repr() writes it, and an escaped line end in it.
_QUOTED = re.compile(r"""(['"])(?:\\.|(?!\1)[^\\])*(?:\1|\Z)""", re.DOTALL)
_LINE_END = re.compile(r"(?<!\\)((?:\\\\)*)(?:\\r)?\\n")
# Where an object is in memory says nothing, and differs in each attempt.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}\b")
# The longest message, in characters; the report has the whole text.
_LONGEST_MESSAGE = 2_000


class Attempt(msgspec.Struct, frozen=True):
    """One failed attempt. It is `final` if no other attempt followed in its round."""

    nodeid: str
    check: str
    error: bool
    """Whether set-up or teardown failed rather than the check itself."""
    message: str
    type: str
    text: str
    started: float
    final: bool
    number: int
    heals: dict[str, int]
    """The services that a failure may heal, each with the number of its heals before the attempt."""
    only_slower: bool = False
    """Whether the check failed only because it took longer than before a deployment."""


def note(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
    *,
    heals: dict[str, int],
    services: list[str],
    latency: float | None = None,
) -> dict[str, Any]:
    """Return the note for a report of an item: the data that pytest's own report lacks."""
    return {
        "check": label(item),
        # Read from the item, because reports of subtests are made before rerunfailures numbers the attempt.
        "number": getattr(item, "execution_count", 1) - 1,
        "heals": heals,
        "services": services,
        "latency": latency,
        "measurements": [list(msgspec.structs.astuple(each)) for each in item.stash.get(MEASUREMENTS, [])],
        "type": call.excinfo.typename if call.excinfo else "",
        "only_slower": call.excinfo is not None and isinstance(call.excinfo.value, Slower),
    }


def label(item: pytest.Item) -> str:
    """Return a readable name of a check: the first line of its docstring, or its name, with its parameters."""
    if own := getattr(item, "label", None):
        return str(own)
    doc = getattr(getattr(item, "obj", None), "__doc__", None)
    if not doc or not doc.strip():
        return item.name
    summary: str = doc.strip().splitlines()[0].rstrip(".") or item.name
    # From the name, where the parameters have no secrets.
    _, bracket, parameters = item.name.partition("[")
    return f"{redacted(summary)} [{parameters}" if bracket and hasattr(item, "callspec") else summary


def report_outcome(report: pytest.TestReport) -> ReportOutcome:
    """Return the outcome of a report, which rerunfailures also sets to `rerun`."""
    return ReportOutcome(report.outcome)


def attempt(report: pytest.TestReport) -> Attempt | None:
    """Return the failed attempt of a report, or None if the report is not of a failure."""
    outcome = report_outcome(report)
    if outcome not in (ReportOutcome.FAILED, ReportOutcome.REPEATED):
        return None
    note: dict[str, Any] = getattr(report, NOTE, {})
    text, message = _text_and_message(report)
    kind = note.get("type") or "Failed"
    return Attempt(
        nodeid=report.nodeid,
        check=note.get("check", report.nodeid),
        error=report.when != "call",
        # junitxml and our own texts show the type next to the message.
        message=message.removeprefix(f"{kind}: ").strip() or kind,
        type=kind,
        text=text,
        started=report.start,
        final=outcome is ReportOutcome.FAILED,
        number=note.get("number", getattr(report, "rerun", 0)),
        heals=note.get("heals", {}),
        only_slower=note.get("only_slower", False),
    )


def _text_and_message(report: pytest.TestReport) -> tuple[str, str]:
    """Return the whole text of a failure, and its summary."""
    crash = getattr(report.longrepr, "reprcrash", None)
    # Not longreprtext, which with xdist begins with the worker's name and version.
    text = _plain(str(report.longrepr or "")).strip()
    return text, _readable(_plain(crash.message) if crash else _sentence(text))[:_LONGEST_MESSAGE]


def _readable(message: str) -> str:
    """Return a message with line ends in quoted strings as signs, and without the addresses of objects."""
    message = _QUOTED.sub(lambda quoted: _LINE_END.sub(r"\1↵", quoted[0]), message)
    return _ADDRESS.sub("", message)


def first_line(report: pytest.TestReport) -> str:
    """Return the first line of a failure's message."""
    return _text_and_message(report)[1].partition("\n")[0]


def _sentence(text: str) -> str:
    """Return the line of a traceback with the error, which pytest marks with an E."""
    lines = text.splitlines() or [""]
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[0])


def _plain(text: str) -> str:
    """Return text without the colours of pytest's terminal, and with lone surrogates made visible.

    Neither JSON nor a log can contain lone surrogates.
    """
    text = _COLOUR.sub("", text)
    return text.encode("utf-8", "backslashreplace").decode()


class Attempts:
    """The failed attempts of one round, in order."""

    def __init__(self) -> None:
        """Start without attempts."""
        self.all: list[Attempt] = []

    @property
    def failures(self) -> int:
        """The number of checks with a final failure."""
        return sum(attempt.final for attempt in self.all)

    @property
    def failed_services(self) -> set[str]:
        """The services that checks with a final failure may heal."""
        return {name for attempt in self.all if attempt.final for name in attempt.heals}

    def add(self, new: Attempt) -> None:
        """Add an attempt; merge a failed teardown into its attempt if that has failed already."""
        for index, existing in enumerate(self.all):
            if (existing.nodeid, existing.number) == (new.nodeid, new.number):
                text = f"{existing.text}\n\n{new.text}"
                self.all[index] = msgspec.structs.replace(existing, text=text, final=existing.final and new.final)
                return
        self.all.append(new)


class CheckResult(msgspec.Struct):
    """One check in one round: its start and, if it passed, the start and latency of the passing call."""

    nodeid: str
    check: str
    services: list[str]
    at: float
    outcome: CheckOutcome = CheckOutcome.SKIPPED
    passed_at: float | None = None
    latency: float | None = None
    file: str = ""
    """The file of the check, relative to pytest's root directory."""
    line: int | None = None
    """The line of the check, from 1 on, if known."""
    measurements: list[Measurement] = []


class RoundFindings(msgspec.Struct):
    """The findings of a round: every failed attempt, and the result of each check."""

    attempts: list[Attempt]
    results: list[CheckResult]


class Results:
    """The results of one round, in order."""

    def __init__(self) -> None:
        """Start without results."""
        self._by_check: dict[str, CheckResult] = {}

    @property
    def all(self) -> list[CheckResult]:
        """The result of each check, in order."""
        return list(self._by_check.values())

    def add(self, report: pytest.TestReport) -> None:
        """Update the result of a check from a report of pytest."""
        note: dict[str, Any] = getattr(report, NOTE, {})
        check = note.get("check", report.nodeid)
        result = self._by_check.setdefault(
            report.nodeid, CheckResult(report.nodeid, check, note.get("services", []), report.start)
        )
        result.file, result.line = _place(report)
        if report.when == "call":
            result.measurements = [Measurement(*each) for each in note.get("measurements", [])]
        match report_outcome(report):
            case ReportOutcome.FAILED:
                result.outcome, result.passed_at, result.latency = CheckOutcome.FAILED, None, None
            case ReportOutcome.REPEATED:
                result.outcome, result.passed_at, result.latency = CheckOutcome.SKIPPED, None, None
            case ReportOutcome.PASSED if report.when == "call" and result.outcome is not CheckOutcome.FAILED:
                result.outcome, result.passed_at = CheckOutcome.PASSED, report.start
                result.latency = report.duration if note.get("latency") is None else note["latency"]


def _place(report: pytest.TestReport) -> tuple[str, int | None]:
    file, line, _ = report.location
    return file, None if line is None else line + 1


def places(rounds: Iterable[RoundFindings]) -> dict[str, tuple[str, int | None]]:
    """Return the file of each check, relative to pytest's root directory, and its line, by node ID."""
    return {result.nodeid: (result.file, result.line) for findings in rounds for result in findings.results}


def over_all_rounds(
    rounds: Iterable[RoundFindings], remediations: Mapping[str, list[Remediation]], services: Iterable[str]
) -> list[Result]:
    """Return the result of each check and each service, for the history."""
    checks = _check_results(list(rounds))
    service_results = (_service_result(name, checks, remediations.get(name, [])) for name in services)
    return [*checks, *filter(None, service_results)]


def _check_results(rounds: list[RoundFindings]) -> list[Result]:
    results: dict[str, Result] = {}
    for findings in rounds:
        failed: dict[str, list[Attempt]] = {}
        for attempt in findings.attempts:
            failed.setdefault(attempt.nodeid, []).append(attempt)
        for check in findings.results:
            results[check.nodeid] = _with_round(results.get(check.nodeid), check, failed.get(check.nodeid, []))
    return list(results.values())


def _with_round(earlier: Result | None, check: CheckResult, failed: list[Attempt]) -> Result:
    """Add a further round to the result of a check; a skip proves nothing."""
    result = earlier or Result(
        "check", check.nodeid, check.check, check.services, check.at, CheckOutcome.SKIPPED, attempts=0
    )
    attempts = len(failed) + (check.outcome is CheckOutcome.PASSED)
    result = msgspec.structs.replace(result, attempts=result.attempts + attempts)
    if check.outcome is CheckOutcome.SKIPPED:
        return result
    if check.outcome is CheckOutcome.FAILED and not result.outcome.has_failed:
        result = msgspec.structs.replace(result, failed_at=check.at)
        if failed:
            first = failed[0]
            result = msgspec.structs.replace(
                result, failed_at=first.started, message=first.message, only_slower=first.only_slower
            )
    is_healed = check.outcome is CheckOutcome.PASSED and result.outcome.has_failed
    outcome = CheckOutcome.HEALED if is_healed else check.outcome
    return msgspec.structs.replace(
        result, outcome=outcome, passed_at=check.passed_at, latency=check.latency, measurements=check.measurements
    )


def _service_result(name: str, checks: Iterable[Result], remediations: list[Remediation]) -> Result | None:
    """Return the result of a service. It has the worst outcome of its checks, and recovered when it answered."""
    own = [check for check in checks if name in check.services]
    if not own:
        return None
    worst = CheckOutcome.worst(check.outcome for check in own)
    failed = [check for check in own if check.outcome.has_failed]
    passed = [check.passed_at for check in own if check.passed_at is not None]
    first = min(failed, key=lambda check: check.failed_at or 0.0, default=None)
    answered = [done.answered_at for done in remediations if done.ok and done.answered_at is not None]
    recovered = [*answered[-1:], *(check.passed_at for check in failed if check.passed_at is not None)]
    passed_at = None
    if worst is CheckOutcome.HEALED:
        passed_at = recovered[0]
    elif worst is CheckOutcome.PASSED:
        passed_at = min(passed)
    return Result(
        "service", name, name, [name], min(check.at for check in own), worst,
        failed_at=first.failed_at if first else None,
        passed_at=passed_at,
        message=first.message if first else None,
    )  # fmt: skip


class Ends:
    """The ends of checks, as pytest reports them."""

    def __init__(self) -> None:
        """Start without reports."""
        self._retried: set[str] = set()
        self._ended: set[str] = set()
        self._crashed: set[str] = set()

    def add(self, report: pytest.TestReport) -> None:
        """Add a report. A check ends with the teardown of an attempt that no other attempt follows."""
        if report_outcome(report) is ReportOutcome.REPEATED:
            self._retried.add(report.nodeid)
        elif report.when == "setup":
            self._retried.discard(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self._retried:
            self._ended.add(report.nodeid)
        elif report.when not in ("call", "teardown"):
            # xdist's report of a check whose worker crashed has no phase.
            self._crashed.add(report.nodeid)

    def missing(self, expected: Iterable[str]) -> set[str]:
        """Return the expected checks that have not ended, and the checks that crashed."""
        return set(expected) - self._ended | self._crashed
