"""One restart per service and round, a round of checks between two restarts, and a budget that only actions use."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rolling import Deployed
from sandbox import IMPATIENT, SERVE, Sandbox, free_port, wait_for

from remediation.system.process import Identity

# Fails while the file `cure` is missing, and notes each of its attempts.
CHECK = (
    "import pathlib, pytest\n\n\n@pytest.mark.heals('api')\ndef test_api():\n"
    "    with open('events', 'a') as events:\n        events.write('check\\n')\n"
    "    assert pathlib.Path('cure').exists()\n"
)
# A run does not try a start again whose next try is due after start_timeout.
ONE_TRY = "restart_delay = 60"
STARTS = json.dumps(["sh", "-c", "echo start >> events; exit 1"])


def state(project: Sandbox, name: str) -> dict[str, Any]:
    """Return the stored state of a service."""
    found: dict[str, Any] = json.loads((project.root / ".auto-heal" / f"{name}.json").read_text())
    return found


def events(project: Sandbox) -> list[str]:
    """Return the events, in order."""
    return (project.root / "events").read_text().split()


def has_one_check(project: Sandbox) -> None:
    """Replace the checks of the project by one that records its attempts."""
    for check in (project.root / "healthtests").glob("test_*.py"):
        check.unlink()
    project.write("healthtests/test_api.py", CHECK)


def depends_on_db(project: Sandbox, db: str) -> None:
    """Let api be up but failing, and depend on a db with these lines."""
    assert project.auto_heal("start").code == 0
    project.configure(
        'depends_on = ["db"]\nladder = ["restart", "restart", "restart"]',
        top=IMPATIENT,
        more=f'[services.db]\nurl = "tcp://127.0.0.1:{free_port()}"\n{ONE_TRY}\n{db}',
    )
    has_one_check(project)


def test_a_dependency_that_cannot_start_is_started_once_for_all_rungs_of_its_dependent(project: Sandbox) -> None:
    depends_on_db(project, f"command = {STARTS}")

    result = project.check()

    assert result.code == 1, result
    assert events(project) == ["check", "start"]
    assert len(state(project, "db")["restarts"]) == 1
    assert "api: left alone, since db could not be healed" in result.output


def test_a_dependency_climbs_its_own_ladder_with_a_round_of_checks_between_two_rungs(project: Sandbox) -> None:
    depends_on_db(project, f'command = {STARTS}\nladder = ["restart", {{ run = ["true"] }}]')

    result = project.check()

    assert result.code == 1, result
    assert events(project) == ["check", "start", "check", "start"]
    # Neither was ready, so both are tries of one restart.
    assert len(state(project, "db")["restarts"]) == 1


def test_a_dependency_that_is_refused_is_asked_for_once_a_run(project: Sandbox) -> None:
    depends_on_db(project, f"command = {STARTS}\nbudget = {{ restarts = 0 }}")

    result = project.check()

    assert result.code == 1, result
    assert result.output.count("db: restart budget spent") == 1
    assert events(project) == ["check"]


def test_between_two_rungs_of_a_service_that_does_not_start_the_checks_are_run(project: Sandbox) -> None:
    ladder = 'ladder = ["restart", "restart", "restart"]'
    project.configure(f"{ladder}\n{ONE_TRY}", top=IMPATIENT, command=f"command = {STARTS}")
    has_one_check(project)

    result = project.check()

    assert result.code == 1, result
    assert events(project) == ["check", "start", "check", "start", "check", "start"]
    assert project.property("rounds") == "3"
    # None was ready, so all of them are tries of one restart.
    assert len(project.state["restarts"]) == 1


def test_no_rung_is_used_for_what_the_checks_between_found_well(project: Sandbox) -> None:
    command = json.dumps(["sh", "-c", "echo start >> events; touch cure; exit 1"])
    ladder = 'ladder = ["restart", "restart"]'
    project.configure(f"{ladder}\n{ONE_TRY}", top=IMPATIENT, command=f"command = {command}")
    has_one_check(project)

    result = project.check()

    assert result.code == 0, result
    assert events(project) == ["check", "start", "check"]


@pytest.mark.parametrize(
    ("service", "command", "reason"),
    [
        ("", 'command = ["no-such-program"]', "'no-such-program' was not found"),
        ("", 'command = ["./script"]', "'./script' is not executable"),
        ("", 'command = ["./orphan"]', "an interpreter"),
        ("", 'command = ["./nonsense"]', "'./nonsense'"),
        ('cwd = "nowhere"', None, "nowhere (cwd) does not exist"),
        ('log_file = "folder"', None, "folder"),
        ("", 'restart = ["no-such-program"]', "'no-such-program' was not found"),
        ('ladder = [{ run = ["no-such-tool"] }]', 'command = ["no-such-program"]', "'no-such-program' was not found"),
    ],
)
def test_what_cannot_be_started_costs_no_budget(
    project: Sandbox, service: str, command: str | None, reason: str
) -> None:
    project.write("script", "")
    project.write("orphan", "#!/nowhere/interpreter\n").chmod(0o755)
    project.write("nonsense", "\x7fELF nonsense").chmod(0o755)
    (project.root / "folder").mkdir()
    project.configure(service, top=IMPATIENT, command=command)

    result = project.check()

    assert result.code == 1, result
    assert reason in result.output
    assert project.state["restarts"] == []
    assert project.state["heals"] == 0
    assert (project.property("api.action") or "").startswith("none: api: ")
    assert not project.family()


@pytest.mark.parametrize("free_port", ["own", "never"])
def test_a_port_that_may_not_be_freed_costs_no_budget(project: Sandbox, free_port: str) -> None:
    project.configure(f'free_port = "{free_port}"', top=IMPATIENT)
    stranger = project.stranger_on_port()

    result = project.check()

    assert result.code == 1, result
    assert f"port {project.port} is held by " in result.output
    assert stranger.poll() is None
    assert project.state["restarts"] == []
    assert not (project.root / ".auto-heal" / "evidence").exists()


def test_a_stranger_that_is_ended_costs_budget_though_nothing_could_be_started(project: Sandbox) -> None:
    ladder = 'free_port = "user"\nladder = [{ run = ["true"] }]'
    project.configure(ladder, top=IMPATIENT, command='command = ["no-such-program"]')
    stranger = project.stranger_on_port()

    result = project.check()

    assert result.code == 1, result
    assert stranger.wait(30) == -signal.SIGTERM
    assert len(project.state["restarts"]) == 1


@pytest.mark.parametrize("command", ['["no-such-program"]', '["./script"]'])
def test_a_sick_service_is_not_ended_for_a_command_that_cannot_be_started(healthy: Sandbox, command: str) -> None:
    healthy.write("script", "")
    pid = healthy.pid
    healthy.get("/fall-ill/errors")
    healthy.configure(top=IMPATIENT, command=f"command = {command}")

    result = healthy.check()

    assert result.code == 1, result
    assert Identity.of(pid)
    assert healthy.state["restarts"] == []
    assert "did not start" not in result.output


def test_a_program_is_looked_for_in_the_folders_of_its_own_path(project: Sandbox) -> None:
    tool = project.write("app/bin/serve", f"#!/bin/sh\nexec {SERVE}\n")
    tool.chmod(0o755)
    path = f"bin:{os.environ.get('PATH', os.defpath)}"
    project.configure(f'cwd = "app"\nenv = {{ PATH = "{path}" }}', top="retries = 1", command='command = ["serve"]')

    result = project.check()

    assert result.code == 0, result


def test_what_costs_nothing_does_not_put_the_next_restart_off(project: Sandbox) -> None:
    spent = {"restarts": [], "delay": 8.0, "not_before": 1.0, "troubled_at": 0.0, "heals": 3}
    project.configure(top=IMPATIENT, command='command = ["no-such-program"]')
    # Lately enough that the delay still holds.
    project.write(".auto-heal/api.json", json.dumps(spent | {"troubled_at": Path("/proc").stat().st_ctime + 1e9}))
    project.check()
    project.write(".auto-heal/api.json", json.dumps(project.state | {"delay": 8.0, "not_before": 1.0}))

    result = project.check()

    assert result.code == 1, result
    assert (project.state["delay"], project.state["not_before"]) == (8.0, 1.0)


def test_a_healer_that_was_killed_half_way_has_counted(project: Sandbox) -> None:
    project.configure('env = { SLOW = "600" }', top=IMPATIENT)
    run = project.start("pytest", "healthtests")
    wait_for((project.root / ".api-server.pid").exists)

    project.kill(run)

    assert len(project.state["restarts"]) == 1


@pytest.mark.parametrize(("program", "counted"), [("./gone.sh", 0), ("true", 1)])
def test_a_rollback_costs_budget_if_its_command_was_run(project: Sandbox, program: str, counted: int) -> None:
    deployed = Deployed(project)
    project.configure(
        f'{deployed.table("starts")}\nrollback = {{ run = "{program}", restart = false }}', command=deployed.command
    )

    deployed.roll_back()

    assert len(project.state["restarts"]) == counted
    assert deployed.starts == ["2"]
