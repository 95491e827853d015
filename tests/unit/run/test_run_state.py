"""What follows from the rounds of a run so far: its verdict, its incidents, its harm, and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_version_is_broken_by_no_heal() -> None:
    found = [
        CheckResult("auto-heal::api version", "api version", [], 0.0, how)
        for how in (CheckOutcome.PASSED, CheckOutcome.FAILED)
    ]

    assert harmed([Round(1, [Part(Path(), RoundFindings([], [one]))], ("api",)) for one in found]) == {}
