"""The wait after a deployment: the old process cannot pass for the new one, and the new one may take its time."""

from __future__ import annotations

from typing import Any

import pytest
from deploying import ERRORS, VERSION, Stage
from sandbox import DEADLINE, Sandbox, wait_for

OLD_ANSWERS = "api: version 1.0 answers, expected 2.0"


@pytest.fixture
def stage(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A service that is deployed from a git repository."""
    return Stage(project, monkeypatch)


def test_an_old_process_does_not_pass_for_the_new_one_and_is_left_alone(stage: Stage) -> None:
    stage.predeploy()
    stage.check_out(stage.commit("2.0"))
    pid = stage.project.pid

    result = stage.postdeploy("--wait", "1s", "--expect-version", "2.0")

    assert result.code == 1, result
    assert OLD_ANSWERS in result.output
    assert OLD_ANSWERS in stage.failures["api version"]
    assert set(stage.failures) == {"api version"}
    assert stage.verdict == "sick"
    assert stage.project.pid == pid
    assert stage.rollbacks == []


def test_the_version_that_is_expected_passes(stage: Stage) -> None:
    stage.deploy("2.0")

    result = stage.postdeploy("--expect-version", "api=2.0")

    assert result.code == 0, result
    assert stage.verdict == "healthy"


def test_an_old_process_that_goes_on_answering_for_a_while_is_waited_for(stage: Stage) -> None:
    stage.predeploy()
    stage.check_out(stage.commit("2.0"))
    log = stage.root / "api-server.log"
    asked = log.read_text().count("GET ")

    waiting = stage.project.start("remediation", "postdeploy", "--wait", "60s", "--expect-version", "2.0")
    try:
        # It has asked more than once, so it has seen the old version and goes on.
        wait_for(lambda: log.read_text().count("GET ") > asked + 3)
        restarted = stage.project.auto_heal("restart")
        output, _ = waiting.communicate(timeout=2 * DEADLINE)
    finally:
        waiting.kill()

    assert restarted.code == 0, restarted
    assert waiting.returncode == 0, output
    assert stage.verdict == "healthy"
    assert stage.version == "2.0"
    assert len(stage.project.servers()) == 1
    assert stage.rollbacks == []


def test_a_deployment_that_is_not_ready_in_time_is_rolled_back(stage: Stage) -> None:
    stage.rolls_back(service=[VERSION, "start_timeout = 3"])
    stage.predeploy()
    stage.deploy("2.0", starts_after=600)

    result = stage.postdeploy("--wait", "0.1s", "--expect-version", "2.0")

    assert result.code == 11, result
    assert "New version not ready after " in result.output
    assert stage.is_back()


def test_after_a_rollback_the_old_version_is_the_right_one(stage: Stage) -> None:
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy("--expect-version", "2.0")

    assert result.code == 11, result
    assert stage.is_back()
    assert stage.failures == {}


def test_a_rollback_to_an_unknown_version_is_a_rollback_all_the_same(stage: Stage) -> None:
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy("--expect-version", "2.0")

    assert result.code == 11, result
    assert stage.is_back()


@pytest.mark.parametrize(
    ("health", "field", "version"),
    [
        ({"status": "ok", "version": 7}, "version", "7"),
        ({"status": "ok", "version": 2.5}, "version", "2.5"),
        ({"status": "ok", "build": {"version": "2.0"}}, "build.version", "2.0"),
    ],
)
def test_a_version_may_be_a_number_or_lie_deeper(
    stage: Stage, health: dict[str, Any], field: str, version: str
) -> None:
    stage.rolls_back(service=[f'version = {{ path = "/api/health", field = "{field}" }}'])
    stage.deploy("2.0", health=health)

    right = stage.postdeploy("--expect-version", version)
    wrong = stage.postdeploy("--wait", "0.1s", "--expect-version", "9.9")

    assert right.code == 0, right
    assert wrong.code == 1, wrong
    assert f"api: version {version} answers, expected 9.9" in wrong.output


def test_a_service_that_tells_no_version_is_not_taken_for_the_new_one(stage: Stage) -> None:
    stage.deploy("2.0", health={"status": "ok"})

    result = stage.postdeploy("--wait", "0.1s", "--expect-version", "2.0")

    assert result.code == 1, result
    assert "api: reports no version, expected 2.0" in result.output
    assert stage.rollbacks == []


def test_a_version_cannot_be_expected_where_none_is_configured(stage: Stage) -> None:
    stage.configure()

    result = stage.postdeploy("--expect-version", "2.0")

    assert result.code == 4, result
    assert "version" in result.output
    assert len(result.lines) == 1


def test_nobody_waits_for_a_service_that_nobody_starts(stage: Stage) -> None:
    stage.configure(VERSION, "start_timeout = 60")
    assert stage.project.auto_heal("stop").code == 0

    result = stage.postdeploy("--wait", "1h")

    assert result.code == 1, result
    assert "stopped by hand" in result.output
    assert stage.project.servers() == []
