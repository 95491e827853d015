"""A harmful heal is reported: exactly the checks that passed before it and fail after it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from sandbox import PATIENT, Sandbox

from remediation.checks.results import CheckResult, RoundFindings
from remediation.run.rounds import Part, Round
from remediation.run.run_state import harmed
from remediation.state.records import CheckOutcome

LETTERS = {"p": CheckOutcome.PASSED, "f": CheckOutcome.FAILED, "s": CheckOutcome.SKIPPED}


def rounds(history: str, healed: str) -> list[Round]:
    """Return the rounds of a check: a letter for each result, and the services that were healed before it."""
    made = []
    for letter, names in zip(history, f" {healed}", strict=True):
        found = [CheckResult("t.py::a", "/a", [], 0.0, LETTERS[letter])] if letter != "-" else []
        made.append(Round(1, [Part(Path(), RoundFindings([], found))], tuple(names.strip())))
    return made


@pytest.mark.parametrize(
    ("history", "healed", "by"),
    [
        ("pf", "x", ["x"]), ("ff", "x", []), ("fp", "x", []), ("pp", "x", []), ("sf", "x", []), ("-f", "x", []),
        ("pff", "xy", ["x"]), ("pfp", "xy", []), ("fpf", "xy", ["y"]), ("psf", "xy", ["x", "y"]),
        ("p-f", "xy", ["x", "y"]), ("pff", "xx", ["x"]), ("ppf", "xy", ["y"]), ("pf", " ", []),
    ],
)  # fmt: skip
def test_the_heals_since_it_passed_last_broke_it(history: str, healed: str, by: list[str]) -> None:
    found = harmed(rounds(history, healed))

    assert found == ({"t.py::a": tuple(by)} if by else {})


BESIDE = '''
import pathlib
import pytest

def test_beside():
    """beside"""
    assert not pathlib.Path("started").exists(), "the cache is gone"
'''


@pytest.fixture
def harmful(project: Sandbox) -> Sandbox:
    """Return a project whose service, when it starts, breaks a check that does not belong to it."""
    project.write("healthtests/test_beside.py", BESIDE)
    project.write("server.sh", f'#!/bin/sh\ntouch "{project.root}/started"\nexec "$@"\n').chmod(0o755)
    words = [f"{project.root}/server.sh", sys.executable, str(PATIENT)]
    project.configure(command=f"command = {json.dumps(words)}", top="retries = 1")
    return project


def test_a_check_that_a_heal_broke_is_named_everywhere(harmful: Sandbox) -> None:
    result = harmful.check(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(harmful.root / "summary.md"))

    case = harmful.report.find("testcase[@name='test_beside']/failure")
    told = "❌ beside: broken by the heal of api"
    assert result.code == 1
    assert told in result.output
    assert f"[ERROR] {told}" in harmful.log
    assert case is not None
    assert case.get("message", "").startswith("broken by the heal of api: ")
    assert "the cache is gone" in case.get("message", "")
    assert "broken by the heal of api" in (harmful.root / "summary.md").read_text(encoding="utf-8")
    assert harmful.property("verdict") == "sick"


def test_a_version_is_broken_by_no_heal() -> None:
    found = [
        CheckResult("auto-heal::api version", "api version", [], 0.0, how)
        for how in (CheckOutcome.PASSED, CheckOutcome.FAILED)
    ]

    assert harmed([Round(1, [Part(Path(), RoundFindings([], [one]))], ("api",)) for one in found]) == {}


def test_it_is_told_once(harmful: Sandbox) -> None:
    result = harmful.auto_heal("check")

    assert result.lines.count("❌ beside: broken by the heal of api") == 1
