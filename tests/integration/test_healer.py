"""Hard cases of healing: foreign processes, competing healers, and leftovers of commands."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sandbox import DEADLINE, IMPATIENT, PATIENT, PYTHON, SERVE, Sandbox, free_port, is_healed, wait_for

from remediation.system.process import Identity


def say(script: str) -> str:
    """Return a command that runs a shell script, as a list for TOML."""
    return json.dumps(["sh", "-c", script])


def test_a_check_that_waits_for_a_start_by_hand_does_not_restart(project: Sandbox) -> None:
    project.configure('env = { SLOW = "2" }', top="retries = 1")
    start = project.start("remediation", "start")
    wait_for((project.root / ".api-server.pid").exists)

    result = project.check()
    start.communicate()

    assert result.code == 0, result
    assert start.returncode == 0
    assert project.state["restarts"] == []
    assert len(project.servers()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start another user's process")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_root_stops_a_service_that_became_another_users(project: Sandbox) -> None:
    identity = ["setpriv", "--reuid=65534", "--clear-groups", "sleep", "600"]
    project.configure('ready = "none"', command=f"command = {json.dumps(identity)}")
    assert project.auto_heal("start").code == 0
    pid = wait_for(lambda: psutil.Process(project.pid).uids().real == 65534 and project.pid)

    result = project.auto_heal("stop")

    assert result.code == 0, result
    assert "Server stopped" in result.output
    assert Identity.of(pid) is None
    assert project.state["stopped_by_hand"]


def test_stop_from_inside_the_service_is_refused(project: Sandbox) -> None:
    inside = f"{PYTHON} -m remediation stop > stopped 2>&1; echo $? >> stopped; exec sleep 600"
    project.configure('ready = "none"', command=f"command = {say(inside)}")
    assert project.auto_heal("start").code == 0

    stopped = project.root / "stopped"
    wait_for(lambda: stopped.exists() and stopped.read_text().endswith("\n1\n"))

    told = stopped.read_text()
    assert "is an ancestor of auto-heal" in told or "is auto-heal itself" in told
    assert project.servers() == [project.pid]


def test_a_command_that_a_killed_healer_left_is_ended_before_the_next_one(project: Sandbox) -> None:
    script = "echo begin >> order; sleep 600; echo end >> order"
    project.configure(f"ladder = [{{ run = {say(script)}, timeout = 600 }}]", top=IMPATIENT)
    run = project.start("pytest", "healthtests")
    wait_for((project.root / "order").exists)
    pid, _ = wait_for(lambda: project.state["command"])
    project.kill(run)
    assert Identity.of(pid)
    project.configure(f"ladder = [{{ run = {say('echo begin >> order')}, timeout = 600 }}]", top=IMPATIENT)

    result = project.check()

    assert result.code == 0, result
    assert Identity.of(pid) is None
    assert (project.root / "order").read_text() == "begin\nbegin\n"


def test_what_a_rung_leaves_running_outlives_the_restart(project: Sandbox) -> None:
    project.configure(
        f"ladder = [{{ run = {say('setsid sleep 600 & echo $! > helper')}, timeout = 5 }}]", top=IMPATIENT
    )

    result = project.check()

    helper = int((project.root / "helper").read_text())
    alive = Identity.of(helper)
    with suppress(ProcessLookupError):
        os.kill(helper, signal.SIGKILL)
    assert result.code == 0, result
    assert alive


def test_deaf_strangers_that_share_the_port_are_ended_together(project: Sandbox) -> None:
    project.configure('free_port = "user"\nstop_timeout = 0.5', top=IMPATIENT)
    env = {"DEAF": "1", "HOLDERS": "3", "PORT": str(project.port), "HOST": "127.0.0.1"}
    children = project.root / "children"
    stranger = project.stranger(sys.executable, str(PATIENT), CHILD_FILE=str(children), **env)
    wait_for(project.answers)
    project.get("/fall-ill/errors")

    result = project.check()

    assert result.code == 0, result
    assert stranger.wait(DEADLINE) == -signal.SIGKILL
    assert not [pid for pid in children.read_text().split() if Identity.of(int(pid))]


def can_unshare() -> bool:
    """Return whether a network namespace can be made here: by root, and not in every container."""
    tool = shutil.which("unshare")
    return bool(tool) and subprocess.run([str(tool), "--net", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="no network namespace can be made here")
def test_a_listener_on_the_same_port_of_another_network_namespace_survives(project: Sandbox) -> None:
    project.configure('free_port = "user"', top=IMPATIENT)
    script = (
        "import pathlib, socket, sys, time\n"
        "server = socket.create_server(('0.0.0.0', int(sys.argv[1])))\n"
        "pathlib.Path('listens').touch()\n"
        "time.sleep(600)\n"
    )
    inside = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(script)} {project.port}"
    neighbour = project.stranger("unshare", "--net", "sh", "-c", inside)
    wait_for((project.root / "listens").exists)
    stranger = project.stranger_on_port("0.0.0.0")

    is_healed(project)

    assert stranger.wait(DEADLINE) == -signal.SIGTERM
    assert neighbour.poll() is None


@pytest.fixture
def pair(project: Sandbox) -> Sandbox:
    """A project whose api depends on db, which has no checks of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    project.configure(
        'depends_on = ["db"]',
        top=IMPATIENT,
        more=f'[services.db]\ncommand = ["{sys.executable}", "{PATIENT}"]\nurl = "{url}"\nready = "/api/health"\n',
    )
    assert project.auto_heal("start").code == 0
    return project


