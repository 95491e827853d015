"""A healer that is killed at any moment leaves a state from which the next run recovers."""

from __future__ import annotations

import os
import random
import signal
import time

import psutil
import pytest
from sandbox import Sandbox, wait_for


def recovers(project: Sandbox) -> None:
    """Run one check; assert that there is one server and that the stored state agrees with it."""
    result = project.check()
    assert result.code == 0, result
    assert wait_for(lambda: len(project.servers()) == 1)
    assert project.servers() == [project.pid] == [project.state["pid"]]


@pytest.mark.parametrize(
    "moment", ["Restarting the server", "Starting the API server", "Server started with PID", "Server is up"]
)
def test_a_healer_killed_at_a_step_is_recovered_from(project: Sandbox, moment: str) -> None:
    project.configure('env = { SLOW = "0.5" }', top="retries = 1")
    folders = project.root / ".auto-heal"
    run = project.start("pytest", "healthtests")
    log = project.root / "auto-heal.log"
    wait_for(lambda: log.exists() and moment in log.read_text(encoding="utf-8"))

    project.kill(run)

    recovers(project)
    assert not list(folders.glob("run-*"))


def test_a_service_whose_pid_was_never_written_is_found_by_its_mark_and_adopted(project: Sandbox) -> None:
    assert project.auto_heal("start").code == 0
    pid = project.pid
    (project.root / ".api-server.pid").unlink()
    (project.root / ".auto-heal" / "api.json").unlink()

    result = project.auto_heal("start")

    assert result.code == 0, result
    assert "without a PID file" in result.output
    assert project.pid == pid
    assert project.servers() == [pid]


def test_a_lost_pid_file_and_memory_do_not_lead_to_a_second_copy(project: Sandbox) -> None:
    project.configure('free_port = "never"')
    assert project.auto_heal("start").code == 0
    (project.root / ".api-server.pid").unlink()
    (project.root / ".auto-heal" / "api.json").unlink()

    recovers(project)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"pid": "many"}',
        *(pytest.param(text, marks=pytest.mark.soak) for text in ("", "\x00\x01", "[]", "9" * 2_000_000)),
    ],
)
def test_a_broken_memory_is_an_empty_one(project: Sandbox, content: str) -> None:
    assert project.auto_heal("start").code == 0
    project.write(".auto-heal/api.json", content)

    recovers(project)


@pytest.mark.soak
def test_healers_killed_at_random_moments_never_leave_two_servers(project: Sandbox) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    project.configure("budget = { restarts = 100, window = 600 }", top="retries = 1")
    for _ in range(6):
        run = project.start("pytest", "healthtests")
        time.sleep(chance.uniform(0.2, 2.5))
        project.kill(run)
        assert len(project.servers()) <= 1, f"seed {seed}"
        if project.family() and chance.random() < 0.5:
            os.kill(project.family()[0].pid, signal.SIGKILL)

    recovers(project)


@pytest.mark.parametrize("ready", ["tcp", "none"])
def test_what_is_left_of_a_dead_service_is_not_taken_for_it(project: Sandbox, ready: str) -> None:
    project.configure(
        f'env = {{ HOLDERS = "1" }}\nready = "{ready}"\nstop_timeout = 0.1', top="timeout = 1\nretries = 1"
    )
    assert project.auto_heal("start").code == 0
    (left,) = wait_for(psutil.Process(project.pid).children)
    os.kill(project.pid, signal.SIGKILL)

    result = project.check()

    assert result.code == 0, result
    assert "without a PID file" not in result.output
    assert result.output.count("Restarting the server") == 1
    wait_for(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)
    wait_for(project.answers)
