"""For any rounds, no attempt is lost, and no report with a failure passes for a healthy one."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from junit_schema import SCHEMA
from properties import looking_at

from remediation.checks.results import Attempt, RoundFindings
from remediation.config.load import load_project
from remediation.run.health_run import HealthRun, Options
from remediation.run.junit import IncompleteReportError, RoundReport, address, failed, merge, read_code
from remediation.run.rounds import Part, Round
from remediation.run.run_state import RunState
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store

# Whatever a service can answer, with what XML, JSON or a terminal do not take.
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["\x00", "\x1b[31m", "\ud800", "\ufffe", "]]>", "<failure/>", "&amp;", "a\r\nb", "\u2028", "</testcase>", "\"'"]
)
NAMES = st.text("aB1-:[]/.,<&'\" éп😀\x01", max_size=6).map("test_p[{}]".format) | st.sampled_from(
    ["test_a", "TestA::test_a"]
)
# How an attempt ended: well, failed, failed in set-up or teardown, or skipped.
ATTEMPTS = st.tuples(st.sampled_from("pfes"), TEXTS)
# The attempts at a check in a round: any number of failed ones, and the one that counts; none if it was not run.
HISTORIES = st.lists(
    st.tuples(st.lists(ATTEMPTS.filter(lambda one: one[0] in "fe"), max_size=2), ATTEMPTS) | st.none(),
    min_size=1,
    max_size=3,
)
RUNS = st.dictionaries(NAMES, HISTORIES, min_size=1, max_size=4)
History = list[tuple[list[tuple[str, str]], tuple[str, str]] | None]
TAGS = {"f": "failure", "e": "error", "s": "skipped"}


# What pytest writes of a suite; its counters are not believed.
SUITE = dict.fromkeys(("errors", "failures", "skipped", "tests"), "7") | {
    "name": "pytest", "time": "1.5", "timestamp": "2026-01-01T00:00:00+00:00", "hostname": "here",
}  # fmt: skip


def nodeid(name: str) -> str:
    """Return the node ID of a check."""
    return f"healthtests/test_x.py::{name}"


def written(folder: Path, run: dict[str, History], number: int) -> RoundReport:
    """Write the XML of a round as pytest does, which drops the text of attempts that are retried."""
    suite, attempts = ET.Element("testsuite", SUITE), list[Attempt]()
    for name, history in run.items():
        tries = history[number] if number < len(history) else None
        letters = [*tries[0], tries[1]] if tries else []
        for index, (letter, text) in enumerate(letters):
            final = index == len(letters) - 1
            classname, short = address(nodeid(name))
            case = ET.SubElement(suite, "testcase", classname=classname, name=short, time="0.1")
            if final and letter in TAGS:
                ET.SubElement(case, TAGS[letter], message="m").text = "what pytest wrote"
            if letter in "fe":
                said = f"{number}.{index}{text}"
                attempts.append(Attempt(nodeid(name), name, letter == "e", said, "E", said, 0.0, final, index, {}))
    path = folder / f"round-{number}.xml"
    root = ET.Element("testsuites")
    root.append(suite)
    path.write_bytes(ET.tostring(root))
    return RoundReport(path, attempts)


def rounds(folder: Path, run: dict[str, History]) -> list[RoundReport]:
    """Write all rounds of a run."""
    return [written(folder, run, number) for number in range(max(map(len, run.values())))]


def is_sick(history: History) -> bool:
    """Return whether a check fails at the end, by its last round with a result."""
    ends = [tries[1][0] for tries in history if tries]
    return next((end for end in reversed(ends) if end != "s"), "p") in "fe"


@looking_at(150)
@given(
    run=RUNS,
    properties=st.fixed_dictionaries({"auto-heal.cause": TEXTS}),
    lines=st.lists(TEXTS.map("[INFO] {}".format), max_size=2),
)
def test_a_merged_report_is_valid_and_has_every_attempt_once(
    tmp_path: Path, run: dict[str, History], properties: dict[str, str], lines: list[str]
) -> None:
    assume(any(tries for history in run.values() for tries in history))
    parts = rounds(tmp_path, run)
    path = tmp_path / "merged.xml"

    path.write_bytes(merge(parts, properties=properties, system_out=lines))

    assert list(SCHEMA.iter_errors(path)) == []
    suite = ET.parse(path).getroot()[0]
    cases = list(suite.iter("testcase"))
    seen = {name for name, history in run.items() if any(history)}
    assert Counter((case.get("classname"), case.get("name")) for case in cases) == Counter(
        address(nodeid(name)) for name in seen
    )
    kept = Counter((child.text or "")[:3] for case in cases for child in case if child.tag != "skipped")
    assert kept == Counter(attempt.text[:3] for part in parts for attempt in part.attempts)
    for case in cases:
        tags = [child.tag for child in case]
        assert len([tag for tag in tags if tag in TAGS.values()]) <= 1
        kinds = {tag[:5] for tag in tags if tag.startswith(("rerun", "flaky"))}
        assert kinds <= ({"rerun"} if {"failure", "error"} & set(tags) else {"flaky"})
    counted = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    found = [len(cases), *(sum(case.find(tag) is not None for case in cases) for tag in TAGS.values())]
    assert counted == list(map(str, [found[0], found[1], found[2], found[3]]))
    assert sorted(failed(path)) == sorted(address(nodeid(name)) for name, history in run.items() if is_sick(history))
    assert read_code(path) == any(map(is_sick, run.values()))


JUNK = st.binary(max_size=6) | st.sampled_from(
    [b"<!--", b"-->", b"<![CDATA[", b"]]>", b"</testcase>", b"<skipped/>", b"<testcase name='a'/>", b"\x00", b"&", b'"']
)


@looking_at(300)
@given(run=RUNS, at=st.floats(0, 1), junk=JUNK, keep=st.sampled_from(["cut", "insert", "replace"]))
def test_a_damaged_report_of_a_sick_run_is_never_a_healthy_one(
    tmp_path: Path, run: dict[str, History], at: float, junk: bytes, keep: str
) -> None:
    assume(any(map(is_sick, run.values())))
    path = tmp_path / "report.xml"
    whole = merge(rounds(tmp_path, run), properties={}, system_out=[])
    place = int(at * (len(whole) - 1))
    rest = {"cut": b"", "insert": whole[place:], "replace": whole[place + 1 :]}[keep]

    path.write_bytes(whole[:place] + (b"" if keep == "cut" else junk[:1] if keep == "replace" else junk) + rest)

    assert _code(path) != 0


def _code(path: Path) -> int | None:
    try:
        return read_code(path)
    except IncompleteReportError:
        return None


@looking_at(100)
@given(st.binary(max_size=60) | st.text("<testcaseui/> =\"'nmfailre&;!-[]?xl", max_size=60).map(str.encode))
def test_no_bytes_are_raised_at_and_none_are_healthy_by_chance(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.xml"
    path.write_bytes(content)

    assert _code(path) in (None, 0, 1)
    assert _code(path) is None or b"<testcase" in content


class Judge:
    """Runs that end after their first round, in a project of their own."""

    def __init__(self, root: Path) -> None:
        """Configure one service."""
        (root / "auto-heal.toml").write_text('[services.api]\ncommand = "true"\n')
        self.root = root
        self._project = load_project(root, {})

    def code(self, code: int, parts: list[RoundReport]) -> tuple[int, str]:
        """Return the exit code of a run without heals whose pytest ended with `code`, and its verdict."""
        options = Options(heal="off", rounds=None, fail_on_heal=False)
        run = HealthRun(
            project=self._project, store=Store(self._project), event_log=EventLog.of(self._project), options=options,
            run_state=RunState(self._project), again=lambda _: (3, []),
            report=self._project.report, root=self.root, selected=[],
        )  # fmt: skip
        found = [Part(part.xml, RoundFindings(part.attempts, [])) for part in parts]
        return run.finish(Round(code, found)), run.verdict


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """A project whose runs are judged."""
    return Judge(tmp_path)


@looking_at(150)
@given(run=RUNS, code=st.integers(-2, 7), broken=st.none() | st.binary(max_size=20))
def test_a_run_is_healthy_only_if_pytest_and_every_case_say_so(
    judge: Judge, run: dict[str, History], code: int, broken: bytes | None
) -> None:
    parts = [written(judge.root, run, 0), written(judge.root, run, 1)]
    if broken is not None:
        parts[1].xml.write_bytes(broken)
    first_two = {name: history[:2] for name, history in run.items()}
    sick = any(map(is_sick, first_two.values()))

    ended, verdict = judge.code(code, parts)

    if ended == 0:
        assert code == 0
        assert broken is None
        assert not sick
        assert verdict == "healthy"
    if sick or code or broken is not None:
        assert ended != 0
