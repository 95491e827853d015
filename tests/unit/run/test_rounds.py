"""One round of a run: its code is the worst of its processes, and what cannot be read is no pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from remediation.checks.results import Attempt, CheckResult, RoundFindings
from remediation.run.rounds import Part, Round, combine, read_round, worst
from remediation.supervision.round_files import FINDINGS_NAME, XML_NAME
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, NO_CHECKS, PASSED, USAGE_ERROR

# Other plugins end a session with codes of their own; a killed process has the signal's number, below zero.
UNKNOWN = 6


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], PASSED),
        ([PASSED], PASSED),
        ([NO_CHECKS], PASSED),
        ([PASSED, NO_CHECKS], PASSED),
        ([NO_CHECKS, FAILED], FAILED),
        ([FAILED, PASSED], FAILED),
        ([FAILED, INTERRUPTED], INTERRUPTED),
        ([INTERRUPTED, USAGE_ERROR], USAGE_ERROR),
        ([USAGE_ERROR, INTERNAL_ERROR], INTERNAL_ERROR),
        ([PASSED, UNKNOWN], INTERNAL_ERROR),
        ([FAILED, UNKNOWN], INTERNAL_ERROR),
        ([PASSED, -9], INTERNAL_ERROR),
    ],
)
def test_the_code_of_a_round_is_the_worst_of_its_processes(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected
    assert worst(reversed(codes)) == expected


def findings(*names: str) -> RoundFindings:
    """Return the findings of a process: each of these checks, and a failed attempt at it."""
    attempts = [Attempt(name, name, False, "ill", "E", "ill", 1.0, True, 0, {"api": 0}) for name in names]
    return RoundFindings(attempts, [CheckResult(name, name, ["api"], 1.0) for name in names])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write the files of a process in which these checks ran, and return their folder."""

    def write(*names: str) -> Path:
        folder = tmp_path / "-".join(("process", *names))
        folder.mkdir()
        (folder / FINDINGS_NAME).write_bytes(msgspec.json.encode(findings(*names)))
        return folder

    return write


Write = Callable[..., Path]


def test_the_findings_of_a_round_are_those_of_all_its_processes_in_order() -> None:
    round_of_two = Round(1, [Part(Path("a"), findings("test_a")), Part(Path("b"), findings("test_b"))])

    assert round_of_two.findings == findings("test_a", "test_b")


@pytest.mark.parametrize("code", [PASSED, FAILED, INTERRUPTED, INTERNAL_ERROR, USAGE_ERROR, NO_CHECKS])
def test_a_later_round_is_read_from_the_folders_of_its_processes(write: Write, code: int) -> None:
    folders = [write("test_a"), write("test_b", "test_c")]

    found = read_round(code, folders)

    assert found.code == code
    assert [part.xml for part in found.parts] == [folder / XML_NAME for folder in folders]
    assert found.findings == findings("test_a", "test_b", "test_c")


@pytest.mark.parametrize("code", [UNKNOWN, -9, 137])
def test_a_round_that_ended_with_a_code_that_pytest_does_not_have_is_no_verdict(write: Write, code: int) -> None:
    assert read_round(code, [write("test_a")]).code == INTERNAL_ERROR


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"attempts": []}'])
def test_a_round_without_the_findings_of_a_process_is_no_verdict(write: Write, content: bytes | None) -> None:
    whole, broken = write("test_a"), write("test_b")
    (broken / FINDINGS_NAME).unlink()
    if content is not None:
        (broken / FINDINGS_NAME).write_bytes(content)

    found = read_round(PASSED, [whole, broken])

    assert found.code == INTERNAL_ERROR
    assert found.findings == findings("test_a")


def test_a_process_that_ran_no_check_is_no_part_of_a_round_unless_none_ran_any(write: Write) -> None:
    idle, busy = write(), write("test_a")

    assert [part.xml.parent for part in read_round(PASSED, [idle, busy]).parts] == [busy]
    assert [part.xml.parent for part in read_round(PASSED, [idle]).parts] == [idle]


def test_two_halves_of_a_round_are_as_bad_as_the_worse_and_have_the_parts_of_both() -> None:
    sick, well = (Round(code, [Part(Path(str(code)), findings())]) for code in (FAILED, PASSED))

    assert combine(sick, well) == Round(FAILED, [*sick.parts, *well.parts])
    assert combine(well, sick) == Round(FAILED, [*well.parts, *sick.parts])


def test_a_process_to_which_the_others_left_no_check_has_no_part_in_the_round(tmp_path: Path) -> None:
    result = CheckResult("a.py::test_a", "test_a", ["api"], at=1.0)
    idle = Round(PASSED, [Part(tmp_path / "idle.xml", RoundFindings([], []))])
    busy = Round(FAILED, [Part(tmp_path / "busy.xml", RoundFindings([], [result]))])

    assert combine(idle, busy) == Round(FAILED, busy.parts)
    assert combine(busy, idle) == Round(FAILED, busy.parts)
    assert combine(idle, idle) == Round(PASSED, [*idle.parts, *idle.parts])
