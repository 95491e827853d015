"""The rollback: its command, the restart after it, failures of either, and when it does not run."""

from __future__ import annotations

import pytest
from rolling import RUN, Deployed
from sandbox import Sandbox
from systems import needs_setsid

from remediation.system.process import Identity


@pytest.fixture
def deployed(project: Sandbox) -> Deployed:
    """A project whose service runs version 2."""
    return Deployed(project)


# The command, and the restart.


def test_the_command_is_run_and_the_service_restarted(deployed: Deployed) -> None:
    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["rolled_back"], outcome["refused"]) == (True, True, False)
    assert outcome["action"] == f"{RUN}, restart"
    assert outcome["answered_at"]
    assert deployed.version == "1"
    assert deployed.starts == ["2", "1"]
    assert len(deployed.runs) == 1


def test_it_is_told_logged_counted_and_remembered(deployed: Deployed) -> None:
    before = deployed.project.state["heals"]

    outcome = deployed.roll_back()

    state = deployed.project.state
    assert "[WARN] ⏪ Rolling back by `sh rollback.sh`..." in deployed.project.log
    assert "on the way" in deployed.lines("api-server.log")
    assert state["heals"] == outcome["number"] == before + 1
    assert state["last_heal"]["action"] == f"{RUN}, restart"
    assert state["last_heal"]["ok"]
    assert len(state["restarts"]) == 1
    assert state["command"] is None


def test_what_is_known_of_the_service_is_kept_before(deployed: Deployed) -> None:
    deployed.project.configure(
        f"{deployed.table('starts')}\nrollback = 'sh rollback.sh'\nevidence = ['cat', 'version']",
        command=deployed.command,
    )

    outcome = deployed.roll_back()

    assert (deployed.project.root / outcome["evidence"] / "command.txt").read_text().strip() == "2"


def test_a_spent_budget_does_not_prevent_the_last_resort(deployed: Deployed) -> None:
    deployed.rolls_back(service="budget = { restarts = 0, window = 600 }")

    outcome = deployed.roll_back()

    assert outcome["ok"]
    assert deployed.version == "1"


def test_without_a_restart_it_is_only_waited_for(deployed: Deployed) -> None:
    deployed.rolls_back(options="restart = false")

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, RUN)
    assert deployed.starts == ["2"]


def test_a_service_that_the_command_ended_and_nobody_restarts_is_not_well(deployed: Deployed) -> None:
    deployed.rolls_back("kill -9 $(cat .api-server.pid)", options="restart = false", service="start_timeout = 0.5")

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["rolled_back"]) == (False, True)
    assert outcome["reason"].startswith("api: no answer (2xx at /api/health) within 0.5s")
    assert outcome["answered_at"] is None


# A command that fails.


@pytest.mark.parametrize(
    ("step", "how"),
    [
        ("exit 3", "exited with status 3"),
        ("kill -9 $$", "was killed by SIGKILL"),
        ("rm server.py; exit 1", "exited with status 1"),
    ],
)
def test_a_command_that_fails_is_told_and_the_service_restarted_all_the_same(
    deployed: Deployed, step: str, how: str
) -> None:
    deployed.rolls_back(step)

    outcome = deployed.roll_back()

    assert outcome["action"] == f"{RUN} (failed: {how}), restart"
    assert outcome["rolled_back"]
    assert outcome["ok"] == ("server.py" not in step)
    assert f"api: `sh rollback.sh` {how}; api-server.log says: on the way" in deployed.project.log


def test_a_command_that_cannot_be_started_is_told(deployed: Deployed) -> None:
    deployed.project.configure(f"{deployed.table('starts')}\nrollback = './gone.sh'", command=deployed.command)

    outcome = deployed.roll_back()

    how = "'./gone.sh' was not found; check its name, PATH and cwd"
    assert outcome["action"] == f"rollback by ./gone.sh (failed: {how}), restart"
    assert outcome["ok"]
    assert deployed.starts == ["2", "2"]


@needs_setsid
def test_a_command_that_hangs_is_ended_with_all_that_it_started(deployed: Deployed) -> None:
    steps = ["sleep 600 & echo $! >> runs", "setsid sleep 600 & echo $! >> runs", "touch begun", "wait"]
    deployed.rolls_back(*steps, options="timeout = 1.5")

    outcome = deployed.roll_back()

    assert outcome["action"] == f"{RUN} (failed: did not end within 1.5s), restart"
    assert len(deployed.runs) == 3
    assert not [pid for pid in deployed.runs if Identity.of(int(pid))]
    assert deployed.starts == ["2", "2"]


# Other ways to run a service.


def test_what_something_else_runs_is_asked_to_restart(deployed: Deployed) -> None:
    deployed.rolls_back(command='restart = ["sh", "-c", "cat version >> restarts"]')

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, f"{RUN}, restart")
    assert deployed.lines("restarts") == ["1"]


def test_what_can_only_be_checked_is_waited_for(deployed: Deployed) -> None:
    deployed.rolls_back(command=" ")

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, RUN)
    assert deployed.starts == ["2"]


# Reasons not to.


def test_a_service_stopped_by_hand_is_not_rolled_back(deployed: Deployed) -> None:
    assert deployed.project.auto_heal("stop").code == 0

    outcome = deployed.roll_back()

    assert (outcome["refused"], outcome["rolled_back"], outcome["action"]) == (True, False, "")
    assert outcome["reason"] == "api: stopped by hand; run `auto-heal start api` to resume healing"
    assert deployed.runs == []


def test_a_restart_by_somebody_else_since_it_failed_is_no_reason_against_it(deployed: Deployed) -> None:
    before = deployed.project.state["heals"]
    assert deployed.project.auto_heal("restart").code == 0

    outcome = deployed.roll_back(f"api={before}")

    assert (outcome["ok"], outcome["rolled_back"]) == (True, True)
    assert len(deployed.runs) == 1
