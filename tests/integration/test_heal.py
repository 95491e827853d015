"""The main job, on real processes: whatever fault the service has, one `pytest healthtests` heals it."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest
from sandbox import IMPATIENT, REPOSITORY, Sandbox, is_healed, wait_for

from remediation.system.process import Identity


def test_a_service_that_was_never_started_is_started_and_then_left_alone(project: Sandbox) -> None:
    is_healed(project)
    pid = project.pid

    again = project.check()

    assert again.code == 0, again
    assert project.property("verdict") == "healthy"
    assert project.pid == pid


def test_a_killed_service_is_healed(healthy: Sandbox) -> None:
    os.kill(healthy.pid, signal.SIGKILL)

    is_healed(healthy)


def test_a_suspended_service_is_healed_without_waiting_for_retries(healthy: Sandbox) -> None:
    pid = healthy.pid
    os.kill(pid, signal.SIGSTOP)

    is_healed(healthy)

    assert Identity.of(pid) is None
    assert "retrying" not in healthy.log


@pytest.mark.parametrize("illness", ["errors", "empty"])
def test_a_service_that_answers_wrongly_is_healed(healthy: Sandbox, illness: str) -> None:
    healthy.get(f"/fall-ill/{illness}")

    is_healed(healthy)

    assert "Attempt 2/3 failed" in healthy.log


@pytest.mark.parametrize(
    "illness", ["hang", *(pytest.param(illness, marks=pytest.mark.soak) for illness in ("drip-head", "drip-body"))]
)
def test_a_service_that_does_not_come_to_an_end_is_healed(healthy: Sandbox, illness: str) -> None:
    healthy.configure(top="timeout = 0.5\nretries = 2")
    healthy.get(f"/fall-ill/{illness}")

    is_healed(healthy)

    assert "/api/health: api: GET /api/health: no whole answer within 0.5s" in healthy.log
    assert "Timeout" not in healthy.log


@pytest.mark.parametrize(
    "host", ["127.0.0.1", *(pytest.param(host, marks=pytest.mark.soak) for host in ("0.0.0.0", "::"))]
)
def test_a_stranger_of_the_same_user_on_the_port_is_ended(project: Sandbox, host: str) -> None:
    project.configure('free_port = "user"', top=IMPATIENT)
    stranger = project.stranger_on_port(host)

    is_healed(project)

    assert stranger.wait(5) == -signal.SIGTERM


@pytest.mark.soak
def test_a_stranger_that_took_the_port_of_a_killed_service_is_ended_without_retries(healthy: Sandbox) -> None:
    healthy.configure('free_port = "user"', top="timeout = 0.5\nretries = 3")
    os.kill(healthy.pid, signal.SIGKILL)
    wait_for(lambda: not healthy.family())
    stranger = healthy.stranger_on_port()

    is_healed(healthy)

    assert stranger.wait(5) == -signal.SIGTERM
    assert "retrying" not in healthy.log


def test_a_stranger_on_the_port_of_another_address_survives(project: Sandbox) -> None:
    stranger = project.stranger_on_port("127.0.0.2")

    is_healed(project)

    assert stranger.poll() is None


def test_a_client_of_the_port_survives(healthy: Sandbox) -> None:
    script = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
    client = healthy.stranger(sys.executable, "-c", script, str(healthy.port))
    wait_for(lambda: psutil.Process(client.pid).net_connections())
    healthy.get("/fall-ill/errors")

    is_healed(healthy)

    assert client.poll() is None


@pytest.mark.parametrize("free_port", ["", 'free_port = "own"', 'free_port = "never"'])
def test_a_stranger_that_may_not_be_ended_is_named(project: Sandbox, free_port: str) -> None:
    project.configure(free_port, top=IMPATIENT)
    stranger = project.stranger_on_port()

    result = project.check()

    assert result.code == 1, result
    assert stranger.poll() is None
    name, user = psutil.Process(stranger.pid).name(), psutil.Process(stranger.pid).username()
    who = f"{name} (PID {stranger.pid}, user {user}, cwd {project.root})"
    assert f"port {project.port} is held by {who}" in result.output
    assert project.property("verdict") == "sick"
    assert project.state["port_holder"] == stranger.pid


@pytest.mark.soak
def test_who_held_the_port_is_forgotten_once_the_service_is_healed(project: Sandbox) -> None:
    project.configure('free_port = "never"', top=IMPATIENT)
    stranger = project.stranger_on_port()
    project.check()
    stranger.kill()
    stranger.wait()

    is_healed(project)

    assert project.state["port_holder"] is None


@pytest.mark.parametrize("content", ["999999999\n", "", "nonsense\n", "-1\n", "0\n", "1\n", "9" * 400])
def test_a_pid_file_of_no_use_harms_nobody(project: Sandbox, content: str) -> None:
    project.write(".api-server.pid", content)

    is_healed(project)

    assert psutil.pid_exists(project.pid)


def test_a_healthy_service_whose_pid_file_was_lost_is_found_again_and_not_restarted(healthy: Sandbox) -> None:
    pid = healthy.pid
    (healthy.root / ".api-server.pid").unlink()

    is_healed(healthy)

    assert healthy.pid == pid
    assert healthy.property("api.action") == "found its process again"
    assert healthy.state["restarts"] == []


def test_a_healthy_service_of_which_nothing_is_remembered_is_found_by_its_mark(healthy: Sandbox) -> None:
    pid = healthy.pid
    (healthy.root / ".api-server.pid").unlink()
    (healthy.root / ".auto-heal" / "api.json").unlink()

    result = healthy.check()

    assert result.code == 0, result
    assert healthy.property("verdict") == "healthy"
    assert f"Found the server running without a PID file (PID: {pid})" in healthy.log
    assert healthy.pid == pid
    assert healthy.state["restarts"] == []


def test_a_stranger_in_the_pid_file_survives(project: Sandbox) -> None:
    stranger = project.stranger("sleep", "600")
    project.write(".api-server.pid", f"{stranger.pid}\n")

    is_healed(project)

    assert stranger.poll() is None
    assert f"holds sleep (PID {stranger.pid}, user " in project.log
    assert project.pid != stranger.pid


def test_a_stranger_that_got_the_pid_of_the_service_survives(healthy: Sandbox) -> None:
    os.kill(healthy.pid, signal.SIGKILL)
    stranger = healthy.stranger("sleep", "600")
    state = (healthy.root / ".auto-heal" / "api.json").read_text()
    (healthy.root / ".auto-heal" / "api.json").write_text(
        state.replace(f'"pid":{healthy.pid}', f'"pid":{stranger.pid}')
    )
    healthy.write(".api-server.pid", f"{stranger.pid}\n")

    is_healed(healthy)

    assert stranger.poll() is None


@pytest.mark.parametrize("where", ["CHILDREN", pytest.param("HOLDERS", marks=pytest.mark.soak)])
def test_a_deaf_server_is_ended_with_its_scattered_children(project: Sandbox, where: str) -> None:
    children_file = project.root / "children"
    project.configure(f'env = {{ DEAF = "1", {where} = "2", CHILD_FILE = "{children_file}" }}\nstop_timeout = 0.3')
    assert project.auto_heal("start").code == 0
    server = project.pid
    children = [int(line) for line in children_file.read_text().split()]
    assert len(children) == 2
    project.get("/fall-ill/errors")

    is_healed(project)

    assert not any(Identity.of(pid) for pid in [server, *children])


def test_orphans_that_keep_the_port_are_ended_when_their_parent_is_dead(project: Sandbox) -> None:
    children_file = project.root / "children"
    project.configure(
        f'env = {{ DEAF = "1", HOLDERS = "2", CHILD_FILE = "{children_file}" }}\nstop_timeout = 0.3', top=IMPATIENT
    )
    assert project.auto_heal("start").code == 0
    children = [int(line) for line in children_file.read_text().split()]
    os.kill(project.pid, signal.SIGKILL)

    is_healed(project)

    assert not any(Identity.of(pid) for pid in children)


def test_where_no_listener_may_be_ended_an_orphan_of_the_service_is_named_and_left(project: Sandbox) -> None:
    children_file = project.root / "children"
    env = f'env = {{ HOLDERS = "1", CHILD_FILE = "{children_file}" }}'
    project.configure(f'{env}\nfree_port = "never"', top=IMPATIENT)
    assert project.auto_heal("start").code == 0
    child = int(children_file.read_text())
    os.kill(project.pid, signal.SIGKILL)

    result = project.check()

    assert result.code == 1, result
    assert f"(PID {child}, user " in result.output
    assert 'free_port is "never"' in result.output
    assert Identity.of(child)
    assert project.state["restarts"] == []


def test_the_node_service_is_healed(project: Sandbox) -> None:
    cwd = REPOSITORY / "examples" / "peachmini"
    project.configure(f'cwd = "{cwd}"', command='command = ["node", "index.js"]')

    is_healed(project)
    os.kill(project.pid, signal.SIGKILL)
    is_healed(project)

    assert project.auto_heal("stop").code == 0
    assert not project.answers()


def test_stop_leaves_no_process_no_pid_file_and_a_free_port(healthy: Sandbox) -> None:
    result = healthy.auto_heal("stop")

    assert result.code == 0, result
    assert not healthy.family()
    assert not (healthy.root / ".api-server.pid").exists()
    assert not healthy.answers()
