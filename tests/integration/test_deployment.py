"""A real deployment from one git commit to the next: the baseline of `predeploy`, and the verdict of `postdeploy`."""

from __future__ import annotations

import json
import shutil
import stat

import pytest
from deploying import BOYS, ERRORS, NO_GIRLS, VERSION, Stage, count
from sandbox import Sandbox


@pytest.fixture
def stage(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A service that is deployed from a git repository."""
    return Stage(project, monkeypatch)


# Before.


def test_predeploy_keeps_a_baseline_that_its_owner_alone_can_read(stage: Stage) -> None:
    stage.predeploy()

    baseline = json.loads(stage.baseline.read_text())
    assert stat.S_IMODE(stage.baseline.stat().st_mode) == 0o600
    assert sorted(known["check"] for known in baseline["checks"].values()) == ["/api/girls", "/api/health", "process"]
    assert {known["outcome"] for known in baseline["checks"].values()} == {"passed"}
    assert baseline["versions"] == {"api": "1.0"}


def test_predeploy_heals_nothing_and_exits_with_1_if_something_is_sick(stage: Stage) -> None:
    stage.deploy("1.1", answers=ERRORS)
    pid = stage.project.pid

    sick = stage.project.auto_heal("predeploy")
    allowed = stage.project.auto_heal("predeploy", "--allow-sick")

    assert (sick.code, allowed.code) == (1, 0), (sick, allowed)
    assert stage.project.pid == pid
    assert stage.rollbacks == []
    outcomes = {known["check"]: known["outcome"] for known in json.loads(stage.baseline.read_text())["checks"].values()}
    assert outcomes == {"/api/health": "passed", "/api/girls": "failed", "process": "passed"}


@pytest.mark.soak
def test_a_baseline_of_an_earlier_deployment_does_not_outlive_a_predeploy_that_breaks_off(stage: Stage) -> None:
    stage.predeploy()
    stage.project.write("healthtests/test_broken.py", "def test_nothing(:\n")

    result = stage.project.auto_heal("predeploy")

    assert result.code not in (0, 1), result
    assert not stage.baseline.exists()


@pytest.mark.soak
def test_a_baseline_can_be_carried_elsewhere(stage: Stage) -> None:
    stage.predeploy("--baseline", "artifacts/before.json")
    stage.deploy("2.0", answers=ERRORS)
    shutil.move(stage.root / "artifacts" / "before.json", stage.root / "carried.json")

    result = stage.postdeploy("--baseline", "carried.json")

    assert not stage.baseline.exists()
    assert result.code == 11, result
    assert "/api/girls: broken by the deployment" in result.output


# After.


def test_a_good_deployment_is_left_alone(stage: Stage) -> None:
    stage.predeploy()
    stage.deploy("2.0")
    pid = stage.project.pid

    result = stage.postdeploy("--expect-version", "2.0")

    assert result.code == 0, result
    assert stage.verdict == "healthy"
    assert stage.version == "2.0"
    assert stage.project.pid == pid
    assert stage.rollbacks == []
    assert set(stage.cases) == {"test_health", "test_girls", "test_process", "api version"}


@pytest.mark.soak
def test_a_deployment_that_is_slow_to_start_is_waited_for(stage: Stage) -> None:
    stage.rolls_back(service=["start_timeout = 0.3"])
    stage.predeploy()
    restarted = stage.deploy("2.0", starts_after=3)
    pid = stage.project.pid

    result = stage.postdeploy("--wait", "20s")

    assert restarted.code == 1, restarted
    assert result.code == 0, result
    assert "Waiting for the new version" in result.output
    assert stage.verdict == "healthy"
    assert stage.version == "2.0"
    assert stage.project.pid == pid
    assert stage.rollbacks == []


@pytest.mark.soak
def test_a_deployment_that_crashes_at_its_start_is_rolled_back(stage: Stage) -> None:
    stage.predeploy()
    restarted = stage.deploy("2.0", crashes=True)

    result = stage.postdeploy("--wait", "1h", "--expect-version", "2.0")

    assert "no such table: girls" in restarted.output
    assert result.code == 11, result
    assert "nothing is starting the service" in result.output
    assert stage.verdict == "rolled-back"
    assert stage.is_back()
    assert len(stage.rollbacks) == 1


@pytest.mark.soak
def test_without_a_baseline_nothing_is_compared_and_what_fails_is_rolled_back(stage: Stage) -> None:
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    assert result.code == 11, result
    assert "There is no baseline .auto-heal/baseline.json, so nothing is compared" in result.output
    assert "broken by" not in result.output
    assert stage.is_back()


@pytest.mark.soak
@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": 1, "checks": {"a": 1}}'])
def test_a_broken_baseline_is_told_in_one_sentence_before_anything_is_touched(stage: Stage, text: str) -> None:
    stage.deploy("2.0", answers=ERRORS)
    pid = stage.project.pid
    stage.project.write(".auto-heal/baseline.json", text)

    result = stage.postdeploy()

    assert result.code == 4, result
    assert "baseline.json: is none" in result.output
    assert len(result.lines) == 1
    assert stage.project.pid == pid
    assert stage.rollbacks == []


# What was red before.


def test_what_was_broken_before_rolls_nothing_back(stage: Stage) -> None:
    stage.has_a_check_of_boys()
    stage.predeploy("--allow-sick")
    stage.deploy("2.0")

    result = stage.postdeploy()

    assert result.code == 1, result
    assert "/api/boys: still broken" in result.output
    assert stage.verdict == "sick"
    assert stage.version == "2.0"
    assert stage.rollbacks == []


@pytest.mark.soak
def test_what_was_broken_before_stays_so_when_something_else_is_rolled_back(stage: Stage) -> None:
    stage.has_a_check_of_boys()
    stage.predeploy("--allow-sick")
    stage.deploy("2.0", answers=NO_GIRLS)

    result = stage.postdeploy()

    assert result.code == 1, result
    assert "/api/girls: broken by the deployment" in result.output
    assert "/api/boys: still broken" in result.output
    assert stage.verdict == "sick"
    assert set(stage.failures) == {"test_boys"}
    assert len(stage.rollbacks) == 1
    assert stage.is_back()


@pytest.mark.soak
def test_what_was_broken_before_and_passes_now_is_repaired(stage: Stage) -> None:
    stage.has_a_check_of_boys()
    stage.predeploy("--allow-sick")
    stage.deploy("2.0", answers=BOYS)

    result = stage.postdeploy()

    assert result.code == 0, result
    assert "/api/boys: repaired" in result.output
    assert stage.verdict == "healthy"


# What is slower.

_CALLS = "latency = { calls = 3, margin = 0.2 }"


@pytest.mark.soak
def test_what_is_slower_than_before_is_reported(stage: Stage) -> None:
    stage.rolls_back(top=[_CALLS])
    stage.predeploy()
    stage.deploy("2.0", answers_after=0.3)

    result = stage.postdeploy()

    assert result.code == 0, result
    assert "/api/girls: slower: " in result.output
    assert stage.verdict == "healthy"
    assert stage.version == "2.0"


@pytest.mark.soak
def test_what_is_slower_is_rolled_back_on_request(stage: Stage) -> None:
    stage.rolls_back(top=[_CALLS])
    stage.predeploy()
    stage.deploy("2.0", answers_after=0.3)

    result = stage.postdeploy("--fail-on-slower")

    assert result.code == 11, result
    assert "/api/girls: takes " in result.output
    assert stage.is_back()


@pytest.mark.soak
def test_what_is_slower_fails_on_request(stage: Stage) -> None:
    stage.configure(VERSION, top=[_CALLS])
    stage.predeploy()
    stage.deploy("2.0", answers_after=0.3)

    result = stage.postdeploy("--fail-on-slower")

    assert result.code == 1, result
    assert "Slower: takes " in stage.failures["test_girls"]
    assert "❌ /api/girls: slower than before the deployment" in result.output
    assert "broken by the deployment" not in result.output
    assert stage.version == "2.0"


# Options of pytest.


@pytest.mark.soak
@pytest.mark.parametrize("options", [["-n", "2"], ["-x"]], ids=" ".join)
def test_options_of_pytest_work_as_ever(stage: Stage, options: list[str]) -> None:
    stage.predeploy(*options)
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy(*options, "--expect-version", "2.0")

    assert result.code == 11, result
    assert "/api/girls: broken by the deployment" in result.output
    assert set(stage.cases) == {"test_health", "test_girls", "test_process", "api version"}
    assert stage.failures == {}
    assert count(stage.cases["test_girls"], "flakyFailure") >= 2
    assert stage.is_back()
