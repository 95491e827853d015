"""The rounds of a run under the options that people use, and what a run must never do."""

from __future__ import annotations

import os
import re
import signal

import pytest
from sandbox import Sandbox, wait_for


@pytest.fixture
def healthy(project: Sandbox) -> Sandbox:
    """A project whose service is up."""
    result = project.auto_heal("start")
    assert result.code == 0, result
    return project


@pytest.mark.parametrize(
    "options",
    [
        ["-n", "2"],
        ["-x"],
        ["-n", "2", "-x"],
        ["-q"],
        ["-p", "no:cacheprovider"],
        ["-k", "health"],
        ["--heal=auto"],
        ["--reruns=0"],
    ],
)
def test_options_of_pytest_do_not_stand_in_the_way_of_a_heal(project: Sandbox, options: list[str]) -> None:
    result = project.check(*options)

    assert result.code == 0, result
    assert project.property("verdict") == "healed"
    assert project.property("rounds") == "2"


CHECK_OF_A_FILE = """
import pathlib

import pytest


@pytest.mark.heals("api")
@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_file(name):
    with pathlib.Path("ran").open("a") as ran:
        ran.write(name + " ")
    assert pathlib.Path(name).exists()
"""


@pytest.mark.parametrize("options", [["--lf"], ["--lf", "-n", "2"]])
def test_a_second_round_runs_all_that_the_first_one_selected(healthy: Sandbox, options: list[str]) -> None:
    healthy.configure(top="retries = 1")
    healthy.write("healthtests/test_file.py", CHECK_OF_A_FILE)
    healthy.write("three", "")
    # Leaves behind that one and two failed; --lf would go on with what fails of them.
    assert healthy.check("--no-heal").code == 1
    healthy.write("one", "")
    (healthy.root / "ran").unlink()

    result = healthy.check(*options)

    assert result.code == 1, result
    assert healthy.property("rounds") == "2"
    assert sorted((healthy.root / "ran").read_text().split()) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("option", ["--heal=off", "--no-heal"])
def test_turning_healing_off_makes_no_health_run_of_unit_tests(project: Sandbox, option: str) -> None:
    project.write("tests/test_unit.py", "def test_unit():\n    assert False\n")

    result = project.run("pytest", "tests", option)

    assert result.code == 1, result
    assert not (project.root / "reports").exists()


def test_a_project_in_a_folder_called_healthtests_does_not_heal_by_its_unit_tests(project: Sandbox) -> None:
    inner = project.root / "healthtests" / "inner"
    project.write("healthtests/inner/conftest.py", (project.root / "conftest.py").read_text())
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


def test_an_unknown_mode_in_the_environment_is_told(project: Sandbox) -> None:
    result = project.check(AUTO_HEAL="maybe")

    assert result.code == 4, result
    assert "AUTO_HEAL is 'maybe'; known values: auto, off" in result.output


def test_fail_on_heal_tells_a_heal_from_health(project: Sandbox) -> None:
    healed = project.check("--fail-on-heal")
    healthy = project.check("--fail-on-heal")

    assert healed.code == 10, healed
    assert healthy.code == 0, healthy


def test_no_round_of_healing_means_none(project: Sandbox) -> None:
    result = project.check("--heal-rounds=0")

    assert result.code == 1, result
    assert not project.family()


def test_ten_runs_at_once_do_one_restart(project: Sandbox) -> None:
    runs = [project.start("pytest", "healthtests") for _ in range(10)]
    outputs = [run.communicate()[0] for run in runs]

    assert [run.returncode for run in runs] == [0] * 10, "\n".join(outputs)
    assert len(project.servers()) == 1
    assert len(project.memory["restarts"]) == 1


def test_ten_runs_at_once_try_a_hopeless_service_once(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }')

    runs = [project.start("pytest", "healthtests") for _ in range(10)]
    outputs = [run.communicate()[0] for run in runs]

    assert [run.returncode for run in runs] == [1] * 10, "\n".join(outputs)
    assert 1 <= len(project.memory["restarts"]) <= 2
    assert sum("exited with status 3" in output for output in outputs) == 10


def test_the_restart_budget_is_shared_and_spent(project: Sandbox) -> None:
    project.configure("budget = { restarts = 2, window = 600 }", top="retries = 1")

    for _ in range(2):
        assert project.check("-q").code == 0
        os.kill(project.pid, signal.SIGKILL)
        wait_for(lambda: not project.family())

    result = project.check("-q")

    assert result.code == 1, result
    assert "restart budget spent (2 in 600s), giving up" in result.output
    assert not project.family()


def test_the_ladder_is_climbed_one_rung_a_round(project: Sandbox) -> None:
    blocked = project.write("blocked", "")
    project.configure(
        f'env = {{ BUSY = "{blocked}" }}\nladder = ["restart", {{ run = ["rm", "blocked"], timeout = 5 }}]',
        top="retries = 1",
    )

    result = project.check()

    assert result.code == 0, result
    action = project.property("api.action") or ""
    assert re.fullmatch("restart in vain \\(.*exited with status 1.*\\), then rm blocked, restart", action)
    assert not blocked.exists()


def test_each_rung_gets_a_round_of_checks(healthy: Sandbox) -> None:
    healthy.configure('ladder = ["restart", "restart", "restart"]', top="retries = 1")
    healthy.write(
        "healthtests/test_third.py",
        "import pathlib, pytest\n\n@pytest.mark.heals('api')\ndef test_third():\n"
        "    seen = pathlib.Path('seen')\n"
        "    seen.write_text((seen.read_text() if seen.exists() else '') + 'x')\n"
        "    assert len(seen.read_text()) >= 3\n",
    )

    result = healthy.check()

    assert result.code == 0, result
    assert healthy.property("rounds") == "3"
    assert len(healthy.memory["restarts"]) == 2


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


