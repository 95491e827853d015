"""The file and line of each check, from 1 on, in a report with `junit_family = "xunit1"`."""

from __future__ import annotations

import pytest
from junit_schema import SCHEMA
from sandbox import Sandbox
from watching import watching

CHECKS = """import pytest

heals = pytest.mark.heals("api")


@heals
def test_healed(services):
    services["api"].get("/api/health")


@pytest.mark.parametrize("number", [1, 2])
def test_fails(number):
    assert False


class TestClass:
    def test_skipped(self):
        pytest.skip("not now")
"""
_FILE = "healthtests/test_places.py"
# The line of its first decorator, as pytest has it, or of its name, as Python before 3.8 had it.
PLACES = {
    "test_healed": (_FILE, {"6", "7"}), "test_fails[1]": (_FILE, {"11", "12"}), "test_fails[2]": (_FILE, {"11", "12"}),
    "test_skipped": (_FILE, {"17"}),
}  # fmt: skip


@pytest.fixture
def placed(project: Sandbox) -> Sandbox:
    """A project whose pytest writes the family xunit1, with a check that is healed and others that are not."""
    for check in (project.root / "healthtests").iterdir():
        check.unlink()
    project.write(_FILE, CHECKS)
    project.write("pytest.ini", "[pytest]\njunit_family = xunit1\n")
    project.configure(top="retries = 1")
    return project


def _has_places(project: Sandbox) -> None:
    cases = {case.get("name"): case for case in project.report.iter("testcase")}
    assert cases.keys() == PLACES.keys()
    for name, (file, lines) in PLACES.items():
        assert cases[name].get("file") == file
        assert cases[name].get("line") in lines
        # In an editor, the line begins the check.
        number = int(cases[name].get("line", "0"))
        shown = (project.root / file).read_text().splitlines()[number - 1]
        assert shown.lstrip().startswith(("def test_", "@"))


@pytest.mark.parametrize("arguments", [[], ["-n", "2"], ["--no-heal"]], ids=" ".join)
def test_each_case_has_the_file_and_the_line_of_its_check(placed: Sandbox, arguments: list[str]) -> None:
    result = placed.check(*arguments)

    assert result.code == 1, result
    assert placed.property("rounds") == ("1" if "--no-heal" in arguments else "2")
    _has_places(placed)


def test_the_report_of_a_monitor_has_them_as_well(placed: Sandbox) -> None:
    with watching(placed) as monitor:
        monitor.ends_check(1)

    _has_places(placed)


def test_a_check_of_ours_has_the_file_of_the_configuration(placed: Sandbox) -> None:
    placed.configure('version = { path = "/api/health" }', top="retries = 1")
    placed.auto_heal("start")

    placed.auto_heal("postdeploy", "--expect-version", "0", "--wait", "0.1s")

    (case,) = [one for one in placed.report.iter("testcase") if one.get("name") == "api version"]
    assert (case.get("file"), case.get("line")) == ("auto-heal.toml", None)


def test_without_it_the_report_is_as_the_schema_wants_it(placed: Sandbox) -> None:
    placed.write("pytest.ini", "[pytest]\n")

    placed.check()

    SCHEMA.validate(str(placed.root / "reports" / "health.xml"))
    assert not placed.report.findall("testcase[@file]")
