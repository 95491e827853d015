"""The reports around a deployment stay true: a failed rollback, a version that flaps, a missing check."""

from __future__ import annotations

import itertools
import json
import signal
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from answering_versions import Web
from deploying import BACK, ERRORS, VERSION, Stage, by_hand
from remediations import remediation
from sandbox import DEADLINE, Sandbox, free_port, wait_for

from remediation.config.load import load_project
from remediation.deployment.context import Deployment
from remediation.run.run_state import RunState
from remediation.system.process import Identity

# The deployed version gets well, and stays deployed.
_MEND = r"""sed -i 's/"\/api\/girls": \[500, [^]]*\]/"\/api\/none": [200, []]/' app/behaviour.json"""

_COUNTED = """
def test_counted():
    with open("calls", "a") as file:
        file.write("x")
"""


@pytest.fixture
def stage(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A service that is deployed from a git repository."""
    return Stage(project, monkeypatch)


def deployed_badly(stage: Stage, *, baseline: bool = True) -> None:
    """Deploy a version whose girls fail."""
    if baseline:
        stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)


def test_a_rollback_that_failed_is_a_failure_whatever_the_checks_say(stage: Stage) -> None:
    stage.rolls_back(_MEND, "exit 3")
    deployed_badly(stage)

    result = stage.postdeploy()

    assert result.code == 1, result
    assert stage.version == "2.0"
    assert stage.verdict == "sick"
    assert stage.failures == {"api rollback": "exited with status 3"}
    assert "Still sick: api rollback" in result.output
    assert "Rolled back:" not in result.output


@pytest.mark.parametrize("known", [True, False], ids=["with a baseline", "without"])
def test_what_still_answers_was_not_rolled_back(stage: Stage, known: bool) -> None:
    stage.rolls_back(_MEND)
    deployed_badly(stage, baseline=known)

    result = stage.postdeploy("--expect-version", "2.0", "--wait", "1s")

    why = "version 2.0 answers, expected 1.0" if known else "version 2.0 still answers although it was rolled back"
    assert result.code == 1, result
    assert why in stage.failures["api version"]


def test_the_old_version_is_expected_after_a_rollback_though_none_was_before(stage: Stage) -> None:
    stage.rolls_back(_MEND)
    deployed_badly(stage)

    result = stage.postdeploy("--wait", "1s")

    assert result.code == 1, result
    assert "version 2.0 answers, expected 1.0" in stage.failures["api version"]


def test_the_old_version_is_waited_for_where_somebody_else_brings_it_back(stage: Stage) -> None:
    stage.rolls_back(BACK, f"(sleep 1; {by_hand('restart')}) > /dev/null 2>&1 &", options="restart = false")
    deployed_badly(stage)

    result = stage.postdeploy("--expect-version", "2.0", "--wait", "30s")

    assert result.code == 11, result
    assert stage.is_back()
    assert "api: version 2.0 answers, expected 1.0)..." in result.output


def test_only_what_was_rolled_back_is_of_the_old_version() -> None:
    told = Deployment("after", "b", {"api": "2", "web": "2"})

    assert told.back(["api"], {"api": "1", "web": "1"}).versions == {"api": "1", "web": "2"}
    unknown = told.back(["api"], {})
    assert (unknown.versions, unknown.undone) == ({"api": "", "web": "2"}, {"api": "2"})
    assert Deployment("after", "b").back(["api"], {"api": "1"}).versions == {"api": "1"}


def test_to_who_does_not_roll_back_the_rollback_of_another_is_a_heal(project: Sandbox) -> None:
    back = remediation(action="rollback by x by another auto-heal", rolled_back=True)
    verdicts = []
    for rollback in (True, False):
        run_state = RunState(load_project(project.root, {}), rollback=rollback)
        run_state.add([back])
        verdicts.append(run_state.verdict_if_passed)

    assert verdicts == ["rolled-back", "healed"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_rollback_that_is_interrupted_is_ended_and_told(stage: Stage, signum: int) -> None:
    stage.rolls_back("exec sleep 600")
    deployed_badly(stage)
    running = stage.project.start("remediation", "postdeploy")
    wait_for(lambda: stage.rollbacks)
    script = Identity.of(stage.rollbacks[0])

    running.send_signal(signum)

    output = running.communicate(timeout=DEADLINE)[0]
    assert running.returncode == 2, output
    assert "❌ Interrupted while rolling back api" in output
    assert script is None or not script.alive
    assert "Interrupted while rolling back" in stage.project.log


@pytest.mark.parametrize("gone", ["deleted", "skipped"])
def test_a_check_that_is_gone_is_told(stage: Stage, gone: str) -> None:
    stage.predeploy()
    stage.deploy("2.0")
    check = stage.root / "healthtests" / "test_items.py"
    if gone == "deleted":
        check.unlink()
    else:
        check.write_text(check.read_text().replace("def test_girls", "@pytest.mark.skip(reason='x')\ndef test_girls"))

    result = stage.postdeploy()

    assert result.code == 0, result
    assert "⚠️ /api/girls: passed before, did not run now" in result.output
    assert "nothing changed" not in result.output


def test_a_rollback_that_sweeps_away_what_git_does_not_know_is_one(stage: Stage) -> None:
    stage.rolls_back(BACK, "rm -rf .auto-heal reports .api-server.pid")
    deployed_badly(stage)

    result = stage.postdeploy()

    assert result.code == 11, result
    assert stage.is_back()
    assert stage.verdict == "rolled-back"


def test_a_rollback_of_the_checks_themselves_leaves_no_verdict_and_says_why(stage: Stage) -> None:
    stage.rolls_back(BACK, "printf '[pytest]\\naddopts = -p no:auto-heal\\n' >pytest.ini")
    deployed_badly(stage)

    result = stage.postdeploy()

    assert result.code == 3, result
    assert "❌ Rolled back, but the checks could not be run after it" in result.output
    assert stage.is_back()


def test_a_version_that_flaps_is_not_the_one_that_is_expected(project: Sandbox) -> None:
    project.configure('version = { path = "/v", field = "id" }', command='restart = ["true"]')
    for path in (project.root / "healthtests").glob("test_*.py"):
        path.unlink()
    project.write("healthtests/test_nothing.py", "def test_nothing():\n    pass\n")
    with closing(Web(project.port)) as web:
        web.versions = itertools.cycle(["2", "2", "1"])

        result = project.auto_heal("postdeploy", "--expect-version", "2", "--wait", "20s")

    assert result.code == 1, result
    assert "api: version 1 answers, expected 2" in result.output


def test_a_second_postdeploy_does_not_go_back_further(stage: Stage) -> None:
    # What comes back is as broken, so that the second one could think that it has to go on.
    stage.rolls_back(
        'sed -i "s/no such table/still none/" app/behaviour.json', "sleep 5", service=[VERSION, "start_timeout = 5"]
    )
    deployed_badly(stage)
    first = stage.project.start("remediation", "postdeploy")
    wait_for(lambda: stage.rollbacks)

    second = stage.postdeploy()

    assert first.communicate(timeout=2 * DEADLINE)[0]
    assert (first.returncode, second.code) == (1, 1), second
    assert len(stage.rollbacks) == 1, second
    assert "api: already rolled back, not again" in second.output


def test_the_first_version_that_tells_itself_can_be_rolled_back(stage: Stage) -> None:
    stage.check_out(stage.commit("1.0", health={"status": "ok"}))
    assert stage.project.auto_heal("restart").code == 0
    old = stage.head
    deployed_badly(stage)

    result = stage.postdeploy("--expect-version", "2.0")

    assert result.code == 11, result
    assert stage.head == old


def test_a_version_alone_makes_nobody_healthy(stage: Stage) -> None:
    result = stage.postdeploy("--expect-version", "1.0", "-k", "nosuch")

    assert result.code == 5, result


def test_the_version_is_checked_without_rerunfailures(stage: Stage) -> None:
    result = stage.postdeploy("--expect-version", "1.0", "-p", "no:rerunfailures", "--strict-markers")

    assert result.code == 0, result
    assert "api version OK (version: 1.0)" in result.output


def test_what_is_well_goes_back_with_what_shares_its_rollback(stage: Stage) -> None:
    web = free_port()
    words = json.dumps([sys.executable, "server.py"])
    stage.rolls_back()
    text = (stage.root / "auto-heal.toml").read_text()
    rollback = next(line for line in text.splitlines() if line.startswith("rollback"))
    more = f'command = {words}\ncwd = "app"\nurl = "http://127.0.0.1:{web}"\nready = "/api/health"\n{rollback}\n'
    stage.project.write("auto-heal.toml", f"{text}\n[services.web]\n{more}")
    stage.predeploy("--allow-sick")
    stage.check_out(stage.commit("2.0", answers=ERRORS))
    assert stage.project.auto_heal("restart").code == 0

    result = stage.postdeploy()

    assert result.code == 11, result
    assert len(stage.rollbacks) == 1
    assert "shares the rollback of api" in (stage.project.property("web.cause") or "")
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/api/health", timeout=DEADLINE) as answer:
        assert json.loads(answer.read())["version"] == "1.0"


def test_a_monitor_stands_beside_no_deployment(stage: Stage) -> None:
    stage.project.write("healthtests/test_counted.py", _COUNTED)
    monitor = stage.project.start("remediation", "monitor", "-o", "addopts=--rollback")
    wait_for(lambda: "Status: healthy" in stage.project.log)
    monitor.send_signal(signal.SIGTERM)

    assert monitor.communicate(timeout=DEADLINE)[0]
    assert (stage.root / "calls").read_text() == "x"


@pytest.mark.parametrize("command", ["predeploy", "postdeploy"])
def test_without_a_check_there_is_nothing_to_compare(stage: Stage, command: str) -> None:
    stage.predeploy()

    result = stage.project.auto_heal(command, "--collect-only")

    assert result.code == 4, result
    assert "--collect-only: runs no check, so there is nothing to compare" in result.output
    assert stage.baseline.exists()


@pytest.mark.parametrize("word", ["appi=2.0", "", "2\n0"])
def test_a_version_that_cannot_be_is_refused_before_anything_is_waited_for(stage: Stage, word: str) -> None:
    result = stage.postdeploy("--expect-version", word, "--wait", "1h")

    assert result.code == 4, result
    assert len(result.lines) == 1


def test_what_is_no_baseline_is_left_alone(stage: Stage) -> None:
    notes: Path = stage.project.write("notes.txt", "precious")

    result = stage.project.auto_heal("predeploy", "--baseline", "notes.txt")

    assert result.code == 4, result
    assert len(result.lines) == 1
    assert notes.read_text() == "precious"


def test_the_folder_of_the_checks_in_an_option_selects_none(stage: Stage) -> None:
    result = stage.project.auto_heal("check", "--deselect", "healthtests/test_items.py::test_girls")

    assert result.code == 0, result
    assert "/api/health OK" in result.output
    assert "/api/girls" not in result.output
