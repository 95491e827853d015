"""A pause of one service: it is not healed, for nobody and by nobody, and all others are."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from sandbox import PATIENT, Sandbox, free_port
from watching import watching

REASON = "db: healing is paused; run `auto-heal resume db` to resume it"


@pytest.fixture
def pair(project: Sandbox) -> Sandbox:
    """A project whose api and db run, each with a check of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    project.configure(
        top="retries = 1\ninterval = 0.3",
        more=f'[services.db]\ncommand = ["{sys.executable}", "{PATIENT}"]\nurl = "{url}"\nready = "/api/health"\n'
        'rollback = ["touch", "rolled-back"]\n',
    )
    project.write(
        "healthtests/test_db.py",
        "import pytest\n\npytestmark = pytest.mark.heals('db')\n\n\n"
        "def test_db(services):\n    assert services['db'].get('/api/girls').json()\n",
    )
    assert project.auto_heal("start").code == 0
    return project


def kill(project: Sandbox, name: str) -> None:
    """Kill the process of a service."""
    os.kill(int((project.root / f".{name}-server.pid").read_text()), signal.SIGKILL)


def restarts(project: Sandbox, name: str) -> int:
    """Return how many restarts the budget of a service counts."""
    return len(json.loads((project.root / ".auto-heal" / f"{name}.json").read_text())["restarts"])


def test_a_paused_service_is_not_healed_and_the_others_are(pair: Sandbox) -> None:
    assert REASON in pair.auto_heal("pause", "db").output
    kill(pair, "db")
    kill(pair, "api")

    refused = pair.auto_heal("check")
    status, plan = pair.auto_heal("status"), pair.auto_heal("plan")
    entries = {entry["service"]: entry["paused"] for entry in json.loads(pair.auto_heal("status", "--json").output)}
    budget = restarts(pair, "db")
    resumed = pair.auto_heal("resume", "db")
    healed = pair.auto_heal("check")

    assert (refused.code, healed.code) == (1, 0), refused
    assert REASON in refused.output
    assert "api restarted" in refused.output
    assert "db restarted" not in refused.output
    assert REASON in status.output
    assert entries == {"api": False, "db": True}
    assert f"would do nothing: {REASON}" in plan.output
    assert budget == 0
    assert "db: healing is on" in resumed.output
    assert "db restarted" in healed.output


@pytest.mark.soak
def test_nothing_is_said_to_be_healed_when_all_that_is_sick_is_paused(pair: Sandbox) -> None:
    pair.auto_heal("pause", "db", "--for", "1h")
    kill(pair, "db")

    result = pair.auto_heal("check")

    assert "healing..." not in result.output
    assert "db: healing is paused until" in result.output


@pytest.mark.soak
def test_a_paused_dependency_is_not_healed_for_its_dependents(pair: Sandbox) -> None:
    config = pair.root / "auto-heal.toml"
    config.write_text(config.read_text().replace("[services.api]", '[services.api]\ndepends_on = ["db"]'))
    pair.write(
        "healthtests/test_db.py",
        "import pytest\n\n@pytest.mark.heals('api')\ndef test_api(services):\n    services['db'].get('/api/health')\n",
    )
    pair.auto_heal("pause", "db")
    kill(pair, "db")

    result = pair.auto_heal("check")

    assert result.code == 1
    assert REASON in result.output
    assert "api: left alone, since db could not be healed" in result.output


@pytest.mark.soak
def test_a_paused_service_is_not_rolled_back(pair: Sandbox) -> None:
    assert pair.auto_heal("predeploy").code == 0
    pair.auto_heal("pause", "db")
    kill(pair, "db")

    result = pair.auto_heal("postdeploy", "--wait", "0.5s")

    assert result.code == 1, result
    assert REASON in result.output
    assert not (pair.root / "rolled-back").exists()


@pytest.mark.soak
def test_a_monitor_respects_the_pause_of_one_service(pair: Sandbox) -> None:
    pair.auto_heal("pause", "db")

    with watching(pair) as monitor:
        monitor.ends_check(1)
        kill(pair, "db")
        monitor.says(REASON, times=2)
        assert monitor.count("db restarted") == 0
        pair.auto_heal("resume", "db")
        monitor.says("db restarted")


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_service_that_is_not_configured_is_refused(project: Sandbox, command: str) -> None:
    result = project.auto_heal(command, "web")

    assert result.code == 4
    assert "no service is called 'web'" in result.output
    assert "known services: api" in result.output


def test_the_pause_of_all_and_that_of_one_end_apart(pair: Sandbox) -> None:
    pair.auto_heal("pause")
    pair.auto_heal("pause", "db")

    first, second = pair.auto_heal("resume"), pair.auto_heal("resume", "db")

    assert first.output.splitlines() == ["Healing is on", REASON]
    assert second.output.splitlines() == ["db: healing is on"]
