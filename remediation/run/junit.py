"""The JUnit XML: merge the rounds' reports into one, and read the verdict back from it.

pytest writes one file per round. The merged report also has the attempts, folded into one case per check in the
format of Surefire's rerun reports, which the Jenkins xUnit schema (junit-10.xsd) describes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from msgspec import Struct, field

from remediation.checks.pytest_internals import bin_xml_escape, mangle_test_address
from remediation.checks.results import Attempt
from remediation.system.secrets import redacted_value
from remediation.system.tracebacks import redacted_failure, redacted_output

Address = tuple[str, str]

HEALTHY, SICK = 0, 1

# Characters that XML 1.0 does not allow, section 2.2.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class IncompleteReportError(Exception):
    """A report is missing, unreadable, or from a run that did not finish."""


class RoundReport(Struct, frozen=True):
    """The XML of one execution of the suite, and its failed attempts."""

    xml: Path
    attempts: list[Attempt]


class _CaseOutcome(Enum):
    """The outcome of a case in a report, the worst first. The values are the names of the XML elements."""

    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"
    PASSED = "passed"
    """A passed case has no such element."""

    @property
    def is_failed(self) -> bool:
        """Whether the check failed, or its set-up or teardown."""
        return self in (_CaseOutcome.FAILURE, _CaseOutcome.ERROR)


_BY_RANK = list(_CaseOutcome)
_FAILURE_TAGS = [outcome.value for outcome in _CaseOutcome if outcome.is_failed]


class _Case(Struct):
    """One check over all rounds."""

    element: ET.Element
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def outcome(self) -> _CaseOutcome:
        return _outcome(self.element)


def address(nodeid: str, prefix: str | None = None) -> Address:
    """Return the class name and the name of a test in pytest's XML."""
    # pytest's own rule. It changed in 9.2 and has no public API.
    *classes, name = mangle_test_address(nodeid)
    return ".".join([prefix, *classes] if prefix else classes), bin_xml_escape(name)


def merge(
    rounds: Iterable[RoundReport],
    *,
    properties: Mapping[str, str],
    system_out: Iterable[str],
    prefix: str | None = None,
    notes: Mapping[Address, str] | None = None,
    failures: Mapping[Address, str] | None = None,
    places: Mapping[Address, tuple[str, int | None]] | None = None,
) -> bytes:
    """Return one report of all rounds.

    `notes` are put in front of the messages of failed checks. `failures` are those outside the checks, with reasons.

    `places` has the file of each check, and its line from 1 on. The report has them if pytest's own has them, as with
    `junit_family = "xunit1"`.

    The last round decides the outcome of a check. A skip or an absence proves nothing: an earlier failure remains.
    Raises IncompleteReportError if the report of a round is unreliable.
    """
    cases: dict[Address, _Case] = {}
    suite = ET.Element("testsuite")
    seconds, timestamp, has_places = 0.0, None, False
    for report in rounds:
        part = _suite(report.xml)
        has_places |= part.find("testcase[@file]") is not None
        timestamp = timestamp or part.get("timestamp")
        seconds += _seconds(part)
        suite.attrib = dict(part.attrib)
        suite[:] = [child for child in part if child.tag == "properties"]
        _add_round(cases, part, report.attempts, prefix)
    ordered = [_case_element(key, case, (notes or {}).get(key, "")) for key, case in cases.items()]
    ordered += [_failure(key, reason) for key, reason in (failures or {}).items()]
    if has_places:
        _add_places(ordered, places or {})
    if timestamp:
        suite.set("timestamp", timestamp)
    suite.set("time", f"{seconds:.3f}")
    _count(suite, ordered)
    _add_properties(suite, properties)
    suite.extend(ordered)
    if lines := list(system_out):
        ET.SubElement(suite, "system-out").text = _text("\n".join(lines))
    root = ET.Element("testsuites", name="pytest tests")
    root.append(suite)
    _redact(suite)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}'.encode()


def read_code(path: Path) -> int:
    """Return the exit code for a report on disk: 0 if every check passes, 1 if one fails.

    Counts the cases and ignores the counters. Raises IncompleteReportError.
    """
    return SICK if failed(path) else HEALTHY


def failed(path: Path) -> list[Address]:
    """Return the failed checks of a report on disk. Raises IncompleteReportError."""
    cases = list(_suite(path).iter("testcase"))
    if not cases:
        raise IncompleteReportError("the report has no case")
    return [_address(case) for case in cases if _outcome(case).is_failed]


def _suite(path: Path) -> ET.Element:
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - written by the pytest that we started
    except FileNotFoundError:
        raise IncompleteReportError(f"there is no report {path.name}") from None
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        raise IncompleteReportError(f"the report {path.name} cannot be read: {error}") from None
    suite = root if root.tag == "testsuite" else root.find("testsuite")
    if suite is None:
        raise IncompleteReportError(f"the report {path.name} has no test suite")
    for case in suite.iter("testcase"):
        # pytest writes these after an interruption, an internal error, or the crash of a worker of xdist.
        if not case.get("name") or (case.get("classname"), case.get("name")) == ("pytest", "internal"):
            raise IncompleteReportError("the run ended before its end: the report has a case without a name")
    return suite


def _address(case: ET.Element) -> Address:
    return case.get("classname", ""), case.get("name", "")


