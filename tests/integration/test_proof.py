"""No pass without proof: skips prove nothing, a plugin's limit is not a failure, and no old report stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import Result, Sandbox
from watching import watching

HEALS = '@pytest.mark.heals("api")\n'
WORKERS = pytest.param("pytest healthtests -n 2", marks=pytest.mark.soak)
WAYS = pytest.mark.parametrize("way", ["auto-heal check", "pytest healthtests", WORKERS])


def run(project: Sandbox, way: str, *options: str, **env: str) -> Result:
    """Run the checks in one of the usual ways."""
    words = way.split()
    return project.run("remediation" if words[0] == "auto-heal" else "pytest", *words[1:], *options, **env)


def only(project: Sandbox, *checks: str, head: str = "") -> None:
    """Replace all checks by these, each with its decorators."""
    for file in (project.root / "healthtests").glob("test_*.py"):
        file.unlink()
    project.write("healthtests/test_it.py", "\n\n\n".join([f"import pytest\n{head}", *checks]) + "\n")


def skipping(name: str = "test_skips", heals: str = HEALS) -> str:
    """Return a check that skips."""
    return f"{heals}def {name}():\n    pytest.skip('no reason')"


def passing(name: str = "test_passes", heals: str = "") -> str:
    """Return a check that passes."""
    return f"{heals}def {name}():\n    pass"


# What is proven.


@WAYS
def test_a_service_whose_checks_all_skip_is_unproven_although_others_pass(healthy: Sandbox, way: str) -> None:
    only(healthy, skipping(), passing())

    result = run(healthy, way)

    assert result.code == 1, result
    assert healthy.property("verdict") == "unproven"
    assert "Unproven: api" in result.output
    assert healthy.state["heals"] == 1


@WAYS
def test_a_run_in_which_nothing_passes_is_unproven(healthy: Sandbox, way: str) -> None:
    only(healthy, skipping(heals=""))

    result = run(healthy, way)

    assert (result.code, healthy.property("verdict")) == (1, "unproven"), result


@WAYS
def test_unproven_services_can_be_allowed(healthy: Sandbox, way: str) -> None:
    only(healthy, skipping(), passing())

    result = run(healthy, way, "--allow-unproven")

    assert (result.code, healthy.property("verdict")) == (0, "healthy"), result


def test_one_passing_check_proves_its_service_whatever_others_skip(healthy: Sandbox) -> None:
    only(healthy, skipping(), passing(heals=HEALS))

    result = healthy.check()

    assert (result.code, healthy.property("verdict")) == (0, "healthy"), result


def test_an_expected_failure_proves_nothing(healthy: Sandbox) -> None:
    only(healthy, f"{HEALS}@pytest.mark.xfail\ndef test_fails():\n    assert False", passing())

    result = healthy.check()

    assert (result.code, healthy.property("verdict")) == (1, "unproven"), result


def test_a_service_that_a_heal_leaves_unproven_is_not_healed(healthy: Sandbox) -> None:
    ran = "pathlib.Path('ran')"
    once = f"if not {ran}.exists():\n        {ran}.touch()\n        assert 0\n    pytest.skip('later')"
    only(healthy, f"{HEALS}def test_once():\n    {once}", passing(), head="import pathlib")
    healthy.configure(top="retries = 1")

    result = healthy.check()

    # What failed before the skip stands.
    assert (result.code, healthy.property("verdict")) == (1, "sick"), result


def test_nothing_selected_is_five(healthy: Sandbox) -> None:
    assert healthy.check("-k", "no_such_check").code == 5


def test_a_monitor_calls_a_service_unproven_whose_checks_skip(healthy: Sandbox) -> None:
    healthy.configure(top="interval = 0.2")
    only(healthy, skipping(), passing())

    with watching(healthy) as monitor:
        statistics = monitor.ends_check(2)

    assert statistics.errors + statistics.checks >= 2, monitor
    assert monitor.count("Unproven: api") == statistics.checks, monitor
    assert monitor.count("Status: sick") == statistics.checks, monitor
    assert statistics.heals == 0, monitor


@WAYS
def test_a_failure_before_a_skip_stands_within_a_round(healthy: Sandbox, way: str) -> None:
    healthy.configure(top="retries = 2\nretry_delay = 0")
    counts = "number = len(list(pathlib.Path().glob('ran-*')))\n    pathlib.Path(f'ran-{number}').touch()"
    flaky = f"{HEALS}def test_it():\n    {counts}\n    assert number % 2, 'this is why'\n    pytest.skip('no reason')"
    only(healthy, flaky, passing(heals=HEALS), head="import pathlib")

    result = run(healthy, way)

    assert result.code == 1, result
    case = healthy.report.find("testcase[@name='test_it']")
    assert case is not None
    assert "skipped, after an attempt that failed" in (case[0].get("message") or "")
    assert [child.tag for child in case].count("rerunFailure") == 3
    # It is a failure like others: it heals.
    assert healthy.state["heals"] == 2


def test_an_attempt_that_passes_after_a_skip_is_a_pass(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 3\nretry_delay = 0")
    counts = "number = len(list(pathlib.Path().glob('ran-*')))\n    pathlib.Path(f'ran-{number}').touch()"
    only(
        healthy,
        f"{HEALS}def test_it():\n    {counts}\n    assert number, 'no'\n    number > 1 or pytest.skip('no reason')",
        head="import pathlib",
    )

    result = healthy.check()

    assert (result.code, healthy.property("verdict")) == (0, "healthy"), result


# What fails a session without failing a check.

LIMIT = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    result = yield
    session.testsfailed += 1
    return result
"""
CODE = "def pytest_sessionfinish(session):\n    session.exitstatus = {}\n"


