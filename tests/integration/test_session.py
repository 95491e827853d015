"""The rounds of a run under the options that people use, and what a run must never do."""

from __future__ import annotations

import os
import re
import signal

import pytest
from sandbox import Sandbox, wait_for


@pytest.mark.parametrize(
    "options",
    [
        ["-n", "2"],
        *(
            pytest.param(options, marks=pytest.mark.soak)
            for options in (
                ["-x"],
                ["-k", "health"],
                ["--reruns=0"],
                ["-n", "2", "-x"],
                ["-q"],
                ["-p", "no:cacheprovider"],
                ["--heal=auto"],
            )
        ),
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


@pytest.mark.parametrize("options", [["--lf"], pytest.param(["--lf", "-n", "2"], marks=pytest.mark.soak)])
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


def test_an_unknown_mode_in_the_environment_is_told(project: Sandbox) -> None:
    result = project.check(AUTO_HEAL="maybe")

    assert result.code == 4, result
    assert "AUTO_HEAL is 'maybe'; known values: auto, plan, off" in result.output


def test_fail_on_heal_tells_a_heal_from_health(project: Sandbox) -> None:
    healed = project.check("--fail-on-heal")
    healthy = project.check("--fail-on-heal")

    assert healed.code == 10, healed
    assert healthy.code == 0, healthy


def test_no_round_of_healing_means_none(project: Sandbox) -> None:
    result = project.check("--heal-rounds=0")

    assert result.code == 1, result
    assert not project.family()


@pytest.mark.soak
def test_ten_runs_at_once_do_one_restart(project: Sandbox) -> None:
    runs = [project.start("pytest", "healthtests") for _ in range(10)]
    outputs = [run.communicate()[0] for run in runs]

    assert [run.returncode for run in runs] == [0] * 10, "\n".join(outputs)
    assert len(project.servers()) == 1
    assert len(project.state["restarts"]) == 1


@pytest.mark.soak
def test_ten_runs_at_once_try_a_hopeless_service_once(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }')

    runs = [project.start("pytest", "healthtests") for _ in range(10)]
    outputs = [run.communicate()[0] for run in runs]

    assert [run.returncode for run in runs] == [1] * 10, "\n".join(outputs)
    # A run that a busy machine starts late finds the service sick after the heal of the others has failed.
    assert 1 <= len(project.state["restarts"]) <= 5
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
    assert len(healthy.state["restarts"]) == 2


def test_checks_elsewhere_heal_when_they_are_asked_to(project: Sandbox) -> None:
    (project.root / "healthtests").rename(project.root / "smoke")

    result = project.run("pytest", "smoke", "--heal=auto")

    assert result.code == 0, result
    assert project.property("verdict") == "healed"


def test_what_a_check_does_to_the_environment_reaches_neither_service_nor_next_round(project: Sandbox) -> None:
    project.write(
        "healthtests/test_a.py",
        "import os\n\ndef test_a():\n"
        "    assert 'LEAK' not in os.environ\n    os.environ['LEAK'] = '1'\n    os.chdir('/')\n",
    )

    result = project.check()

    assert result.code == 0, result
    assert "LEAK" not in project.family()[0].environ()


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
