"""The rollback of `postdeploy`: when it runs, what it reports, and what happens if it fails."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from deploying import BACK, ERRORS, NO_GIRLS, VERSION, Stage, by_hand, count
from sandbox import DEADLINE, Sandbox, wait_for

from remediation.system.process import Identity

# Checks that come after the one of girls: whoever decides by that one's failure, decides after these.
_SOMEBODY_RESTARTS = '''import subprocess
import sys


def test_somebody_else():
    """somebody else"""
    subprocess.run([sys.executable, "-m", "remediation", "restart", "api"], check=True)
'''
_SOMEBODY_PAUSES = '''import subprocess
import sys
from pathlib import Path


def test_somebody_else():
    """somebody else"""
    if Path("seen").exists():
        subprocess.run([sys.executable, "-m", "remediation", "pause"], check=True)
    Path("seen").touch()
'''


@pytest.fixture
def stage(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A service that is deployed from a git repository."""
    return Stage(project, monkeypatch)


@pytest.mark.parametrize("answers", [ERRORS, NO_GIRLS], ids=["errors", "empty"])
def test_a_deployment_that_no_restart_helps_is_rolled_back(stage: Stage, answers: dict[str, object]) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=answers)
    broken = stage.project.pid

    result = stage.postdeploy()

    assert result.code == 11, result
    assert stage.verdict == "rolled-back"
    assert stage.is_back()
    assert len(stage.rollbacks) == 1
    assert Identity.of(broken) is None
    told = result.output
    assert told.index("/api/girls: broken by the deployment") < told.index("rollback.sh"), result
    assert told.index("Server restarted") < told.index("rollback.sh"), result


def test_a_rollback_is_in_the_report_the_history_and_the_log_of_the_service(stage: Stage) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    assert result.code == 11, result
    assert stage.failures == {}
    assert count(stage.cases["test_girls"], "flakyFailure") == 4
    assert "rollback by sh" in (stage.project.property("api.action") or "")
    heals = json.loads(stage.project.auto_heal("report", "--json").output)["heals"]
    actions = [heal["action"] for heal in heals]
    assert [action.split()[0] for action in actions].count("rollback") == 1, actions
    assert f"back to {stage.first}" in (stage.root / "api-server.log").read_text()
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        ([BACK, by_hand("restart")], ""),
        ([BACK, by_hand("restart")], "restart = false"),
        ([by_hand("stop"), BACK, by_hand("start")], ""),
        ([by_hand("stop"), BACK], ""),
    ],
    ids=["restart", "restart alone", "stop and start", "stop"],
)
def test_a_rollback_may_call_auto_heal_itself(stage: Stage, steps: Sequence[str], options: str) -> None:
    stage.rolls_back(*steps, options=options)
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy("--expect-version", "2.0")

    assert result.code == 11, result
    assert stage.verdict == "rolled-back"
    assert stage.is_back()
    assert len(stage.rollbacks) == 1


def test_two_postdeploys_at_once_roll_back_once(stage: Stage) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    both = [stage.project.start("remediation", "postdeploy") for _ in range(2)]
    try:
        outputs = [process.communicate(timeout=4 * DEADLINE)[0] for process in both]
    finally:
        for process in both:
            process.kill()

    codes = sorted(process.returncode for process in both)
    assert codes in ([11, 11], [0, 11]), outputs
    assert len(stage.rollbacks) == 1, outputs
    assert stage.is_back()


def test_a_deployment_is_rolled_back_while_a_monitor_watches(stage: Stage) -> None:
    stage.rolls_back(top=["interval = 1"])
    stage.predeploy()
    monitor = stage.project.start("remediation", "monitor")
    try:
        wait_for(lambda: "Check #1" in stage.project.log)
        stage.deploy("2.0", answers=ERRORS)

        result = stage.postdeploy()

        monitor.send_signal(signal.SIGTERM)
        told, _ = monitor.communicate(timeout=2 * DEADLINE)
    finally:
        monitor.kill()
    assert result.code == 11, result
    assert "rollback.sh" not in told
    assert len(stage.rollbacks) == 1
    assert stage.is_back()


