"""A rollback whose command calls auto-heal itself: no deadlock, and no action happens twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest
from rolling import AUTO_HEAL, BACK, RUN, Deployed
from sandbox import PYTHON, Sandbox, wait_for

from remediation.system.environment import HELD_LOCKS
from remediation.system.process import Identity


@pytest.fixture
def deployed(project: Sandbox) -> Deployed:
    """A project whose service runs version 2."""
    return Deployed(project)


@pytest.mark.parametrize("options", ["", "restart = false"])
@pytest.mark.parametrize("step", ["restart api", "stop api && {auto_heal} start api"])
def test_a_command_may_restart_the_service_by_auto_heal(deployed: Deployed, step: str, options: str) -> None:
    deployed.rolls_back(BACK, f"{AUTO_HEAL} {step.format(auto_heal=AUTO_HEAL)}", options=options)

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, RUN)
    assert deployed.starts == ["2", "1"]
    assert deployed.version == "1"
    state = deployed.project.state
    assert state["last_heal"]["action"] == RUN
    assert (state["stopped_by_hand"], state["command"]) == (False, None)
    assert HELD_LOCKS not in psutil.Process(deployed.project.pid).environ()


def test_a_service_that_the_command_stopped_by_auto_heal_is_started(deployed: Deployed) -> None:
    deployed.rolls_back(f"{AUTO_HEAL} stop api", BACK)

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, f"{RUN}, restart")
    assert deployed.starts == ["2", "1"]
    assert deployed.version == "1"
    assert not deployed.project.state["stopped_by_hand"]


def test_two_auto_heals_in_one_command_do_not_get_in_each_others_way(deployed: Deployed) -> None:
    deployed.rolls_back(BACK, *[f"{AUTO_HEAL} restart api &"] * 2, "wait")

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, RUN)
    assert deployed.starts == ["2", "1", "1"]
    assert deployed.version == "1"


def test_an_auto_heal_that_outlives_the_command_waits_as_ever(deployed: Deployed) -> None:
    deployed.rolls_back(BACK, f"{AUTO_HEAL} restart api & echo $! > background")

    outcome = deployed.roll_back()

    (background,) = deployed.lines("background")
    wait_for(lambda: Identity.of(int(background)) is None)
    assert outcome["ok"]
    assert deployed.version == "1"


def test_a_restart_that_fails_within_the_command_is_tried_again(deployed: Deployed) -> None:
    steps = ["mv server.py away.py", f"{AUTO_HEAL} restart api", "mv away.py server.py", BACK]
    deployed.rolls_back(*steps)

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, f"{RUN}, restart")
    assert deployed.version == "1"


def test_a_rollback_does_not_roll_back_itself(deployed: Deployed) -> None:
    deployed.rolls_back(BACK, f"{PYTHON} -m healing roll_back api > inner")

    outcome = deployed.roll_back()

    (inner,) = json.loads(deployed.lines("inner")[0])
    assert (inner["refused"], inner["rolled_back"]) == (True, False)
    assert inner["reason"] == "api: not rolled back from within its own rollback"
    assert outcome["ok"]
    assert len(deployed.runs) == 1


def test_a_rollback_that_checks_by_a_pipe_is_not_ended_by_what_it_runs(deployed: Deployed) -> None:
    server = deployed.project.pid
    deployed.rolls_back(
        f"{AUTO_HEAL} restart api | cat > told",
        BACK,
        command='restart = ["sh", "-c", "echo again >> restarts"]',
    )

    outcome = deployed.roll_back()

    assert (outcome["ok"], outcome["action"]) == (True, RUN)
    assert deployed.lines("restarts") == ["again"]
    assert any("restarted" in line for line in deployed.lines("told"))
    assert deployed.lines("version") == ["1"]
    assert Identity.of(server)


def test_a_project_in_a_folder_of_any_name_grants_its_locks(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9 \"'\\")
    try:
        root.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    place = Sandbox(root)
    try:
        deployed = Deployed(place)
        deployed.rolls_back(BACK, f"{AUTO_HEAL} restart api")

        outcome = deployed.roll_back()

        assert (outcome["ok"], outcome["action"]) == (True, RUN)
    finally:
        place.clean()
