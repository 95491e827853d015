"""The merge of rounds into one report, and the verdict that is read back from it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from _pytest.junitxml import bin_xml_escape, mangle_test_address
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediation.checks.results import Attempt
from remediation.run import junit
from remediation.run.junit import IncompleteReportError, RoundReport, address, merge, read_code

# What pytest and rerunfailures write for an attempt at a check: pass, skip, failure, error in set-up, error in
# teardown, and a failure followed by an error in teardown, which is two cases. A retried attempt is an empty case.
_WRITTEN = {"p": [""], "s": ["skipped"], "f": ["failure"], "e": ["error"], "t": ["error"], "b": ["failure", "error"]}


def written(folder: Path, history: dict[str, str], number: int = 0) -> RoundReport:
    """Write a round: a string of letters per check, one per attempt, or None for a check that did not run."""
    cases, attempts = [], []
    for name, letters in history.items():
        nodeid = f"healthtests/test_x.py::{name}"
        classname, short = (quoteattr(part) for part in address(nodeid))
        for index, letter in enumerate(letters):
            final = index == len(letters) - 1
            for tag in _WRITTEN[letter] if final else [""]:
                outcome = f'<{tag} message="m">what pytest wrote</{tag}>' if tag else ""
                cases.append(f'<testcase classname={classname} name={short} time="0.250">{outcome}</testcase>')
            if letter not in "ps":
                said = f"attempt {number}.{index} of {name}"
                attempts.append(Attempt(nodeid, name, letter in "et", said, "ValueError", said, 0.0, final, index, {}))
    xml = folder / f"round-{number}.xml"
    timing = f'time="1.25" timestamp="2026-01-0{number + 1}T00:00:00+00:00"'
    return RoundReport(report(xml, "".join(cases), suite=timing), attempts)


def report(path: Path, cases: str, *, suite: str = "") -> Path:
    """Write a report with these cases and attributes of the suite."""
    path.write_text(f'<testsuites><testsuite name="pytest" {suite}>{cases}</testsuite></testsuites>', encoding="utf-8")
    return path


def merged(*rounds: RoundReport) -> ET.Element:
    """Return the suite of the merged report."""
    return ET.fromstring(merge(rounds, properties={}, system_out=[]))[0]


def tags(parent: ET.Element, name: str = "test_a") -> list[str]:
    """Return the names of the children of the only case with a name."""
    (found,) = parent.iterfind(f"testcase[@name='{name}']")
    return [child.tag for child in found]


# Addresses.


@pytest.mark.parametrize(
    ("nodeid", "prefix", "expected"),
    [
        ("test_x.py::test_a", None, ("test_x", "test_a")),
        ("healthtests/deep/test_x.py::test_a", None, ("healthtests.deep.test_x", "test_a")),
        ("test_x.py::TestA::TestB::test_a", None, ("test_x.TestA.TestB", "test_a")),
        ("test_x.py::test_a[a::b/c.py]", None, ("test_x", "test_a[a::b/c.py]")),
        ("test_x.py::test_a[x[y]-z]", None, ("test_x", "test_a[x[y]-z]")),
        ("test_x.py::test_a", "staging", ("staging.test_x", "test_a")),
        ("healthtests/test_x.py", None, ("", "healthtests.test_x")),
        ("healthtests/test_x.py", "staging", ("staging", "healthtests.test_x")),
    ],
)
def test_an_address_is_class_name_and_name(nodeid: str, prefix: str | None, expected: tuple[str, str]) -> None:
    assert address(nodeid, prefix) == expected


@pytest.mark.parametrize(
    "nodeid",
    [
        "odd[1]/test_x.py::test_a",
        "odd[1]/test_x.py::TestA::test_a[b]",
        "test[1].py",
        "test_x.py::test_a[open",
        "test_x.py::test_a[\x00\x7f]",
        "test_x.py::test_a[привет]",
    ],
)
def test_an_address_is_the_one_that_this_pytest_writes(nodeid: str) -> None:
    # Where a bracket begins the parameters has changed with pytest 9.2.
    *classes, name = mangle_test_address(nodeid)

    assert address(nodeid) == (".".join(classes), bin_xml_escape(name))


# Rounds.


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        (["p"], []),
        (["s"], ["skipped"]),
        (["f"], ["failure"]),
        (["e"], ["error"]),
        (["b"], ["failure"]),
        (["fp"], ["flakyFailure"]),
        (["efp"], ["flakyError", "flakyFailure"]),
        (["fff"], ["failure", "rerunFailure", "rerunFailure"]),
        (["fb"], ["failure", "rerunFailure"]),
        (["ffe"], ["error", "rerunFailure", "rerunFailure"]),
        (["fs"], ["skipped", "flakyFailure"]),
        (["bp"], ["flakyFailure"]),
        (["f", "p"], ["flakyFailure"]),
        (["fff", "fp"], ["flakyFailure"] * 4),
        (["ff", "ff"], ["failure", "rerunFailure", "rerunFailure", "rerunFailure"]),
        (["e", "f"], ["failure", "rerunError"]),
        (["f", "e", "p"], ["flakyFailure", "flakyError"]),
        (["ff", "s"], ["failure", "rerunFailure"]),
        (["f", "s", "s"], ["failure"]),
        (["f", "s", "p"], ["flakyFailure"]),
        (["f", ""], ["failure"]),
        (["p", "s"], ["skipped"]),
        (["p", "f"], ["failure"]),
        (["", "p"], []),
    ],
)
def test_the_last_round_decides_a_check_but_a_skip_or_an_absence_proves_nothing(
    tmp_path: Path, rounds: list[str], expected: list[str]
) -> None:
    suite = merged(*(written(tmp_path, {"test_a": one, "test_b": "p"}, at) for at, one in enumerate(rounds)))

    assert tags(suite) == expected


@pytest.mark.parametrize("children", [("<skipped/>", ""), ("", "<skipped/>")])
def test_a_check_of_which_a_part_was_skipped_has_not_passed(tmp_path: Path, children: tuple[str, str]) -> None:
    cases = (f'<testcase classname="x" name="test_a">{child}</testcase>' for child in children)
    xml = report(tmp_path / "round.xml", "".join(cases))

    assert tags(merged(RoundReport(xml, []))) == ["skipped"]


def test_a_failed_subtest_of_an_attempt_that_was_repeated_does_not_decide(tmp_path: Path) -> None:
    classname, name = address("test_x.py::test_a")
    cases = (f'<testcase classname="{classname}" name="{name}">{child}</testcase>' for child in ("<failure/>", ""))
    xml = report(tmp_path / "round.xml", "".join(cases))
    repeated = Attempt("test_x.py::test_a", "test_a", False, "ill", "ValueError", "ill", 0.0, False, 0, {})

    assert tags(merged(RoundReport(xml, [repeated]))) == ["flakyFailure"]


def test_a_final_failure_carries_type_and_text_of_the_last_attempt(tmp_path: Path) -> None:
    suite = merged(*(written(tmp_path, {"test_a": "ff"}, number) for number in range(2)))

    failure, *others = suite[-1]
    assert (failure.get("type"), failure.text) == ("ValueError", "attempt 1.1 of test_a")
    assert [other.get("message") for other in others] == [f"attempt {at} of test_a" for at in ("0.0", "0.1", "1.0")]
    assert [other.text for other in others] == [other.get("message") for other in others]
    assert {other.get("type") for other in others} == {"ValueError"}


def test_a_failure_that_a_later_skip_did_not_cancel_keeps_its_own_attempt(tmp_path: Path) -> None:
    suite = merged(written(tmp_path, {"test_a": "f"}), written(tmp_path, {"test_a": "fs"}, 1))

    failure, repeated = suite[-1]
    assert (failure.text, repeated.text) == ("attempt 0.0 of test_a", "attempt 1.0 of test_a")


def test_a_case_has_class_and_name_of_its_check(tmp_path: Path) -> None:
    suite = merged(written(tmp_path, {"test_a": "p"}))

    assert (suite[-1].get("classname"), suite[-1].get("name")) == address("healthtests/test_x.py::test_a")


def test_what_did_not_fail_is_left_as_pytest_wrote_it(tmp_path: Path) -> None:
    children = '<skipped type="pytest.skip" message="m">why</skipped><system-out>said</system-out>'
    xml = report(tmp_path / "round.xml", f'<testcase classname="x" name="test_a">{children}</testcase>')

    skipped, output = merged(RoundReport(xml, []))[-1]

    assert (skipped.attrib, skipped.text) == ({"type": "pytest.skip", "message": "m"}, "why")
    assert (output.attrib, output.text) == ({}, "said")


def test_a_failure_without_an_attempt_has_a_type_all_the_same(tmp_path: Path) -> None:
    xml = report(tmp_path / "round.xml", '<testcase classname="x" name="test_a"><failure/></testcase>')

    assert merged(RoundReport(xml, []))[-1][0].get("type") == "Failed"


def test_attempts_stay_with_the_check_that_they_are_attempts_at(tmp_path: Path) -> None:
    names = ["test_a", "test_a[a::b/c.py]", "TestA::test_a", "test_a[x]"]

    suite = merged(written(tmp_path, dict.fromkeys(names, "fp")))

    said = [child.get("message") for element in suite.iterfind("testcase") for child in element]
    assert said == [f"attempt 0.0 of {name}" for name in names]


def test_counters_are_counted_anew(tmp_path: Path) -> None:
    histories = ["p", "fp", "ff", "b", "t", "e", "s", "ep"]

    suite = merged(written(tmp_path, {f"test_{letters}": letters for letters in histories}))

    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["8", "2", "2", "1"]


def test_times_add_up_from_when_the_first_round_began(tmp_path: Path) -> None:
    suite = merged(*(written(tmp_path, {"test_a": "fp"}, number) for number in range(2)))

    assert (suite.get("time"), suite[-1].get("time")) == ("2.500", "1.000")
    assert suite.get("timestamp") == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ("<failure/><skipped/>", ["failure"]),
        ("<skipped/><failure/>", ["failure"]),
        ("<error/><failure/>", ["failure"]),
        ("<failure/><failure/><error/>", ["failure"]),
        ("<skipped/><skipped/>", ["skipped"]),
        ("<properties/><failure/><system-out/>", ["failure", "system-out"]),
    ],
)
def test_a_case_has_one_outcome_and_the_worst_is_it(tmp_path: Path, children: str, expected: list[str]) -> None:
    xml = report(tmp_path / "round.xml", f'<testcase classname="x" name="test_a">{children}</testcase>')

    assert tags(merged(RoundReport(xml, []))) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [("<system-out>a retry</system-out>", ""), ("<failure/>", "<error/>")],
    ids=["a retry that passes", "a teardown that fails as well"],
)
def test_the_output_of_the_last_attempt_is_kept(tmp_path: Path, first: str, second: str) -> None:
    last = "<system-out>the last</system-out>"
    cases = (f'<testcase classname="x" name="test_a">{more}</testcase>' for more in (first, second + last))
    xml = report(tmp_path / "round.xml", "".join(cases))

    assert merged(RoundReport(xml, []))[-1].findtext("system-out") == "the last"


@pytest.mark.parametrize(("own", "other"), [("system-out", "system-err"), ("system-err", "system-out")])
def test_a_case_that_has_output_of_its_own_takes_none_from_the_last(tmp_path: Path, own: str, other: str) -> None:
    worst, last = f"<failure/><{own}>own</{own}>", f"<error/><{own}>last</{own}><{other}>last</{other}>"
    cases = (f'<testcase classname="x" name="test_a">{children}</testcase>' for children in (worst, last))
    xml = report(tmp_path / "round.xml", "".join(cases))

    _, *outputs = merged(RoundReport(xml, []))[-1]

    assert [(output.tag, output.text) for output in outputs] == [(own, "own")]


def test_a_case_without_a_time_took_none(tmp_path: Path) -> None:
    xml = report(tmp_path / "round.xml", '<testcase classname="x" name="test_a"/>')

    suite = merged(RoundReport(xml, []))

    assert (suite.get("time"), suite[-1].get("time")) == ("0.000", "0.000")


def test_the_suite_is_named_as_in_the_last_round(tmp_path: Path) -> None:
    case = '<testcase classname="x" name="test_a"/>'
    rounds = [
        RoundReport(report(tmp_path / f"{name}.xml", case, suite=f'hostname="{name}"'), []) for name in ("one", "two")
    ]

    root = ET.fromstring(merge(rounds, properties={}, system_out=[]))

    assert (root.tag, root.get("name")) == ("testsuites", "pytest tests")
    assert (root[0].get("name"), root[0].get("hostname")) == ("pytest", "two")


# Additions to pytest's own reports.


def test_a_note_is_put_in_front_of_message_and_text_of_its_failed_check_alone(tmp_path: Path) -> None:
    noted = written(tmp_path, {"test_a": "f", "test_b": "f", "test_c": "p"})
    notes = {address(f"healthtests/test_x.py::{name}"): "broken by the heal" for name in ("test_a", "test_c")}

    suite = ET.fromstring(merge([noted], properties={}, system_out=[], notes=notes))[0]

    (with_note,), (without,), passed = suite[-3:]
    assert with_note.get("message") == "broken by the heal: m"
    assert with_note.text == "broken by the heal\n\nattempt 0.0 of test_a"
    assert (without.get("message"), without.text) == ("m", "attempt 0.0 of test_b")
    assert not list(passed)


def test_a_failure_outside_the_checks_is_a_failed_case(tmp_path: Path) -> None:
    failures = {("auto-heal", "api rollback"): "exit code 1"}

    suite = ET.fromstring(merge([written(tmp_path, {"test_a": "p"})], properties={}, system_out=[], failures=failures))[
        0
    ]

    (failure,) = suite[-1]
    assert suite[-1].attrib == {"classname": "auto-heal", "name": "api rollback", "time": "0.000"}
    assert (failure.tag, failure.text) == ("failure", "exit code 1")
    assert failure.attrib == {"message": "exit code 1", "type": "Failed"}
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


PLACES: dict[tuple[str, str], tuple[str, int | None]] = {
    ("x", "test_a"): ("test_x.py", 7), ("x", "test_b"): ("checks.yaml", None)
}  # fmt: skip


def placed(folder: Path, *attributes: str, places: Mapping[Any, Any] | None = None) -> list[dict[str, str]]:
    """Merge rounds of three checks, each with these attributes; return where each case lies."""
    cases = ["".join(f'<testcase classname="x" name="test_{name}" {more}/>' for name in "abc") for more in attributes]
    rounds = [RoundReport(report(folder / f"{at}.xml", text), []) for at, text in enumerate(cases)]
    suite = ET.fromstring(merge(rounds, properties={}, system_out=[], places=places))[0]
    return [
        {key: case.attrib[key] for key in ("file", "line") if key in case.attrib} for case in suite.iterfind("testcase")
    ]


@pytest.mark.parametrize("rounds", [('file="f"',), ('file="f"', ""), ("", 'file="f"')])
def test_cases_have_their_places_if_pytest_wrote_places_in_any_round(tmp_path: Path, rounds: tuple[str, ...]) -> None:
    found = placed(tmp_path, *rounds, places=PLACES)

    assert found == [{"file": "test_x.py", "line": "7"}, {"file": "checks.yaml"}, {}]


@pytest.mark.parametrize(("attributes", "places"), [("", PLACES), ('file="f"', None)])
def test_cases_have_no_places_if_pytest_wrote_none_or_none_are_known(
    tmp_path: Path, attributes: str, places: Mapping[Any, Any] | None
) -> None:
    assert placed(tmp_path, attributes, places=places) == [{}, {}, {}]


@pytest.mark.parametrize("own", ["", '<properties><property name="build" value="7"/></properties>'])
def test_all_properties_are_in_one_element(tmp_path: Path, own: str) -> None:
    xml = report(tmp_path / "round.xml", f'{own}<testcase classname="x" name="test_a"/>')

    suite = ET.fromstring(merge([RoundReport(xml, [])], properties={"verdict": "sick"}, system_out=[]))[0]

    (found,) = suite.findall("properties")
    assert found[-1].attrib == {"name": "verdict", "value": "sick"}


def test_output_failures_messages_and_values_are_redacted_each_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit, "redacted_output", lambda text: f"{text}, as output")
    monkeypatch.setattr(junit, "redacted_failure", lambda text: f"{text}, as a failure")
    monkeypatch.setattr(junit, "redacted_value", lambda name, text: f"{text}, as {name or 'a message'}")
    case = '<testcase classname="x" name="test_a"><failure message="m">why</failure></testcase>'
    own = '<properties><property name="build" value="7"/></properties>'
    xml = report(tmp_path / "round.xml", own + case)

    suite = ET.fromstring(merge([RoundReport(xml, [])], properties={}, system_out=["said"]))[0]

    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.text, failure.get("message")) == ("why, as a failure", "m, as a message")
    assert suite.findtext("system-out") == "said, as output"
    assert [each.get("value") for each in suite.iterfind("properties/property")] == ["7, as build"]


def test_properties_and_log_lines_are_written_as_xml_can_hold_them(tmp_path: Path) -> None:
    own = '<properties><property name="build" value="7"/></properties><testcase classname="x" name="test_a"/>'
    xml = report(tmp_path / "round.xml", own)

    verdict = {"verdict": "<&\"'\x00\ud800\ufffe>"}
    data = merge([RoundReport(xml, [])], properties=verdict, system_out=["привет\x1b[31m", "]]>"])

    suite = ET.fromstring(data)[0]
    found = {each.get("name"): each.get("value") for each in suite.iterfind("properties/property")}
    assert found == {"build": "7", "verdict": "<&\"'#x00#xD800#xFFFE>"}
    assert suite.findtext("system-out") == "привет#x1B[31m\n]]>"


@pytest.mark.parametrize(
    "attributes", ['classname="x" name="test_b" time="soon"', 'time="0.1"', 'classname="pytest" name="internal"']
)
def test_rounds_with_one_that_cannot_be_relied_on_are_not_merged(tmp_path: Path, attributes: str) -> None:
    whole = written(tmp_path, {"test_a": "p"})
    broken = RoundReport(report(tmp_path / "broken.xml", f"<testcase {attributes}/>"), [])

    with pytest.raises(IncompleteReportError):
        merged(whole, broken)


def test_an_attempt_at_a_check_that_the_report_lacks_means_a_report_that_is_not_whole(tmp_path: Path) -> None:
    whole, lacking = written(tmp_path, {"test_a": "f"}, 1), written(tmp_path, {"test_b": "p"})

    with pytest.raises(IncompleteReportError):
        merged(RoundReport(lacking.xml, whole.attempts))


# The verdict.


@pytest.mark.parametrize("counters", ['failures="0" errors="0" tests="9"', 'failures="3" errors="2"', ""])
@pytest.mark.parametrize(
    ("children", "code"),
    [("", 0), ("<skipped/>", 0), ("<flakyFailure/>", 0), ("<failure/>", 1), ("<skipped/><error/>", 1)],
)
def test_the_code_is_read_from_the_cases_and_not_from_the_counters(
    tmp_path: Path, children: str, counters: str, code: int
) -> None:
    case = f'<testcase classname="x" name="a">{children}</testcase>'

    assert read_code(report(tmp_path / "flat.xml", case, suite=counters)) == code
    assert read_code(report(tmp_path / "deep.xml", f"<testsuite>{case}</testsuite>", suite=counters)) == code


_CASE = b'<testcase classname="x" name="a"/>'
_WHOLE = b"<testsuites><testsuite>" + _CASE + b"</testsuite></testsuites>"


@pytest.mark.parametrize(
    "content",
    [
        *[b"", b"\x00", _WHOLE[:-1], _WHOLE[:60], _WHOLE + b"<", b"\xff" + _WHOLE, b"<testsuites/>", b"<html/>"],
        b'<?xml version="1.0" encoding="big5"?>' + _WHOLE,
        *[b'<?xml version="1.0" encoding="no-such"?>' + _WHOLE, _WHOLE.replace(b'"x"', b'"\xff"')],
        *[_WHOLE.replace(b' name="a"', b""), _WHOLE.replace(b'"a"', b'""')],
        *[_WHOLE.replace(b'"x" name="a"', b'"pytest" name="internal"'), _WHOLE.replace(_CASE, b"")],
    ],
)
def test_a_report_that_is_not_whole_has_no_verdict(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.xml"
    path.write_bytes(content)

    with pytest.raises(IncompleteReportError):
        read_code(path)


@pytest.mark.parametrize(("children", "code"), [("", 0), ("<failure/>", 1)])
def test_a_report_may_be_the_suite_itself(tmp_path: Path, children: str, code: int) -> None:
    path = tmp_path / "report.xml"
    path.write_text(f'<testsuite><testcase classname="x" name="a">{children}</testcase></testsuite>')

    assert read_code(path) == code


def test_a_report_that_is_missing_or_no_file_has_no_verdict(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.xml", tmp_path):
        with pytest.raises(IncompleteReportError):
            read_code(path)


_HISTORIES = st.dictionaries(
    st.one_of(
        st.sampled_from(["test_a", "TestA::test_a", "test_a[x]"]),
        st.text("aB1-:[]/.,<&'\" éп😀", max_size=8).map("test_p[{}]".format),
    ),
    st.lists(st.from_regex("[feb]{0,2}[psfetb]|", fullmatch=True), min_size=3, max_size=3),
    min_size=1,
    max_size=5,
)


@given(_HISTORIES, st.integers(1, 3))
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_failure_and_no_attempt_is_ever_lost(tmp_path: Path, histories: dict[str, list[str]], rounds: int) -> None:
    ends = {name: "".join(each[-1:] for each in letters[:rounds]) for name, letters in histories.items()}
    sick = {name for name, letters in ends.items() if letters.replace("s", "")[-1:] in tuple("febt")}
    run = {name for name, letters in ends.items() if letters}
    parts = [written(tmp_path, {name: letters[at] for name, letters in histories.items()}, at) for at in range(rounds)]
    path = tmp_path / "merged.xml"

    path.write_bytes(merge(parts, properties={}, system_out=[]))

    cases = list(ET.parse(path).iter("testcase"))
    assert Counter(case.get("name") for case in cases) == Counter(address(f"x::{name}")[1] for name in run)
    texts = Counter(child.text for case in cases for child in case if child.tag != "skipped")
    assert texts == Counter(attempt.text for part in parts for attempt in part.attempts)
    if run:
        assert read_code(path) == (1 if sick else 0)
