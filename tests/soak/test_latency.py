"""Around a deployment each check is called several times, and only its latency shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sandbox import Sandbox

COUNTED = '''
import pathlib
import time
import pytest

calls = pathlib.Path("calls")

def note(word):
    with calls.open("a") as file:
        file.write(f"{word}\\n")

@pytest.fixture(scope="session")
def whole():
    note("session begins")
    yield
    note("session ends")

@pytest.fixture(scope="module")
def wide(whole):
    note("module begins")
    yield
    note("module ends")

@pytest.fixture
def narrow(wide):
    note("check begins")
    yield
    note("check ends")

def test_counted(narrow, services):
    """counted"""
    note("called")
    print("printed by the check")
    services.show(number=7)
    DO

def test_last(narrow):
    """last"""
'''


PARTS = """
import pathlib
import unittest

class TestParts(unittest.TestCase):
    def test_parts(self):
        with pathlib.Path("calls").open("a") as file:
            file.write("parts\\n")
        with self.subTest("part"):
            pass
"""


@pytest.fixture
def counted(project: Sandbox) -> Sandbox:
    """Return a project with a check that counts its calls, without a service."""
    for path in (project.root / "healthtests").glob("test_*.py"):
        path.unlink()
    check(project, "pass")
    return project


def check(project: Sandbox, do: str, top: str = "") -> None:
    """Write the check, and its number of calls."""
    project.write("healthtests/test_counted.py", COUNTED.replace("DO", do))
    project.configure(top=top or "latency = { calls = 3 }\nretries = 1")


def calls(project: Sandbox) -> list[str]:
    """Return the calls, in order."""
    return (project.root / "calls").read_text().splitlines()


def known(project: Sandbox) -> dict[str, Any]:
    """Return the entry of each check in the baseline."""
    baseline: dict[str, Any] = json.loads((project.root / ".auto-heal" / "baseline.json").read_text())
    return {one["check"]: one for one in baseline["checks"].values()}


def test_a_check_is_called_as_often_as_is_configured_and_reported_once(counted: Sandbox) -> None:
    result = counted.auto_heal("predeploy", "-v")

    assert result.code == 0, result
    assert calls(counted).count("called") == 3
    assert "2 passed" in result.output
    assert "counted OK (number: 7)" in counted.log
    assert len(counted.report.findall("testcase")) == 2


def test_fixtures_are_torn_down_where_they_always_are(counted: Sandbox) -> None:
    counted.auto_heal("predeploy")

    found = calls(counted)
    once = ["session begins", "module begins", "module ends", "session ends"]
    assert [word for word in found if word in once] == once
    assert found.count("check begins") == found.count("check ends") == 6


def test_the_latency_is_the_median_of_the_calls(counted: Sandbox) -> None:
    # The second call of three takes long, as one may by chance.
    check(counted, 'time.sleep(0.5 if calls.read_text().count("called") == 2 else 0)')

    counted.auto_heal("predeploy")

    assert known(counted)["counted"]["latency"] < 0.4


def test_what_fails_is_not_called_again_and_printed_once(counted: Sandbox) -> None:
    check(counted, "assert False, 'always'")

    result = counted.auto_heal("predeploy", "-v")

    assert result.code == 1
    assert calls(counted).count("called") == 2
    assert result.output.count("Captured stdout call") == 1
    assert known(counted)["counted"] == {
        "check": "counted",
        "outcome": "failed",
        "latency": None,
        "message": "always\nassert False",
    }
    assert counted.log.count("FAIL after") == 1


def test_retries_are_as_ever(counted: Sandbox) -> None:
    check(counted, "assert calls.read_text().count('called') > 3", "latency = { calls = 5 }\nretries = 4")

    result = counted.auto_heal("predeploy")

    # One for its latency, then three attempts, the last of which passes.
    assert calls(counted).count("called") == 4
    assert "Attempt 2/4 failed" in result.output
    assert result.code == 0


def test_a_deadline_over_all_calls_is_not_used_up_by_them(counted: Sandbox) -> None:
    text = COUNTED.replace("DO", "time.sleep(0.6)").replace(
        "def test_counted", "@pytest.mark.timeout(1)\ndef test_counted"
    )
    counted.write("healthtests/test_counted.py", text)

    result = counted.auto_heal("predeploy")

    assert result.code == 0, result
    assert calls(counted).count("called") == 1


def test_one_with_subtests_is_called_once_since_these_are_reported_at_once(counted: Sandbox) -> None:
    counted.write("healthtests/test_parts.py", PARTS)

    result = counted.auto_heal("predeploy")

    assert result.code == 0, result
    assert calls(counted).count("parts") == 1


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_slower_is_reported_and_fails_on_request(counted: Sandbox, workers: list[str]) -> None:
    counted.auto_heal("predeploy")
    check(counted, "time.sleep(0.3)")

    reported = counted.auto_heal("postdeploy", *workers)
    failing = counted.auto_heal("postdeploy", "--fail-on-slower", *workers)

    assert reported.code == 0
    assert "⚠️ counted: slower: 0.3" in reported.output
    assert failing.code == 1, failing
    assert "❌ counted: slower than before the deployment" in failing.output
    [failure] = counted.report.findall("testcase/failure")
    assert failure.get("message", "").startswith("slower than before the deployment: Slower: takes 0.3")
    assert failure.get("type") == "Slower"


def test_an_ordinary_check_calls_once(counted: Sandbox) -> None:
    counted.check()

    assert calls(counted).count("called") == 1
