"""After the clock is set forward or back, no earlier decision lasts for ever or ends at once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox import REPOSITORY, Sandbox, wait_for
from watching import kill, rows, watching

from remediation.config.model import Budget
from remediation.state.service_state import ServiceState

YEARS = {"ahead": 3650 * 86_400, "back": -3650 * 86_400}
SetClock = Callable[[int], dict[str, str]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that changes the time of day that a program sees."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler to make a clock that can be set")
    path = tmp_path_factory.mktemp("library") / "clock.so"
    source = REPOSITORY / "tests" / "support" / "surroundings_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, source], check=True)
    return path


@pytest.fixture
def set_clock(tmp_path_factory: pytest.TempPathFactory, library: Path) -> SetClock:
    """Set the clock of all programs with the environment that is returned, also while they run."""
    path = tmp_path_factory.mktemp("clock") / "seconds"

    def shift(seconds: int) -> dict[str, str]:
        path.write_text(str(seconds))
        return {"LD_PRELOAD": str(library), "TEST_CLOCK_FILE": str(path)}

    return shift


@pytest.mark.parametrize("direction", YEARS)
def test_a_service_is_healed_before_and_after_the_clock_is_set(
    project: Sandbox, set_clock: SetClock, direction: str
) -> None:
    project.configure(top="retries = 1")
    environ = set_clock(0)
    assert project.auto_heal("start", **environ).code == 0

    for shift in (YEARS[direction], 0):
        set_clock(shift)
        kill(project)
        result = project.auto_heal("check", **environ)

        assert result.code == 0, result
        assert project.property("verdict") == "healed"
        assert 0 <= float(project.property("api.downtime") or -1) < 60
        assert project.auto_heal("status", **environ).code == 0
        assert project.auto_heal("report", **environ).code == 0
    assert rows(project, "SELECT count(*) FROM runs") == [(2,)]
    assert len(project.servers()) == 1


@pytest.mark.parametrize("direction", YEARS)
def test_a_monitor_checks_and_heals_on_while_the_clock_is_set(
    project: Sandbox, set_clock: SetClock, direction: str
) -> None:
    project.configure(top="retries = 1\ninterval = 0.3")

    with watching(project, **set_clock(0)) as monitor:
        monitor.ends_check(1)
        healed = monitor.statistics.heals
        set_clock(YEARS[direction])
        ended = monitor.count("Next check in")
        monitor.ends_check(ended + 2)
        kill(project)
        wait_for(lambda: monitor.statistics.heals == healed + 1)
        set_clock(0)
        ended = monitor.count("Next check in")
        monitor.ends_check(ended + 1)
        code = monitor.stop()

    assert code == 0, monitor
    assert monitor.count("Traceback") == 0, monitor
    assert rows(project, "SELECT count(*) FROM heals WHERE answered_at < since") == [(0,)]


def test_a_pause_is_not_made_longer_by_a_clock_that_is_set_back(project: Sandbox, set_clock: SetClock) -> None:
    project.configure(top="retries = 1")
    environ = set_clock(YEARS["ahead"])
    assert project.auto_heal("pause", "--for", "1s", **environ).code == 0

    set_clock(0)

    wait_for(lambda: project.auto_heal("check", **environ).code == 0)


def test_a_pause_is_not_ended_by_a_clock_that_is_set_forward(project: Sandbox, set_clock: SetClock) -> None:
    project.configure(top="retries = 1")
    environ = set_clock(0)
    assert project.auto_heal("pause", "--for", "1h", **environ).code == 0

    set_clock(YEARS["ahead"])
    result = project.auto_heal("check", **environ)

    assert result.code == 1, result
    assert "Healing is paused until" in result.output
    assert project.family() == []


def test_a_budget_spent_in_the_future_is_had_again_after_its_window(project: Sandbox, set_clock: SetClock) -> None:
    budget = Budget(1, 2.0, 2.0)
    project.configure("budget = { restarts = 1, window = 2 }", top="retries = 1")
    environ = set_clock(YEARS["ahead"])
    assert project.auto_heal("check", **environ).code == 0
    assert ServiceState(restarts=project.state["restarts"]).restarts_within(budget) == 1

    set_clock(0)
    kill(project)

    wait_for(lambda: project.auto_heal("check", **environ).code == 0)
    assert len(project.servers()) == 1