def _outcome(case: ET.Element) -> _CaseOutcome:
    tags = {child.tag for child in case}
    return next((outcome for outcome in _CaseOutcome if outcome.value in tags), _CaseOutcome.PASSED)


def _add_round(cases: dict[Address, _Case], suite: ET.Element, attempts: Iterable[Attempt], prefix: str | None) -> None:
    elements: dict[Address, list[ET.Element]] = {}
    for element in suite.iter("testcase"):
        elements.setdefault(_address(element), []).append(element)
    failed: dict[Address, list[Attempt]] = {}
    for attempt in attempts:
        failed.setdefault(address(attempt.nodeid, prefix), []).append(attempt)
    if lost := failed.keys() - elements.keys():
        raise IncompleteReportError(f"the report has no case of {', '.join('.'.join(key) for key in sorted(lost))}")
    for key, candidates in elements.items():
        case = _Case(_deciding(candidates, failed.get(key, [])), attempts=failed.get(key, []))
        case.seconds = sum(_seconds(element) for element in candidates)
        if earlier := cases.get(key):
            case.seconds += earlier.seconds
            case.attempts = earlier.attempts + case.attempts
            if case.outcome is _CaseOutcome.SKIPPED and earlier.outcome.is_failed:
                case.element = earlier.element
        cases[key] = case


def _deciding(candidates: list[ET.Element], failed: list[Attempt]) -> ET.Element:
    """Return the decisive one of the cases that pytest wrote for a check, with the output of the last.

    pytest writes one for each retry, and a second one when teardown fails as well. A failed subtest leaves a failure
    even in an attempt that was repeated.
    """
    last = candidates[-1]
    if failed and not any(attempt.final for attempt in failed):
        return last
    worst = min(reversed(candidates), key=lambda element: _BY_RANK.index(_outcome(element)))
    if worst is not last and worst.find("system-out") is None and worst.find("system-err") is None:
        worst.extend(child for child in last if child.tag.startswith("system-"))
    return worst


def _seconds(element: ET.Element) -> float:
    try:
        return float(element.get("time") or 0)
    except ValueError:
        raise IncompleteReportError(f"a time is no number: {element.get('time')}") from None


def _case_element(key: Address, case: _Case, note: str) -> ET.Element:
    element = ET.Element("testcase", classname=key[0], name=key[1], time=f"{case.seconds:.3f}")
    others = list(case.attempts)
    seen: set[str] = set()
    for child in case.element:
        if child.tag not in (case.outcome.value, "system-out", "system-err") or child.tag in seen:
            continue
        seen.add(child.tag)
        if child.tag in _FAILURE_TAGS:
            final = next((attempt for attempt in reversed(others) if attempt.final), None)
            if final:
                others.remove(final)
                child.text = _text(final.text)
            child.set("type", final.type if final else "Failed")
            if note:
                child.set("message", _text(f"{note}: {child.get('message', '')}"))
                child.text = _text(f"{note}\n\n{child.text or ''}")
        element.append(child)
    kind = "rerun" if case.outcome.is_failed else "flaky"
    for attempt in others:
        tag = f"{kind}{'Error' if attempt.error else 'Failure'}"
        child = ET.SubElement(element, tag, message=_text(attempt.message), type=_text(attempt.type))
        child.text = _text(attempt.text)
    return element


def _failure(key: Address, reason: str) -> ET.Element:
    element = ET.Element("testcase", classname=key[0], name=key[1], time="0.000")
    ET.SubElement(element, "failure", message=_text(reason), type="Failed").text = _text(reason)
    return element


def _add_places(cases: Iterable[ET.Element], places: Mapping[Address, tuple[str, int | None]]) -> None:
    """Add file and line of its check to each case; the schema of xunit2 does not allow them."""
    for case in cases:
        file, line = places.get(_address(case), ("", None))
        if file:
            case.set("file", _text(file))
        if line is not None:
            case.set("line", str(line))


def _count(suite: ET.Element, cases: list[ET.Element]) -> None:
    outcomes = [_outcome(case) for case in cases]
    suite.set("tests", str(len(cases)))
    counters = {
        "failures": _CaseOutcome.FAILURE, "errors": _CaseOutcome.ERROR, "skipped": _CaseOutcome.SKIPPED
    }  # fmt: skip
    for counter, outcome in counters.items():
        suite.set(counter, str(outcomes.count(outcome)))


def _add_properties(suite: ET.Element, properties: Mapping[str, str]) -> None:
    parent = suite.find("properties")
    if parent is None:
        parent = ET.SubElement(suite, "properties")
    for name, value in properties.items():
        ET.SubElement(parent, "property", name=_text(name), value=_text(value))


def _redact(suite: ET.Element) -> None:
    """Redact what no single report of pytest contains, such as a property of the whole suite.

    Names are left, because they identify checks; the names from pytest have no secrets.
    """
    for element in suite.iter():
        if element.text:
            is_output = element.tag.startswith("system-")
            element.text = (redacted_output if is_output else redacted_failure)(element.text)
        for name in ("message", "value"):
            if text := element.get(name):
                element.set(name, redacted_value(element.get("name", ""), text))


def _text(text: str) -> str:
    """Return text with the characters that XML does not allow made visible."""
    return _FORBIDDEN.sub(lambda match: f"#x{ord(match[0]):02X}", text)
