"""The published report: its cases confirm its verdict, and its properties name each action."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from remediations import remediation

from remediation.checks.results import Attempt, CheckResult, RoundFindings
from remediation.run.junit import IncompleteReportError
from remediation.run.publication import Publication
from remediation.run.rounds import Part, Round
from remediation.state.records import CheckOutcome

NODE = "healthtests/test_x.py::test_a"
SICK, WELL = "<failure message='ill'/>", ""


def round_of(folder: Path, children: str, *, attributes: str = "") -> Round:
    """Return a round of one check whose case has these children."""
    xml = folder / f"{len(list(folder.iterdir()))}.xml"
    case = f'<testcase classname="healthtests.test_x" name="test_a" {attributes}>{children}</testcase>'
    xml.write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>")
    failed = [Attempt(NODE, "/a", False, "ill", "E", "ill", 0.0, True, 0, {"api": 0})] if children else []
    outcome = CheckOutcome.FAILED if children else CheckOutcome.PASSED
    check = CheckResult(NODE, "/a", ["api"], 0.0, outcome, file="healthtests/test_x.py", line=7)
    return Round(len(failed), [Part(xml, RoundFindings(failed, [check]))])


def publication(*rounds: Round, **values: Any) -> Publication:
    """Return a publication of these rounds; `values` replace its other fields."""
    nothing: dict[str, Any] = {"remediations": [], "notes": {}, "failures": {}, "lines": [], "prefix": None}
    return Publication(rounds, **{**nothing, **values})


@pytest.fixture
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the report."""
    return tmp_path_factory.mktemp("report") / "health.xml"


def suite(report: Path) -> ET.Element:
    """Return the suite of a report."""
    return ET.parse(report).getroot()[0]


def properties(report: Path) -> dict[str, str]:
    """Return the properties of a report, without the prefix that they have in common."""
    found = suite(report).iterfind("properties/property")
    return {each.get("name", "").removeprefix("auto-heal."): each.get("value", "") for each in found}


def test_a_report_in_which_every_check_passes_has_the_verdict_of_the_run(tmp_path: Path, report: Path) -> None:
    assert publication(round_of(tmp_path, WELL)).write(report, "healed", empty=False) == []
    assert properties(report) == {"verdict": "healed", "rounds": "1"}


@pytest.mark.parametrize("verdict", ["healthy", "sick"])
def test_a_report_in_which_a_check_fails_is_sick_whatever_the_run_says(
    tmp_path: Path, report: Path, verdict: Any
) -> None:
    failed = publication(round_of(tmp_path, SICK)).write(report, verdict, empty=False)

    assert failed == [("healthtests.test_x", "test_a")]
    assert properties(report)["verdict"] == "sick"


def test_a_run_that_selected_no_check_has_no_failed_one(tmp_path: Path, report: Path) -> None:
    xml = tmp_path / "empty.xml"
    xml.write_text("<testsuites><testsuite/></testsuites>")
    empty = publication(Round(5, [Part(xml, RoundFindings([], []))]))

    assert empty.write(report, "unproven", empty=True) == []
    assert properties(report)["verdict"] == "unproven"
    with pytest.raises(IncompleteReportError):
        empty.write(report, "healthy", empty=False)


def test_a_report_has_all_rounds_and_the_services_that_were_checked(tmp_path: Path, report: Path) -> None:
    rounds = [round_of(tmp_path, SICK), round_of(tmp_path, WELL)]

    publication(*rounds, services=["api", "db"], lines=["healed"]).write(report, "healed", empty=False)

    assert properties(report) == {"verdict": "healed", "rounds": "2", "services": "api, db"}
    assert [child.tag for child in suite(report)[1]] == ["flakyFailure"]
    assert suite(report).findtext("system-out") == "healed"


def test_a_report_says_what_was_done_for_each_service(tmp_path: Path, report: Path) -> None:
    done = remediation(cause="dead\nfor good", evidence="here", since=1.0, answered_at=3.5)
    still = remediation("db", cause="", ok=False, since=1.0)

    publication(round_of(tmp_path, WELL), remediations=[done, still]).write(report, "healed", empty=False)

    found = properties(report)
    assert {name: text for name, text in found.items() if name.startswith("api.")} == {
        "api.action": "restart", "api.cause": "dead", "api.evidence": "here", "api.downtime": "2.500",
    }  # fmt: skip
    assert {name for name in found if name.startswith("db.")} == {"db.action"}


def test_notes_failures_and_places_are_those_of_the_cases_with_the_prefix(tmp_path: Path, report: Path) -> None:
    xml = tmp_path / "prefixed.xml"
    placed = round_of(tmp_path, SICK, attributes='file="f"')
    xml.write_text(placed.parts[0].xml.read_text().replace('classname="', 'classname="staging.'))
    sick = Round(1, [Part(xml, placed.findings)])

    publication(
        sick, notes={NODE: "broken by the heal"}, failures={"api rollback": "exit code 1"}, prefix="staging"
    ).write(report, "sick", empty=False)

    check, rollback = suite(report).iterfind("testcase")
    assert (check.get("classname"), check.get("file"), check.get("line")) == (
        "staging.healthtests.test_x", "healthtests/test_x.py", "7",
    )  # fmt: skip
    assert check[0].get("message") == "broken by the heal: ill"
    assert (rollback.get("name"), rollback.findtext("failure")) == ("api rollback", "exit code 1")