@WAYS
@pytest.mark.parametrize("plugin", [LIMIT, CODE.format(1), CODE.format(77)], ids=["counts", "fails", "unknown"])
def test_what_fails_a_session_without_a_failed_check_is_named_and_makes_no_service_sick(
    healthy: Sandbox, way: str, plugin: str
) -> None:
    healthy.write("limits.py", plugin)
    before = healthy.state["heals"]

    result = run(healthy, way, "-p", "limits")

    assert result.code == 3, result
    assert "no check failed, but something else ended the session" in result.output
    assert "limits" in result.output
    assert healthy.state["heals"] == before


def test_a_limit_beside_a_failed_check_keeps_nobody_from_healing(project: Sandbox) -> None:
    project.write("limits.py", CODE.format("77 if session.testsfailed else 0"))

    result = project.check("-p", "limits")

    assert result.code == 0, result
    assert project.property("verdict") == "healed"


COVERED = "[pytest]\naddopts = --cov=pkg --cov-fail-under=80 -p no:cacheprovider\n"


@pytest.mark.soak
@WAYS
def test_the_coverage_that_a_project_wants_of_its_tests_is_not_wanted_of_its_checks(healthy: Sandbox, way: str) -> None:
    pytest.importorskip("pytest_cov")
    healthy.write("pytest.ini", COVERED)
    healthy.write("pkg/__init__.py", "def unused():\n    return 1\n")

    result = run(healthy, way, PYTEST_ADDOPTS="")

    assert result.code == 0, result
    assert not (healthy.root / ".coverage").exists()


def test_coverage_on_the_command_line_is_measured_and_its_limit_named(healthy: Sandbox) -> None:
    pytest.importorskip("pytest_cov")
    healthy.write("pkg/__init__.py", "def unused():\n    return 1\n")
    before = healthy.state["heals"]

    result = healthy.check("--cov=pkg", "--cov-fail-under=80", "-p", "no:cacheprovider", PYTEST_ADDOPTS="")

    assert result.code == 3, result
    assert "pytest-cov" in result.output
    assert healthy.state["heals"] == before


# The report of an earlier run.


def break_toml(project: Sandbox) -> list[str]:
    project.write("auto-heal.toml", (project.root / "auto-heal.toml").read_text() + "\n[broken\n")
    return []


