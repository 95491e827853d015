"""Which session is a health run, and what any other session must never do."""

from __future__ import annotations

import os
import signal

import pytest
from sandbox import Sandbox, wait_for


@pytest.mark.soak
@pytest.mark.parametrize("option", ["--heal=off", "--no-heal"])
def test_turning_healing_off_makes_no_health_run_of_unit_tests(project: Sandbox, option: str) -> None:
    project.write("tests/test_unit.py", "def test_unit():\n    assert False\n")

    result = project.run("pytest", "tests", option)

    assert result.code == 1, result
    assert not (project.root / "reports").exists()


def test_a_project_in_a_folder_called_healthtests_does_not_heal_by_its_unit_tests(project: Sandbox) -> None:
    inner = project.root / "healthtests" / "inner"
    project.write("healthtests/inner/pytest.ini", "[pytest]\n")
    project.write("healthtests/inner/tests/test_unit.py", "def test_unit():\n    assert False\n")

    result = project.run("pytest", str(inner / "tests"), "--rootdir", str(inner), "-c", str(inner / "pytest.ini"))

    assert result.code == 1, result
    assert not (project.root / "reports").exists()


def test_without_healing_a_sick_service_is_left_alone(project: Sandbox) -> None:
    result = project.check("--no-heal")

    assert result.code == 1, result
    assert not project.family()
    assert project.property("verdict") == "sick"


@pytest.mark.parametrize(
    ("environment", "option", "code"), [("off", [], 1), ("off", ["--heal=auto"], 0), ("auto", [], 0)]
)
def test_the_environment_turns_healing_off_unless_the_command_line_turns_it_on(
    project: Sandbox, environment: str, option: list[str], code: int
) -> None:
    result = project.check(*option, AUTO_HEAL=environment)

    assert result.code == code, result


def test_a_check_without_the_marker_counts_but_heals_nothing(healthy: Sandbox) -> None:
    pid = healthy.pid
    healthy.write("healthtests/test_weather.py", "def test_weather():\n    assert False\n")

    result = healthy.check()

    assert result.code == 1, result
    assert healthy.pid == pid
    assert healthy.property("rounds") == "1"


def test_unit_tests_heal_nothing_even_with_the_marker(project: Sandbox) -> None:
    project.write(
        "tests/test_unit.py", "import pytest\n\n@pytest.mark.heals('api')\ndef test_unit():\n    assert False\n"
    )

    result = project.run("pytest", "tests")

    assert result.code == 1, result
    assert not project.family()
    assert not (project.root / "reports").exists()
    assert not (project.root / "auto-heal.log").exists()


def test_a_configuration_is_not_needed_by_those_who_check_nothing(project: Sandbox) -> None:
    (project.root / "auto-heal.toml").unlink()
    project.write("tests/test_unit.py", "def test_unit():\n    pass\n")

    assert project.run("pytest", "tests").code == 0


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_no_configuration_is_told_in_one_sentence(project: Sandbox, options: list[str]) -> None:
    (project.root / "auto-heal.toml").unlink()

    result = project.check(*options)

    assert result.code == 4, result
    assert "auto-heal init" in result.output
    assert "Traceback" not in result.output


def test_no_check_is_exit_code_5(healthy: Sandbox) -> None:
    assert healthy.check("-k", "nothing").code == 5


def test_a_broken_check_is_not_healed(healthy: Sandbox) -> None:
    pid = healthy.pid
    healthy.write("healthtests/test_broken.py", "import nothing_of_this_name\n")

    result = healthy.check()

    assert result.code == 2, result
    assert healthy.pid == pid


def test_an_interrupted_run_is_no_pass_and_heals_nothing(project: Sandbox) -> None:
    project.write(
        "healthtests/test_a.py",
        "import pathlib, time\n\ndef test_a():\n    pathlib.Path('begun').touch()\n    time.sleep(4)\n",
    )
    run = project.start("pytest", "healthtests")
    wait_for((project.root / "begun").exists)

    run.send_signal(signal.SIGINT)
    output, _ = run.communicate()

    assert run.returncode == 2, output
    assert not project.family()


@pytest.mark.soak
@pytest.mark.parametrize(
    "option",
    [
        "--collect-only",
        "--markers",
        *(pytest.param(option, marks=pytest.mark.soak) for option in ("--setup-plan", "--setup-only", "--fixtures")),
    ],
)
def test_a_session_that_only_lists_comes_to_no_verdict_and_leaves_the_report(healthy: Sandbox, option: str) -> None:
    assert healthy.check().code == 0
    before = (healthy.root / "reports" / "health.xml").read_bytes()

    result = healthy.check(option)

    assert "All systems are healthy" not in result.output
    assert (healthy.root / "reports" / "health.xml").read_bytes() == before


def test_a_bare_pytest_leaves_the_checks_alone(project: Sandbox) -> None:
    project.write("tests/test_unit.py", "def test_unit():\n    pass\n")

    result = project.run("pytest")

    assert result.code == 0, result
    assert "1 passed" in result.output


def test_a_report_that_is_no_file_is_refused(healthy: Sandbox) -> None:
    os.mkfifo(healthy.root / "fifo")

    result = healthy.check("--junitxml=fifo")

    assert result.code == 4, result
    assert "is no regular file" in result.output
    assert (healthy.root / "fifo").is_fifo()