def test_a_restart_by_somebody_else_does_not_take_the_place_of_the_rollback(stage: Stage) -> None:
    stage.rolls_back(top=["latency = { calls = 1 }"])
    stage.project.write("healthtests/test_later.py", _SOMEBODY_RESTARTS)
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    assert result.code == 11, result
    assert len(stage.rollbacks) == 1
    assert stage.is_back()


# Back, and no better.


def test_a_rollback_that_fails_leaves_both_failures_in_the_report(stage: Stage) -> None:
    stage.rolls_back("exit 3")
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    is_sick(stage, result.code, "api rollback")
    assert "rollback.sh` exited with status 3" in result.output
    assert "exited with status 3" in everything(stage)


def test_a_rollback_that_brings_back_a_broken_version_leaves_both_failures_in_the_report(stage: Stage) -> None:
    stage.rolls_back("true", service=[VERSION, "start_timeout = 5"])
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    is_sick(stage, result.code, "api version")
    assert count(stage.cases["test_girls"], "rerunFailure") == 5


def test_a_rollback_that_hangs_is_ended(stage: Stage) -> None:
    stage.rolls_back("exec sleep 60", options="timeout = 0.5")
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    is_sick(stage, result.code, "api rollback")
    assert [Identity.of(pid) for pid in stage.rollbacks] == [None]
    assert "did not end within 0.5s" in everything(stage)


def is_sick(stage: Stage, code: int, *others: str) -> None:
    """Assert one attempted rollback, and a report with the failures before and after it, and `others`."""
    assert code == 1
    assert stage.verdict == "sick"
    assert len(stage.rollbacks) == 1
    assert set(stage.failures) == {"test_girls", *others}
    assert stage.failures["test_girls"].startswith("broken by the deployment")
    assert count(stage.cases["test_girls"], "rerunFailure") >= 3
    assert len(stage.project.servers()) == 1


def everything(stage: Stage) -> str:
    """Return the whole content of the report."""
    return ET.tostring(stage.project.report, encoding="unicode")


# No way back.


def test_without_a_rollback_in_the_configuration_it_stays_sick(stage: Stage) -> None:
    stage.configure(VERSION)
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    assert result.code == 1, result
    assert stage.verdict == "sick"
    assert stage.version == "2.0"


@pytest.mark.parametrize(
    ("before", "options"),
    [([], ["--no-heal"]), ([], ["--heal=plan"]), (["pause"], []), (["stop"], [])],
    ids=["no-heal", "plan", "paused", "stopped"],
)
def test_nothing_is_rolled_back_where_nothing_is_to_be_healed(
    stage: Stage, before: Sequence[str], options: Sequence[str]
) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)
    deployed = stage.head
    if before:
        assert stage.project.auto_heal(*before).code == 0
    servers = stage.project.servers()

    result = stage.postdeploy(*options)

    assert result.code == 1, result
    assert stage.verdict == "sick"
    assert stage.rollbacks == []
    assert stage.head == deployed
    assert stage.project.servers() == servers


def test_a_pause_that_begins_meanwhile_is_kept(stage: Stage) -> None:
    stage.rolls_back(top=["latency = { calls = 1 }"])
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)
    stage.project.write("healthtests/test_later.py", _SOMEBODY_PAUSES)

    result = stage.postdeploy()

    assert result.code == 1, result
    assert "Server restarted" in result.output
    assert stage.rollbacks == []
    assert stage.version == "2.0"


def test_a_plain_check_restarts_and_never_rolls_back(stage: Stage) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.project.check()

    assert result.code == 1, result
    assert stage.rollbacks == []
    assert stage.version == "2.0"


def test_a_check_rolls_back_when_it_is_told_to(stage: Stage) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.project.check("--rollback")

    assert result.code == 11, result
    assert stage.verdict == "rolled-back"
    assert stage.is_back()


def test_a_monitor_that_is_told_to_roll_back_does_not_begin(stage: Stage) -> None:
    result = stage.project.auto_heal("monitor", "--rollback")

    assert result.code == 4, result
    assert "rollback" in result.output
    assert len(result.lines) == 1
