"""The outputs of a step: GitHub's runner reads exactly the intended values from the file.

How the runner reads it is done here after its own rules, actions/runner, src/Runner.Worker/FileCommandManager.cs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediation.github import place, step


def read(path: Path) -> dict[str, str]:
    """Return the outputs in a file: `NAME=VALUE` on a line, or the lines between `NAME<<END` and `END`."""
    lines = iter(path.read_bytes().decode().split("\n"))
    found: dict[str, str] = {}
    for line in filter(None, lines):
        name, sign, rest = re.split("(=|<<)", line, maxsplit=1)
        if sign == "=":
            found[name] = rest
            continue
        value: list[str] = []
        for inner in lines:
            if inner == rest:
                break
            value.append(inner)
        else:
            raise AssertionError(f"{name} has no end")
        found[name] = "\n".join(value)
    return found


def test_a_later_step_can_decide_by_them(tmp_path: Path) -> None:
    place = tmp_path / "output"

    step.append(place, verdict="rolled-back", healed=True, report=Path("reports/health.xml"))

    assert place.read_text(encoding="ascii") == "verdict=rolled-back\nhealed=true\nreport=reports/health.xml\n"


def test_nothing_healed_is_false(tmp_path: Path) -> None:
    step.append(tmp_path / "output", verdict="healthy", healed=False, report="r.xml")

    assert read(tmp_path / "output")["healed"] == "false"


@pytest.mark.parametrize("before", ["", "x=1", "x=1\n", "x<<E\nverdict=fake\nE\n", "x<<E\n1\nE"])
def test_what_an_earlier_command_of_the_step_wrote_stays(tmp_path: Path, before: str) -> None:
    place = tmp_path / "output"
    place.write_text(before, encoding="ascii")

    step.append(place, verdict="sick", healed=False, report="r.xml")

    assert place.read_text(encoding="ascii").startswith(before)
    assert ("x" in read(place)) == bool(before)
    assert read(place)["verdict"] == "sick"


@pytest.mark.parametrize(
    "report",
    [
        "a\nverdict=healthy",
        "a\r\nb",
        "\n",
        "a<<E",
        "a=b",
        "",
        " ",
        "EOF\n",
        "a\nauto-heal-0\nverdict=healthy",
        "日本\n",
    ],
)
def test_no_path_can_become_another_output(tmp_path: Path, report: str) -> None:
    step.append(tmp_path / "output", verdict="sick", healed=False, report=report)

    assert read(tmp_path / "output") == {"verdict": "sick", "healed": "false", "report": report}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_path_arrives(tmp_path: Path, report: str) -> None:
    place = tmp_path / "output"
    place.unlink(missing_ok=True)

    step.append(place, verdict="sick", healed=False, report=report)

    assert read(place)["report"] == report


def test_the_end_of_a_value_cannot_be_guessed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        step.append(tmp_path / name, verdict="sick", healed=False, report="a\nb")

    ends = {re.findall("report<<(.*)", (tmp_path / name).read_text(encoding="ascii"))[0] for name in ("one", "other")}
    assert len(ends) == 2
    assert all(re.fullmatch("auto-heal-[0-9a-f]{32}", end) for end in ends)


def test_a_path_of_bytes_that_are_no_text_is_made_visible(tmp_path: Path) -> None:
    step.append(tmp_path / "output", verdict="sick", healed=False, report=Path("\udcff.xml"))

    assert read(tmp_path / "output")["report"] == r"\udcff.xml"


def test_only_a_step_on_github_has_them() -> None:
    assert place("GITHUB_OUTPUT", {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": "/o"}) == Path("/o")
    assert place("GITHUB_OUTPUT", {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": ""}) is None
    assert place("GITHUB_OUTPUT", {"GITHUB_ACTIONS": "true"}) is None
    assert place("GITHUB_OUTPUT", {"GITHUB_OUTPUT": "/o"}) is None


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is not a regular file"):
        step.append(tmp_path, verdict="sick", healed=False, report="r.xml")