def test_checks_elsewhere_heal_when_they_are_asked_to(project: Sandbox) -> None:
    (project.root / "healthtests").rename(project.root / "smoke")

    result = project.run("pytest", "smoke", "--heal=auto")

    assert result.code == 0, result
    assert project.property("verdict") == "healed"


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


def test_a_marker_for_an_unknown_service_is_told(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_typo.py", "import pytest\n\n@pytest.mark.heals('apj')\ndef test_typo():\n    pass\n"
    )

    result = healthy.check()

    assert result.code == 4, result
    assert "heals('apj'): no such service; known services: api" in result.output


def test_no_check_is_exit_code_5(healthy: Sandbox) -> None:
    assert healthy.check("-k", "nothing").code == 5


def test_a_broken_check_is_not_healed(healthy: Sandbox) -> None:
    pid = healthy.pid
    healthy.write("healthtests/test_broken.py", "import nothing_of_this_name\n")

    result = healthy.check()

    assert result.code == 2, result
    assert healthy.pid == pid


def test_a_check_that_recovers_by_itself_is_healthy(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_third.py",
        "import pathlib, pytest\n\n@pytest.mark.heals('api')\ndef test_third():\n"
        "    seen = pathlib.Path('seen')\n    before = seen.exists()\n    seen.touch()\n    assert before\n",
    )

    result = healthy.check()

    assert result.code == 0, result
    assert healthy.property("verdict") == "healthy"
    assert "[WARN] Attempt 1/3 failed, retrying in 0.1s..." in healthy.log


def test_a_hanging_check_is_ended_by_its_deadline_and_healed(healthy: Sandbox) -> None:
    healthy.configure(top="timeout = 1\nretries = 2")
    healthy.write(
        "healthtests/test_third.py",
        "import pathlib, pytest, time\n\n@pytest.fixture\ndef slow():\n"
        "    if not pathlib.Path('seen').exists():\n        time.sleep(600)\n\n"
        "@pytest.mark.heals('api')\ndef test_third(slow):\n"
        "    pass\n",
    )

    result = healthy.check("-s")

    assert result.code == 1, result
    assert len(re.findall("❌ /?test_third FAIL after 2 attempts", healthy.log)) == 2


def test_the_retries_of_a_check_are_its_own_if_it_says_so(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_third.py",
        "import pytest\n\n@pytest.mark.flaky(reruns=4)\ndef test_third():\n    assert False\n",
    )

    result = healthy.check()

    assert result.code == 1, result
    assert "test_third FAIL after 5 attempts" in healthy.log


def test_retries_of_the_command_line_win_over_the_configuration(healthy: Sandbox) -> None:
    healthy.write("healthtests/test_third.py", "def test_third():\n    assert False\n")

    result = healthy.check("--reruns=1")

    assert result.code == 1, result
    assert "test_third FAIL after 2 attempts" in healthy.log


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


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only", "--collect-only", "--fixtures", "--markers"])
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


def test_a_check_without_the_marker_does_not_wait_for_a_process_that_is_dead(project: Sandbox) -> None:
    project.configure(top="retry_delay = 3600")
    project.write("healthtests/test_third.py", "def test_third(services):\n    services['api'].get('/api/health')\n")

    result = project.check()

    assert result.code == 0, result
    assert "retrying" not in project.log


@pytest.mark.parametrize("marker", ["heals", "heals()", "heals(['api'])", "heals(services=['api'])", "heals(3)"])
def test_a_marker_that_names_no_service_is_told(healthy: Sandbox, marker: str) -> None:
    text = f"import pytest\n\n@pytest.mark.{marker}\ndef test_third():\n    pass\n"
    healthy.write("healthtests/test_third.py", text)

    result = healthy.check()

    assert result.code == 4, result
    assert 'heals takes names of services, as in heals("api")' in result.output


def test_a_check_of_a_service_that_is_not_configured_heals_nothing(healthy: Sandbox) -> None:
    pid = healthy.pid
    healthy.write(
        "healthtests/test_third.py",
        "import pytest\n\n@pytest.mark.heals('api')\ndef test_third(services):\n    services['apj'].get('/')\n",
    )

    result = healthy.check()

    assert result.code == 1, result
    assert "no service is called 'apj'" in result.output
    assert healthy.pid == pid


def test_what_a_check_does_to_the_environment_reaches_neither_service_nor_next_round(project: Sandbox) -> None:
    project.write(
        "healthtests/test_a.py",
        "import os\n\ndef test_a():\n"
        "    assert 'LEAK' not in os.environ\n    os.environ['LEAK'] = '1'\n    os.chdir('/')\n",
    )

    result = project.check()

    assert result.code == 0, result
    assert "LEAK" not in project.family()[0].environ()


def test_a_report_that_is_no_file_is_refused(healthy: Sandbox) -> None:
    os.mkfifo(healthy.root / "fifo")

    result = healthy.check("--junitxml=fifo")

    assert result.code == 4, result
    assert "is no regular file" in result.output
    assert (healthy.root / "fifo").is_fifo()


def test_the_last_line_names_what_is_still_sick_also_when_the_last_round_skipped_it(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 1")
    healthy.write(
        "healthtests/test_third.py",
        "import pathlib, pytest\n\n@pytest.mark.heals('api')\ndef test_third():\n"
        "    if pathlib.Path('seen').exists():\n        pytest.skip('later')\n"
        "    pathlib.Path('seen').touch()\n    assert False\n",
    )

    result = healthy.check()

    assert result.code == 1, result
    assert "❌ Still sick: test_third" in result.output
