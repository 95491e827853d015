"""After a crash, plugins and conftests know the earlier checks just as they would without it."""

from __future__ import annotations

import pytest
from sandbox import Sandbox

SOON = "retries = 1\nretry_delay = 0.1"
CRASH = "import os\n\n\ndef test_crash():\n    os._exit(7)\n"
# As the documentation of pytest has it.
INCREMENTAL = """
import pytest


def pytest_runtest_makereport(item, call):
    if "incremental" in item.keywords and call.excinfo is not None:
        item.parent.failed = item


def pytest_runtest_setup(item):
    if "incremental" in item.keywords and (failed := getattr(item.parent, "failed", None)):
        pytest.xfail(f"{failed.name} has failed")
"""
# As pytest-dependency does.
DEPENDING = """
import pytest

PASSED = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.passed:
        PASSED.add(item.name)
    return report
"""
FOLLOWING = """
NOTED = []


def pytest_runtest_logstart(nodeid):
    NOTED.append(f"begin {nodeid.rpartition(':')[2]}")


def pytest_runtest_logreport(report):
    NOTED.append(f"{report.when} {report.nodeid.rpartition(':')[2]}")


def pytest_runtest_logfinish(nodeid):
    NOTED.append(f"end {nodeid.rpartition(':')[2]}")


def pytest_unconfigure():
    open("noted", "w").write("\\n".join(NOTED))
"""


def outcomes(project: Sandbox) -> dict[str | None, list[str]]:
    return {case.get("name"): [child.tag for child in case] for case in project.report.iter("testcase")}


@pytest.fixture
def crashing(healthy: Sandbox) -> Sandbox:
    """A project with a check that ends its process, and one before it."""
    healthy.configure(top=SOON)
    for shipped in ("health", "items", "process"):
        (healthy.root / "healthtests" / f"test_{shipped}.py").unlink()
    healthy.write("healthtests/test_a.py", "def test_first():\n    pass\n")
    healthy.write("healthtests/test_k.py", CRASH)
    return healthy


def test_steps_after_one_that_crashed_are_expected_to_fail(crashing: Sandbox) -> None:
    crashing.write("pytest.ini", "[pytest]\nmarkers = incremental\n")
    crashing.write("healthtests/conftest.py", INCREMENTAL)
    step = "import os, pytest\n\n\n@pytest.mark.incremental\nclass TestSteps:\n"
    steps = "    def test_one(self):\n        os._exit(7)\n\n    def test_two(self):\n        pass\n"
    crashing.write("healthtests/test_k.py", step + steps)

    result = crashing.check()

    assert result.code == 1, result
    assert outcomes(crashing) == {"test_first": [], "test_one": ["failure"], "test_two": ["skipped"]}


def test_what_passed_before_a_crash_is_known_to_have_passed_after_it(crashing: Sandbox) -> None:
    crashing.write("healthtests/conftest.py", DEPENDING)
    crashing.write(
        "healthtests/test_z.py", "def test_last():\n    import conftest\n    assert conftest.PASSED == {'test_first'}\n"
    )

    result = crashing.check()

    assert result.code == 1, result
    assert outcomes(crashing) == {"test_first": [], "test_crash": ["failure"], "test_last": []}, result


def test_each_report_lies_between_the_begin_and_the_end_of_its_check(crashing: Sandbox) -> None:
    crashing.write("healthtests/conftest.py", FOLLOWING)

    result = crashing.check()

    assert result.code == 1, result
    noted = (crashing.root / "noted").read_text().splitlines()
    phases = ("begin", "setup", "call", "teardown", "end")
    assert noted == [f"{phase} {check}" for check in ("test_first", "test_crash") for phase in phases]


def test_a_plugin_that_breaks_when_it_is_told_again_breaks_nothing(crashing: Sandbox) -> None:
    breaking = DEPENDING.replace("report = yield\n", "report = yield\n    item.stash[KEY] += 1\n")
    setup = "\n\ndef pytest_runtest_setup(item):\n    item.stash[KEY] = 0\n"
    crashing.write("healthtests/conftest.py", f"{breaking}\n\nKEY = pytest.StashKey()\n{setup}")

    result = crashing.check()

    assert result.code == 1, result
    assert outcomes(crashing) == {"test_first": [], "test_crash": ["failure"]}, result


def test_a_plugin_that_runs_a_check_again_when_it_is_told_does_not_do_so_for_ever(crashing: Sandbox) -> None:
    again = "    if call.excinfo:\n        item.ihook.pytest_runtest_setup(item=item)\n        item.runtest()\n"
    crashing.write("healthtests/conftest.py", f"def pytest_runtest_makereport(item, call):\n{again}")

    result = crashing.check()

    assert result.code in (1, 3), result