def break_key(project: Sandbox) -> list[str]:
    project.write("auto-heal.toml", "redy = 1\n" + (project.root / "auto-heal.toml").read_text())
    return []


def break_conftest(project: Sandbox) -> list[str]:
    project.write("healthtests/conftest.py", "import nothing_of_that_name\n")
    return []


def wrong_option(_: Sandbox) -> list[str]:
    return ["--no-such-option"]


def wrong_value(_: Sandbox) -> list[str]:
    return ["--heal-rounds=many"]


BREAKS = [break_toml, break_key, break_conftest, wrong_option, wrong_value]
PLACES_AND_BREAKS = [
    pytest.param(place, break_it, marks=() if place == "default" or break_it is wrong_option else pytest.mark.soak)
    for place in ("configured", "named", "default")
    for break_it in BREAKS
]


@pytest.mark.parametrize("way", ["auto-heal check", "pytest healthtests"])
@pytest.mark.parametrize(("place", "break_it"), PLACES_AND_BREAKS)
def test_a_run_that_cannot_begin_leaves_no_report_of_before(
    healthy: Sandbox, way: str, break_it: object, place: str
) -> None:
    report, options = healthy.root / "reports" / "health.xml", list[str]()
    if place == "configured":
        healthy.configure(top='report = "out/verdict.xml"')
        report = healthy.root / "out" / "verdict.xml"
    elif place == "named":
        report, options = healthy.root / "named.xml", ["--junitxml=named.xml"]
    first = run(healthy, way, *options)
    assert first.code == 0, first
    assert report.exists()
    assert callable(break_it)

    result = run(healthy, way, *options, *break_it(healthy))

    assert result.code == 4, result
    assert not report.exists()


def test_a_run_without_memory_leaves_no_report_of_before(healthy: Sandbox) -> None:
    report = healthy.write("reports/health.xml", "of before")
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (45_000_000,) * 2); "
    program += "from remediation.cli.main import main; sys.exit(main(['check']))"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=healthy.root, env=healthy.environment(), capture_output=True, text=True
    )

    assert done.returncode == 3, done
    # However far it came.
    assert not report.exists() or report.read_text() != "of before", done


def test_a_run_that_only_lists_its_checks_leaves_the_report(healthy: Sandbox) -> None:
    assert healthy.check().code == 0

    assert healthy.check("--collect-only").code == 0

    assert (healthy.root / "reports" / "health.xml").exists()


def test_a_link_at_the_place_of_the_report_loses_nothing_but_itself(healthy: Sandbox, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (healthy.root / "reports").mkdir(exist_ok=True)
    (healthy.root / "reports" / "health.xml").unlink(missing_ok=True)
    (healthy.root / "reports" / "health.xml").symlink_to(precious)
    break_toml(healthy)

    assert healthy.check().code == 4

    assert precious.read_text() == "precious"
    assert not os.path.lexists(healthy.root / "reports" / "health.xml")


def test_a_check_that_removes_the_report_of_its_own_run_cannot_make_it_pass(healthy: Sandbox) -> None:
    deed = "atexit.register(lambda: pathlib.Path('reports/health.xml').unlink())"
    only(healthy, f"{HEALS}def test_it():\n    {deed}", head="import atexit, pathlib")

    result = healthy.auto_heal("check")

    assert result.code == 3, result
    assert json.loads((healthy.root / ".auto-heal" / "api.json").read_text())["heals"] == 1


def test_a_report_that_a_run_beside_this_one_may_have_removed_does_not_take_the_verdict_away(healthy: Sandbox) -> None:
    deed = "atexit.register(lambda: pathlib.Path('reports/health.xml').unlink())"
    only(healthy, f"def test_it():\n    {deed}", head="import atexit, pathlib")
    beside = healthy.root / ".auto-heal" / f"run-{os.getpid()}-beside"
    beside.mkdir(parents=True)

    result = healthy.auto_heal("check")

    assert result.code == 0, result
    beside.rmdir()
    assert healthy.auto_heal("check").code == 3
