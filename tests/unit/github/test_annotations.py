"""The annotations of a step: their checks, texts and places; no text from outside becomes a command.

What the runner makes of a line is done here after its own rules, actions/runner, src/Runner.Common/ActionCommand.cs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outcomes import outcome_of

from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.deployment.comparison import Change, ChangeKind
from remediation.github import is_step
from remediation.github.annotations import annotation_lines, workspace
from remediation.messages.message import first_line, printable
from remediation.state.records import CheckOutcome, Result

HOSTILE = [
    "::error::fake", "##[error]fake", "a::b::c", "%0A::error::x", "%25 %2C %3A %", "line\n::stop-commands::x\r\n",
    "a, b=c, line=99", "title: x,file=/etc/passwd", "日本 ю 🎉", "\ud800\udfff", "\x1b[31m\x00\x85\u2028\u202e", " ",
    "", "%" * 1_000_000, "\n" * 1_000_000, "🎉" * 1_000_000,
]  # fmt: skip


# The runner.


@dataclass(frozen=True)
class Command:
    """What the runner reads from a line."""

    name: str
    properties: dict[str, str]
    data: str


def unescaped(text: str, escapes: Mapping[str, str]) -> str:
    """Decode the escapes one after the other, as the runner does."""
    for escape, char in escapes.items():
        text = text.replace(escape, char)
    return text


DATA = {"%0D": "\r", "%0A": "\n", "%25": "%"}
PROPERTY = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}


def taken(line: str) -> Command:
    """Return the command in a line."""
    assert len(line.splitlines()) == 1
    line = line.lstrip()
    assert line.startswith("::")
    end = line.index("::", 2)
    name, _, told = line[2:end].partition(" ")
    pairs = [pair.split("=", 1) for pair in told.strip().split(",") if pair]
    assert all(len(pair) == 2 for pair in pairs), line
    properties = {key: unescaped(value, PROPERTY) for key, value in pairs}
    return Command(name, properties, unescaped(line[end + 2 :], DATA))


# What happened.


def check(name: str, *, failed: bool = False, well: bool = True, message: str | None = None, tries: int = 3) -> Result:
    """Return the result of a check."""
    failed_at, passed_at = 1.0 if failed else None, 2.0 if well else None
    return Result(
        "check", f"t.py::{name}", name, ["api"], 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at,
        latency=0.2 if well else None, attempts=tries, message=message,
    )  # fmt: skip


def change(name: str, key: str, **values: object) -> Change:
    """Return the change of a check."""
    return Change(f"t.py::{name}", name, ChangeKind(key), values)


def before(**outcomes: str) -> Baseline:
    """Return a baseline of checks."""
    return Baseline(
        0.0, {f"t.py::{name}": BaselineCheck(name, CheckOutcome(outcome)) for name, outcome in outcomes.items()}
    )


ROOT = Path("/nowhere/repo")


def told(
    results: Iterable[Result],
    *changes: Change,
    places: Mapping[str, tuple[str, int | None]] | None = None,
    verdict: str = "sick",
    root: Path = ROOT,
    workspace: Path | None = ROOT,
    baseline: Baseline | None = None,
) -> list[Command]:
    """Return the annotations as the runner reads them."""
    lines = annotation_lines(
        results, changes, places or {}, root=root, workspace=workspace, verdict=verdict, baseline=baseline
    )
    return [taken(line) for line in lines]


def seen(found: Iterable[Command]) -> list[tuple[str, str, str]]:
    """Return level, title and message."""
    return [(one.name, one.properties["title"], one.data) for one in found]


# Who gets one.


def test_what_is_sick_is_an_error_with_its_reason_and_attempts() -> None:
    results = [check("a", failed=True, well=False, message="HTTP 500"), check("b"), check("c", well=False)]

    assert seen(told(results)) == [("error", "auto-heal: sick", "a: sick: HTTP 500 (3 attempts)")]


def test_one_attempt_is_one() -> None:
    (found,) = told([check("a", failed=True, well=False, tries=1)])

    assert found.data == "a: sick: failed (1 attempt)"


def test_what_was_healed_is_a_warning() -> None:
    results = [check("a", failed=True, message="HTTP 500")]

    assert seen(told(results, verdict="healed")) == [
        ("warning", "auto-heal: healed", "a: healed, after: HTTP 500 (3 attempts)")
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("broken_by_deployment", "broken by the deployment"),
        ("still_broken", "still broken, as before the deployment"),
        ("broken_by_heal", "broken by the heal of db"),
    ],
)
def test_an_error_has_the_words_of_the_change(key: str, words: str) -> None:
    results = [check("a", failed=True, well=False, message="HTTP 500")]

    (found,) = told(results, change("a", key, others="db"))

    assert (found.name, found.data) == ("error", f"a: {words}: HTTP 500 (3 attempts)")


def test_what_is_slower_is_a_warning_and_what_was_repaired_is_none() -> None:
    changes = [change("a", "slower", now=0.21, before=0.05), change("b", "repaired")]

    found = told([check("a"), check("b")], *changes, verdict="healthy")

    assert seen(found) == [("warning", "auto-heal: slower", "a: slower: 0.21s, before 0.05s")]


def test_a_healed_one_that_is_slower_says_both() -> None:
    results = [check("a", failed=True, message="HTTP 500")]

    (found,) = told(results, change("a", "slower", now=0.21, before=0.05), verdict="healed")

    assert (found.name, found.data) == (
        "warning", "a: slower: 0.21s, before 0.05s; healed, after: HTTP 500 (3 attempts)"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "level", "words"),
    [
        (before(a="passed"), "error", "broken by the deployment, rolled back: HTTP 500"),
        (before(a="skipped"), "error", "failed, rolled back: HTTP 500"),
        (before(), "error", "failed, rolled back: HTTP 500"),
        (None, "error", "failed, rolled back: HTTP 500"),
        (before(a="failed"), "warning", "healed, after: HTTP 500"),
    ],
    ids=["passed before", "skipped before", "new", "nothing known", "failed before"],
)
def test_what_failed_until_the_rollback_is_an_error_unless_it_failed_before(
    known: Baseline | None, level: str, words: str
) -> None:
    results = [check("a", failed=True, message="HTTP 500"), check("b")]

    (found,) = told(results, verdict="rolled-back", baseline=known)

    assert (found.name, found.data) == (level, f"a: {words} (3 attempts)")


def test_a_service_alone_gets_none() -> None:
    service = Result("service", "api", "api", ["api"], 0.0, CheckOutcome.FAILED, failed_at=1.0)

    assert not told([service])


# How many.


def test_of_more_than_ten_the_last_says_how_many_more_there_are() -> None:
    sick = [check(f"s{number}", failed=True, well=False) for number in range(12)]
    healed = [check(f"h{number}", failed=True) for number in range(11)]

    found = told([*healed, *sick])

    errors, warnings = ([one.data for one in found if one.name == level] for level in ("error", "warning"))
    assert errors == [
        *(f"s{number}: sick: failed (3 attempts)" for number in range(9)),
        "and 3 more; the report has all of them",
    ]
    assert len(warnings) == 10
    assert warnings[-1] == "and 2 more; the report has all of them"


def test_ten_are_all_there() -> None:
    found = told([check(f"s{number}", failed=True, well=False) for number in range(10)])

    assert found[-1].data == "s9: sick: failed (3 attempts)"
    assert len(found) == 10


def test_what_the_deployment_broke_comes_before_what_was_broken() -> None:
    names = [f"n{number}" for number in range(12)]
    changes = [change(name, "still_broken") for name in names[:11]] + [change("n11", "broken_by_deployment")]

    found = told([check(name, failed=True, well=False) for name in names], *changes)

    assert found[0].data.startswith("n11: broken by the deployment: ")


# Where.


def sick_at(file: str, line: int | None, *, root: Path = ROOT, workspace: Path | None = ROOT) -> dict[str, str]:
    """Return the properties of the annotation of a check in a file."""
    results = [check("a", failed=True, well=False)]
    (found,) = told(results, places={"t.py::a": (file, line)}, root=root, workspace=workspace)
    return {name: value for name, value in found.properties.items() if name != "title"}


def test_a_check_is_annotated_at_its_line_as_seen_from_the_workspace() -> None:
    assert sick_at("healthtests/test_a.py", 7) == {"file": "healthtests/test_a.py", "line": "7"}
    assert sick_at("healthtests/test_a.py", 7, root=ROOT / "sub") == {
        "file": "sub/healthtests/test_a.py", "line": "7",
    }  # fmt: skip
    assert sick_at("../shared/test_a.py", 7, root=ROOT / "sub") == {"file": "shared/test_a.py", "line": "7"}


def test_a_file_without_a_line_is_a_place() -> None:
    assert sick_at("test_a.py", None) == {"file": "test_a.py"}


@pytest.mark.parametrize(
    ("file", "workspace"),
    [
        ("test_a.py", None), ("test_a.py", Path("/elsewhere")), ("../test_a.py", ROOT), ("/lib/plugin.py", ROOT),
        ("", ROOT), (".", ROOT), ("a\nb.py", ROOT), ("\udcff.py", ROOT), ("x" * 5000, ROOT),
        ("test_a.py", ROOT / "sub"),
    ],
)  # fmt: skip
def test_what_github_could_not_find_is_no_place(file: str, workspace: Path | None) -> None:
    assert sick_at(file, 7, workspace=workspace) == {}


def test_a_check_whose_place_is_unknown_is_annotated_without(tmp_path: Path) -> None:
    (found,) = told([check("a", failed=True, well=False)], root=tmp_path, workspace=tmp_path)

    assert set(found.properties) == {"title"}


def test_a_workspace_behind_a_link_is_the_same_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)

    assert sick_at("t.py", 1, root=real, workspace=link) == {"file": "t.py", "line": "1"}
    assert sick_at("t.py", 1, root=link, workspace=real) == {"file": "t.py", "line": "1"}


@pytest.mark.parametrize("name", ["a,b.py", "a:b.py", "100%.py", "a%2Cb.py", "::error::.py", "a=b.py", "ю é.py"])
def test_a_file_may_be_called_anything(name: str) -> None:
    assert sick_at(f"tests/{name}", 7) == {"file": f"tests/{name}", "line": "7"}


# What comes from outside.


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_from_outside_gets_out_of_its_message(text: str) -> None:
    results = [check(text, failed=True, well=False, message=text), check(text + "b", failed=True, message=text)]
    places = {one.key: (text, 3) for one in results}

    lines = list(
        annotation_lines(
            results, [change(text, "broken_by_heal", others=text)], places, root=ROOT, workspace=ROOT, verdict="sick"
        )
    )

    found = [taken(line) for line in lines]
    assert [one.name for one in found] == ["error", "warning"]
    assert all(set(one.properties) <= {"file", "line", "title"} for one in found)
    assert all(one.properties["title"] in ("auto-heal: sick", "auto-heal: healed") for one in found)
    assert all(one.data == printable(one.data) for one in found)
    assert all(len(line.encode()) < 4096 for line in lines)
    if len(text) < 100 and text:
        assert printable(text) in found[0].data
        assert found[0].data.startswith(
            f"{printable(text)}: broken by the heal of {printable(text)}: {printable(text.partition(chr(10))[0])}"
        )


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=90), st.text(max_size=300), st.text(max_size=90))
def test_the_runner_reads_what_was_meant(name: str, message: str, file: str) -> None:
    (found,) = told([check(name, failed=True, well=False, message=message)], places={f"t.py::{name}": (file, 3)})

    assert found.data.startswith(f"{printable(name)[:100]}")
    assert printable(first_line(message))[:500] in found.data
    wanted = os.path.normpath(ROOT / file)
    assert found.properties.get("file") in (None, os.path.relpath(wanted, ROOT))


# When.


def test_only_githubs_runner_wants_them() -> None:
    environs: list[dict[str, str]] = [{"GITHUB_ACTIONS": "true"}, {"GITHUB_ACTIONS": ""}, {}]

    assert [is_step(environ) for environ in environs] == [True, False, False]


def test_the_workspace_is_as_github_says() -> None:
    environs: list[dict[str, str]] = [{"GITHUB_WORKSPACE": "/w"}, {"GITHUB_WORKSPACE": ""}, {}]

    assert [workspace(environ) for environ in environs] == [Path("/w"), None, None]
