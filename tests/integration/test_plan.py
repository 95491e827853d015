"""The plan: it shows what a heal would do now, does nothing, and matches the heal that follows."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import closing

import psutil
import pytest
from outcomes import outcome_of
from remediations import remediation
from sandbox import IMPATIENT, PATIENT, Sandbox, free_port

from remediation.config.load import load_project
from remediation.healing.dry_run import plan
from remediation.healing.incident import Incident
from remediation.state.history import History
from remediation.state.records import Result, Run
from remediation.state.service_state import Store


def planned(project: Sandbox, *arguments: str, **env: str) -> list[str]:
    """Return the plan of a project that fails, without the lines of the checks; assert that it fails."""
    result = project.auto_heal("plan", *arguments, **env)
    assert result.code == 1, result
    return [line for line in result.lines if line.startswith("  ") or " is sick: " in line or " не работает: " in line]


def state(project: Sandbox) -> dict[str, bytes]:
    """Return all files of a service."""
    root = project.root
    names = [root / ".api-server.pid", root / "api-server.log", *(root / ".auto-heal").glob("*.json")]
    return {path.name: path.read_bytes() for path in names if path.exists()}


def suspend(project: Sandbox) -> psutil.Process:
    """Start the service and suspend it."""
    project.auto_heal("start")
    os.kill(project.pid, signal.SIGSTOP)
    return psutil.Process(project.pid)


def test_nothing_is_planned_for_what_is_well(healthy: Sandbox) -> None:
    result = healthy.auto_heal("plan")

    assert result.code == 0, result
    assert result.lines[-1] == "✅ All systems are healthy"


def test_nothing_is_touched(project: Sandbox) -> None:
    process = suspend(project)
    before, born = state(project), process.create_time()

    project.auto_heal("plan")

    assert state(project) == before
    assert (process.status(), process.create_time()) == (psutil.STATUS_STOPPED, born)
    assert len(project.servers()) == 1
    assert not (project.root / ".auto-heal" / "evidence").exists()


def test_nothing_is_started(project: Sandbox) -> None:
    project.auto_heal("plan")

    assert not project.servers()
    assert state(project) == {}
    assert not list((project.root / ".auto-heal").glob("api.lock"))


def test_the_processes_that_would_end_and_the_command_that_would_start_are_named(project: Sandbox) -> None:
    project.configure('env = { CHILDREN = "1" }\nstop_timeout = 0.25\nstop_signal = "SIGINT"\nstart_timeout = 7')
    process = suspend(project)
    (child,) = process.children()

    lines = planned(project)

    ends = "SIGINT, and SIGKILL after 0.25s"
    user = process.username()
    assert lines == [
        f"api is sick: its process {process.pid} is stopped (SIGSTOP)",
        f"  would end {process.name()} (PID {process.pid}, user {user}): {ends}",
        f"  would end {child.name()} (PID {child.pid}, user {user}): {ends}",
        f"  would start `{' '.join(process.cmdline())}` in {project.root}",
        "  would wait up to 7s for 2xx at /api/health",
    ]


def test_what_is_planned_is_what_is_done(project: Sandbox) -> None:
    project.configure('free_port = "user"', command="command = " + json.dumps(["python3", str(PATIENT)]))
    project.auto_heal("start")
    os.kill(project.pid, signal.SIGKILL)
    stranger = project.stranger_on_port()

    lines = planned(project)
    result = project.check()

    assert f"PID {stranger.pid}, user" in lines[1]
    assert lines[1].startswith(f"  would free port {project.port} from python")
    assert f"Freeing port {project.port} (PID: {stranger.pid})..." in result.output
    assert result.code == 0


@pytest.mark.parametrize("wanted", [{"AUTO_HEAL": "plan"}, {}], ids=["environment", "option"])
def test_pytest_plans_as_well(project: Sandbox, wanted: dict[str, str]) -> None:
    result = project.check(*([] if wanted else ["--heal=plan"]), **wanted)

    assert result.code == 1, result
    assert "healing plan" in result.output
    assert "  would start `" in result.output
    assert "  would start `" in project.log
    assert project.property("verdict") == "sick"


def test_it_is_told_in_russian(project: Sandbox) -> None:
    lines = planned(project, AUTO_HEAL_LANG="ru")

    assert lines[0] == "Сервис api не работает: процесс сервиса не запущен"
    assert f"  будет запущена команда `{' '.join(load_project(project.root, {}).services['api'].command)}`" in lines[1]


def test_the_ladder_is_told_to_its_end(project: Sandbox) -> None:
    project.configure('ladder = [{ run = "make clean", timeout = 9 }, "restart", { run = ["npm", "ci"] }]')

    lines = planned(project)

    assert lines[1] == "  would run `make clean`, for up to 9s"
    assert lines[-1] == "  if that does not help, in further rounds: restart; npm ci, restart"


@pytest.mark.soak
def test_what_something_else_runs_would_be_asked_for(project: Sandbox) -> None:
    project.configure('restart = ["systemctl", "restart", "shop"]\nready = "tcp"', command="")

    assert planned(project)[1:] == [
        "  would run `systemctl restart shop`, for up to 30s",
        "  would wait up to 30s for a TCP connection",
    ]


def test_dependencies_come_first(project: Sandbox) -> None:
    more = f'[services.db]\ncommand = "db"\nurl = "tcp://127.0.0.1:{free_port()}"'
    project.configure('depends_on = ["db"]', more=more)

    lines = [line for line in planned(project) if " is sick: " in line]

    assert lines == [
        "db is sick: api depends on it and it is dead",
        "api is sick: its process is not running",
    ]


@pytest.mark.soak
def test_a_process_that_only_lost_its_file_would_be_remembered(project: Sandbox) -> None:
    project.auto_heal("start")
    pid = project.pid
    (project.root / ".api-server.pid").unlink()

    lines = planned(project)

    assert lines[0] == "api is sick: there is no PID file .api-server.pid"
    assert f"(PID {pid}, " in lines[1]
    assert lines[1].endswith(" again, without a restart")
    assert len(lines) == 2


def why_not(project: Sandbox) -> str:
    """Return the reason why a heal would do nothing."""
    lines = planned(project)
    assert len(lines) == 2, lines
    return lines[1].removeprefix("  would do nothing: ")


def test_a_stop_by_hand_is_told(healthy: Sandbox) -> None:
    healthy.auto_heal("stop")

    assert why_not(healthy) == "api: stopped by hand; run `auto-heal start api` to resume healing"


def test_a_pause_is_told(project: Sandbox) -> None:
    project.auto_heal("pause")

    assert why_not(project) == "Healing is paused; run `auto-heal resume` to resume it"


def test_a_spent_budget_is_told_and_not_noted(project: Sandbox) -> None:
    project.configure("budget = { restarts = 0, window = 60 }")

    assert why_not(project) == (
        "api: restart budget spent (0 in 60s), giving up; "
        "raise budget, or mend the cause and run `auto-heal restart api`"
    )
    assert state(project) == {}


@pytest.mark.soak
def test_what_is_never_healed_is_told(project: Sandbox) -> None:
    project.configure(command="")

    assert why_not(project).startswith("api: has neither command nor restart")


def test_another_healer_at_work_is_told(project: Sandbox) -> None:
    loaded = load_project(project.root, {})

    with Store(loaded).lock(loaded.services["api"], timeout=0):
        told = why_not(project)

    assert told == "another auto-heal is at work on it now"


def test_a_port_that_may_not_be_freed_is_told(project: Sandbox) -> None:
    project.configure('free_port = "own"', top=IMPATIENT)
    stranger = project.stranger_on_port()

    lines = planned(project)

    assert lines[1].startswith(f"  that would fail: api: port {project.port} is held by python")
    assert f"(PID {stranger.pid}, " in lines[1]
    assert len(lines) == 2


@pytest.mark.soak
@pytest.mark.parametrize(
    ("service", "command", "why"),
    [
        ('cwd = "gone"', 'command = "true"', "api: its working directory "),
        ("", 'command = "no-such-program"', "api: 'no-such-program' was not found"),
        ("", 'command = "./auto-heal.toml"', "api: './auto-heal.toml' is not executable"),
    ],
)
def test_a_command_that_cannot_be_started_is_told(project: Sandbox, service: str, command: str, why: str) -> None:
    project.configure(service, command=command)

    lines = planned(project)

    assert lines[1].startswith(f"  that would fail: {why}")
    assert len(lines) == 2


@pytest.mark.soak
def test_lines_of_the_plan_cannot_be_forged(project: Sandbox) -> None:
    project.configure(command="command = " + json.dumps(["true", "x\n2026-01-01 00:00:00 [SUCCESS] fine\x1b[2J"]))

    lines = planned(project)

    assert lines[1].startswith("  would start `true x\\n2026-01-01 00:00:00 [SUCCESS] fine\\x1b[2J`")


@pytest.mark.soak
def test_the_port_s_own_clients_would_be_left(healthy: Sandbox) -> None:
    with closing(socket.create_connection(("127.0.0.1", healthy.port))):
        healthy.get("/fall-ill/errors")

        lines = planned(healthy)

    assert not any(f"PID {os.getpid()}," in line for line in lines)


def at_last(project: Sandbox, *, rollback: bool = True) -> list[str]:
    """Return the planned rollback of api, or why a heal would do nothing."""
    found = load_project(project.root, {})
    incidents = [Incident(found.services["api"], "ill", 0.0, seen=0)]
    told = [str(message) for message in plan(incidents, found.services, Store(found), rollback=rollback)]
    return [line for line in told if "roll back" in line or "would do nothing" in line]


@pytest.mark.parametrize(
    ("service", "command"),
    [("", None), ("", 'restart = "true"'), ("", ""), ("budget = { restarts = 0 }", None)],
    ids=["started", "asked for", "only checked", "budget spent"],
)
def test_a_rollback_is_told_as_the_last_resort(project: Sandbox, service: str, command: str | None) -> None:
    project.configure(f'rollback = {{ run = "./back.sh 1", timeout = 9 }}\n{service}', command=command)

    lines = at_last(project)

    assert lines[-1] == "  if nothing helps, would roll back by `./back.sh 1`, for up to 9s"
    assert not [line for line in at_last(project, rollback=False) if "rolled back" in line]


def test_a_rollback_is_not_told_where_there_is_none_or_nothing_would_be_done(healthy: Sandbox) -> None:
    assert at_last(healthy) == []
    healthy.configure('rollback = "./back.sh"')
    healthy.auto_heal("stop")

    assert at_last(healthy) == ["  would do nothing: api: stopped by hand; run `auto-heal start api` to resume healing"]


def test_what_only_is_depended_on_is_not_rolled_back(project: Sandbox) -> None:
    more = f'[services.db]\ncommand = "db"\nurl = "tcp://127.0.0.1:{free_port()}"\nrollback = "./back.sh"'
    project.configure('depends_on = ["db"]', more=more)

    assert at_last(project) == []


def test_the_plan_tells_how_often_each_step_has_helped(project: Sandbox) -> None:
    found = load_project(project.root, {})
    service, now, store = found.services["api"], time.time(), Store(found)
    history = History(found)
    for number, action in enumerate(["restart", "restart", "npm ci, restart"]):
        at = now - 100 + 10 * number
        history.record_remediation(remediation(at=at, action=action, since=at - 2, answered_at=at))
        passed = None if "npm" in action else at
        result = Result("service", "api", "api", [], at - 2, outcome_of(at - 2, passed), at - 2, passed)
        history.record_run(Run(at - 2, at, "check", "", None, [result]))

    lines = [str(message) for message in plan([Incident(service, "died", now, 0)], found.services, store)]

    assert lines[-2:] == [
        "  so far `restart` helped 2 of 2 times, median downtime 2s",
        "  so far `npm ci, restart` helped 0 of 1 times",
    ]