def test_a_dependent_is_left_alone_while_its_dependency_is_stopped_by_hand(pair: Sandbox) -> None:
    assert pair.auto_heal("stop", "db").code == 0
    pid = pair.pid
    pair.get("/fall-ill/errors")

    result = pair.check()

    assert result.code == 1, result
    assert "db: stopped by hand" in result.output
    assert pair.pid == pid


def test_a_suspended_dependency_is_healed_with_its_dependent(pair: Sandbox) -> None:
    db = int((pair.root / ".db-server.pid").read_text())
    os.kill(db, signal.SIGSTOP)
    pair.get("/fall-ill/errors")

    result = pair.check()

    assert result.code == 0, result
    assert Identity.of(db) is None


def test_a_dependency_that_can_only_be_checked_does_not_fail_a_start(project: Sandbox) -> None:
    project.configure('depends_on = ["mail"]', more='[services.mail]\nurl = "tcp://192.0.2.1:25"')

    result = project.auto_heal("start", "api")

    assert result.code == 0, result


def test_a_process_in_whose_place_a_stranger_answers_is_not_up(project: Sandbox) -> None:
    project.configure(top=IMPATIENT, command='command = ["sleep", "600"]', service="start_timeout = 0.2")
    project.auto_heal("start")
    sleeper = project.pid
    stranger = project.stranger(sys.executable, str(PATIENT), PORT=str(project.port), HOST="127.0.0.1")
    wait_for(project.answers)
    project.configure('free_port = "user"')

    status = project.auto_heal("status")
    result = project.check()

    assert status.lines[1].split()[1] == "foreign"
    assert result.code == 0, result
    assert Identity.of(sleeper) is None
    assert stranger.wait(DEADLINE) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("exit 3", "exited with status 3"), ("true", "ended, but http://127.0.0.1:")],
)
def test_a_stop_that_failed_leaves_the_service_to_be_healed(project: Sandbox, stop: str, reason: str) -> None:
    server = project.stranger(sys.executable, str(PATIENT), PORT=str(project.port), HOST="127.0.0.1")
    wait_for(project.answers)
    project.configure("stop_timeout = 0.2", command=f'restart = ["true"]\nstop = {say(stop)}')

    stopped = project.auto_heal("stop")
    checked = project.check()

    assert stopped.code == 1, stopped
    assert reason in stopped.output
    assert checked.code == 0, checked
    assert server.poll() is None


def test_a_healthy_service_that_something_else_runs_is_left_alone(project: Sandbox) -> None:
    project.stranger(sys.executable, str(PATIENT), PORT=str(project.port), HOST="127.0.0.1")
    wait_for(project.answers)
    project.configure(command=f"restart = {say('touch restarted')}")

    result = project.check()

    assert result.code == 0, result
    assert "1 skipped" in result.output
    assert not (project.root / "restarted").exists()


def test_a_command_that_goes_into_the_background_is_told_and_leaves_nothing(project: Sandbox) -> None:
    project.configure(command=f"command = {say(f'{SERVE} & exit 0')}")

    result = project.auto_heal("start")

    assert result.code == 1, result
    assert "a command has to stay in the foreground" in result.output
    assert not project.family()


@pytest.mark.soak
@pytest.mark.parametrize("name", ["with space", "Ünïcode 🎈", "a'b\"c", os.fsdecode(b"caf\xe9")])
def test_a_project_lies_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    try:
        root.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    place = Sandbox(root)
    try:
        assert place.check().code == 0
        assert place.auto_heal("restart").code == 0
        assert place.auto_heal("stop").code == 0
        assert not place.family()
    finally:
        place.clean()
