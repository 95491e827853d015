"""Folders renamed, removed or copied while auto-heal runs: no second server, no false report, nothing comes back."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sandbox import Result, Sandbox, free_port, wait_for
from watching import watching

from remediation.config.model import Service
from remediation.engines import local
from remediation.engines.errors import HealError
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store
from remediation.system.process import Identity

SOON = "interval = 0.2\nretries = 1"
LOST = "was removed or replaced while auto-heal was at work"


@pytest.fixture
def moved(project: Sandbox) -> Iterator[Sandbox]:
    """The same project after its folder was renamed."""
    elsewhere = copy.copy(project)
    elsewhere.root = project.root.with_name(f"{project.root.name}-moved")
    try:
        yield elsewhere
    finally:
        elsewhere.clean()


def remove_memory(project: Sandbox) -> None:
    """Remove the state folder, as people do who want to start afresh."""

    def removed() -> bool:
        # Somebody may be writing into it.
        shutil.rmtree(project.root / ".auto-heal", ignore_errors=True)
        return not (project.root / ".auto-heal" / "api.json").exists()

    wait_for(removed)


def has_one_server(project: Sandbox) -> None:
    """Assert that one server runs, which answers and is the stored one."""
    assert project.servers() == [project.pid]
    assert project.state["pid"] == project.pid
    assert project.answers()


# The folder of the locks.


def test_two_starts_between_which_the_locks_were_removed_leave_one_server(project: Sandbox) -> None:
    project.configure('env = { SLOW = "1.5" }', top="retries = 1")
    first = project.start("remediation", "start")
    wait_for((project.root / ".api-server.pid").exists)
    remove_memory(project)

    second = project.auto_heal("start")
    ended = Result.of(first)

    assert second.code == 0, second
    assert ended.code == 1, ended
    assert LOST in ended.output
    has_one_server(project)


def test_two_starts_at_once_of_a_service_whose_memory_was_removed_leave_it_alone(healthy: Sandbox) -> None:
    pid = healthy.pid
    remove_memory(healthy)

    both = [healthy.start("remediation", "start") for _ in range(2)]
    results = [Result.of(one) for one in both]

    assert [result.code for result in results] == [0, 0], results
    assert healthy.pid == pid
    has_one_server(healthy)


def test_two_starts_at_once_without_a_folder_of_locks_start_one_server(project: Sandbox) -> None:
    both = [project.start("remediation", "start") for _ in range(2)]
    results = [Result.of(one) for one in both]

    assert [result.code for result in results] == [0, 0], results
    has_one_server(project)


def test_a_heal_whose_lock_was_removed_does_no_more_and_the_next_check_finds_what_it_started(project: Sandbox) -> None:
    project.configure('env = { SLOW = "1.5" }', top="retries = 1")
    run = project.start("pytest", "healthtests")
    wait_for((project.root / ".api-server.pid").exists)
    (project.root / ".auto-heal" / "api.lock").unlink()

    ended = Result.of(run)

    assert LOST in ended.output
    (pid,) = project.servers()
    wait_for(project.answers)
    assert project.check().code == 0
    assert project.servers() == [pid]


def test_a_stop_whose_lock_was_removed_does_not_end_what_another_one_started(project: Sandbox) -> None:
    project.configure('env = { DEAF = "1" }\nstop_timeout = 2', top="retries = 1")
    assert project.auto_heal("start").code == 0
    old = project.pid
    stop = project.start("remediation", "stop")
    wait_for(lambda: "Stopping" in project.log)
    remove_memory(project)

    again = project.auto_heal("restart")
    ended = Result.of(stop)

    assert again.code == 0, again
    assert ended.code == 1, ended
    assert LOST in ended.output
    assert Identity.of(old) is None
    has_one_server(project)


def test_a_monitor_whose_lock_was_removed_ends_and_says_so(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)
    with watching(healthy) as first:
        first.ends_check(1)
        remove_memory(healthy)
        with watching(healthy) as second:
            second.ends_check(1)
            code = first.wait()

            second.ends_check(2)
            assert second.stop() == 0, second

    assert code == 3, first
    assert first.count(".monitor.lock was removed or replaced, so another monitor may be running") == 1, first
    assert healthy.answers()


# The folder of the project.


@pytest.mark.parametrize("removed", [False, True])
def test_a_monitor_whose_project_is_gone_ends_and_brings_nothing_back(
    healthy: Sandbox, moved: Sandbox, removed: bool
) -> None:
    healthy.configure(top=SOON)
    with watching(healthy) as monitor:
        monitor.ends_check(1)
        healthy.root.rename(moved.root)
        if removed:
            shutil.rmtree(moved.root)

        code = monitor.wait()
        wait_for(lambda: not monitor.crew)

    assert code == 3, monitor
    assert monitor.count(f"The project's folder {healthy.root} was renamed or removed; the monitor ends") == 1, monitor
    assert monitor.count("cannot write") == 0, monitor
    assert not healthy.root.exists(), list(healthy.root.rglob("*"))


def test_a_heal_of_a_project_that_is_renamed_meanwhile_brings_nothing_back(project: Sandbox, moved: Sandbox) -> None:
    project.configure('env = { SLOW = "1.5" }', top="retries = 1")
    run = project.start("remediation", "start")
    wait_for((project.root / ".api-server.pid").exists)
    project.root.rename(moved.root)

    ended = Result.of(run)

    assert ended.code == 1, ended
    assert LOST in ended.output
    assert not project.root.exists(), list(project.root.rglob("*"))
    assert len(project.servers()) == 1
    assert moved.auto_heal("stop").code == 0
    assert not project.servers()


@pytest.mark.parametrize("known", [True, False], ids=["", "as an older version remembers it"])
@pytest.mark.parametrize("action", ["stop", "restart"])
def test_in_a_renamed_folder_the_service_is_still_the_same(
    project: Sandbox, moved: Sandbox, action: str, known: bool
) -> None:
    children_file = project.root / "children"
    project.configure(f'env = {{ CHILDREN = "2", CHILD_FILE = "{children_file}" }}\nstop_timeout = 0.3')
    assert project.auto_heal("start").code == 0
    family = [project.pid, *map(int, children_file.read_text().split())]
    assert len(family) == 3
    if not known:
        older = {key: value for key, value in project.state.items() if key not in ("start", "folder")}
        project.write(".auto-heal/api.json", json.dumps(older))
    project.root.rename(moved.root)
    moved.configure()

    result = moved.auto_heal(action)

    assert result.code == 0, result
    assert [pid for pid in family if Identity.of(pid)] == []
    assert not project.family()
    if action == "restart":
        has_one_server(moved)


def test_what_is_left_of_a_dead_service_is_ended_in_a_renamed_folder_as_well(project: Sandbox, moved: Sandbox) -> None:
    children_file = project.root / "children"
    project.configure(f'env = {{ CHILDREN = "2", CHILD_FILE = "{children_file}" }}\nstop_timeout = 0.3')
    assert project.auto_heal("start").code == 0
    children = list(map(int, children_file.read_text().split()))
    os.kill(project.pid, signal.SIGKILL)
    project.root.rename(moved.root)
    moved.configure()

    result = moved.auto_heal("stop")

    assert result.code == 0, result
    assert [pid for pid in children if Identity.of(pid)] == []


def test_a_healthy_service_is_left_alone_in_a_renamed_folder(healthy: Sandbox, moved: Sandbox) -> None:
    pid = healthy.pid
    healthy.root.rename(moved.root)

    result = moved.check()

    assert result.code == 0, result
    assert moved.property("verdict") == "healthy"
    assert moved.pid == pid


def can_mount() -> bool:
    """Return whether a bind mount is possible here: by root, and not in every container."""
    tool = shutil.which("unshare")
    words = [str(tool), "--mount", "mount", "--bind", "/tmp", "/mnt"]
    return bool(tool) and subprocess.run(words, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no folder can be bind-mounted here")
@pytest.mark.parametrize("action", ["stop", "restart"])
def test_by_another_path_to_its_folder_the_service_is_the_same(project: Sandbox, moved: Sandbox, action: str) -> None:
    project.configure('free_port = "own"')
    assert project.auto_heal("start").code == 0
    pid = project.pid
    moved.root.mkdir()
    script = f'mount --bind "$0" "$1" && cd "$1" && exec "$2" -m remediation {action}'
    words = ["unshare", "--mount", "sh", "-c", script, str(project.root), str(moved.root), sys.executable]

    ended = subprocess.run(words, env=project.environment(), capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended
    assert Identity.of(pid) is None
    assert len([*project.servers(), *moved.servers()]) == (action == "restart")


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
def test_in_a_copy_of_the_folder_the_service_is_another_one(healthy: Sandbox, moved: Sandbox, action: str) -> None:
    pid = healthy.pid
    shutil.copytree(healthy.root, moved.root, symlinks=True)
    moved.port = free_port()
    moved.url = f"http://127.0.0.1:{moved.port}"
    moved.configure()

    result = moved.auto_heal(action)

    assert result.code == 0, result
    assert Identity.of(pid)
    assert healthy.servers() == [pid]
    if action != "stop":
        has_one_server(moved)


def test_a_service_of_which_a_process_lives_is_not_told_as_stopped(
    healthy: Sandbox, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = healthy.pid
    monkeypatch.setattr(local, "terminate", lambda *_, **__: [])
    remediator = Remediator(store, EventLog.of(store.project), record=lambda _: None, origin="hand")

    with pytest.raises(HealError, match=rf"PID {pid}, .*is still alive; nothing more was done"):
        remediator.stop(service)

    assert healthy.pid == pid
    assert "Server stopped" not in healthy.log
    assert not healthy.state["stopped_by_hand"]
