"""Failed, slow and foreign starts are reported at once, with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sandbox import IMPATIENT, PYTHON, SERVE, Sandbox, free_port, is_healed


@pytest.mark.parametrize(
    ("service", "command", "reason"),
    [
        ("", 'command = ["no-such-program"]', "'no-such-program' was not found"),
        ("", 'command = ["./data.txt"]', "'./data.txt' is not executable"),
        ('cwd = "nowhere"', None, "nowhere (cwd) does not exist"),
        ('env = { CRASH = "3" }', None, "exited with status 3"),
        ("", 'command = ["sh", "-c", "kill -SEGV $$"]', "was killed by SIGSEGV"),
    ],
)
def test_a_command_that_cannot_start_is_reported_at_once(
    project: Sandbox, service: str, command: str | None, reason: str
) -> None:
    project.write("data.txt", "no program")
    # A start that is waited for would take longer than the test may.
    project.configure(f"start_timeout = 3600\n{service}", command=command)

    result = project.auto_heal("start")

    assert result.code == 1, result
    assert reason in result.output
    assert "❌ The server did not start" in result.output
    assert not project.family()


@pytest.mark.soak
def test_the_last_lines_of_a_failed_start_are_shown_without_their_escapes(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }\nrestart_delay = 60')

    result = project.check()

    assert "no database at all" in result.output
    assert "\x1b[31m" not in project.log


@pytest.mark.soak
def test_a_slow_start_is_waited_for(project: Sandbox) -> None:
    project.configure('env = { SLOW = "1.5" }')

    is_healed(project)


def test_a_start_that_never_answers_fails_after_its_timeout(project: Sandbox) -> None:
    project.configure('env = { SLOW = "600" }\nstart_timeout = 0.5')

    result = project.check()

    assert result.code == 1, result
    assert (
        "no answer (2xx at /api/health) within 0.5s of its start (start_timeout); last: Connection refused"
        in result.output
    )


def test_a_start_that_answers_wrongly_says_how(project: Sandbox) -> None:
    project.configure('ready = "/nowhere"\nstart_timeout = 0.5')

    result = project.auto_heal("start")

    assert result.code == 1, result
    assert "no answer (2xx at /nowhere) within 0.5s of its start (start_timeout); last: status 404" in result.output


def test_a_start_that_listens_in_another_place_says_where(project: Sandbox) -> None:
    other = free_port()
    project.configure(f'env = {{ PORT = "{other}" }}\nstart_timeout = 1')

    result = project.auto_heal("start")
    status = project.auto_heal("check", "--no-heal", "-k", "process")

    assert result.code == 1, result
    assert f"it listens on 127.0.0.1:{other}, not on 127.0.0.1:{project.port}; change url" in result.output
    assert f"listens on 127.0.0.1:{other}, not on 127.0.0.1:{project.port}" in status.output, status


def test_a_service_stopped_by_hand_is_left_alone_until_it_is_started(healthy: Sandbox) -> None:
    assert healthy.auto_heal("stop").code == 0

    stopped = healthy.check()
    started = healthy.auto_heal("start")
    after = healthy.check()

    assert stopped.code == 1, stopped
    assert "stopped by hand" in stopped.output
    assert not (healthy.root / ".auto-heal.pid").exists()
    assert started.code == 0, started
    assert after.code == 0, after


def test_a_service_elsewhere_is_not_healed_by_a_local_process(project: Sandbox) -> None:
    project.configure('url = "http://192.0.2.1:8787"', top=IMPATIENT)

    result = project.auto_heal("start")

    assert result.code == 1, result
    assert "http://192.0.2.1:8787 is not on this machine" in result.output
    assert not project.family()


def test_somebody_elses_service_is_restarted_by_its_command(project: Sandbox) -> None:
    script = Path(project.write("restart.sh", f"#!/bin/sh\necho asked\n{SERVE} </dev/null >/dev/null 2>&1 &\n"))
    script.chmod(0o755)
    project.configure(command='restart = ["./restart.sh"]')
    try:
        result = project.check(PORT=str(project.port), HOST="127.0.0.1")

        assert result.code == 0, result
        assert project.property("verdict") == "healed"
        assert "asked" in (project.root / "api-server.log").read_text()
    finally:
        for connection in psutil.net_connections("tcp4"):
            if (
                connection.laddr
                and connection.laddr.port == project.port
                and connection.status == psutil.CONN_LISTEN
                and connection.pid
            ):
                psutil.Process(connection.pid).kill()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("restart", "reason"),
    [
        ('["sh", "-c", "echo no; exit 7"]', "exited with status 7; api-server.log says: no"),
        ('["sleep", "600"]', "did not end within 0.5s (start_timeout) and was killed"),
        ('["true"]', "no answer (2xx at /api/health) within 0.5s"),
    ],
)
def test_a_restart_command_that_does_not_help_is_told(project: Sandbox, restart: str, reason: str) -> None:
    project.configure("start_timeout = 0.5", command=f"restart = {restart}")

    result = project.check("healthtests/test_health.py")

    assert result.code == 1, result
    assert reason in result.output


def test_a_service_that_nothing_can_restart_is_checked_but_not_healed(project: Sandbox) -> None:
    project.configure(command="")

    result = project.check("healthtests/test_health.py")

    assert result.code == 1, result
    assert "checked but never healed" in result.output


# The first time, a stranger that does not carry the mark is quicker to listen than the server.
OVERTAKEN = """\
if [ ! -e overtaken ]; then
    touch overtaken
    env -u AUTO_HEAL_SERVICE setsid {python} -c '
import os, socket, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(os.environ["PORT"])))
server.listen()
open("listening", "w").close()
time.sleep(600)
' &
    while [ ! -e listening ]; do sleep 0.01; done
fi
exec {serve}
"""


@pytest.mark.soak
def test_a_start_is_tried_again_if_somebody_takes_the_port_just_before(project: Sandbox) -> None:
    project.write("serve.sh", OVERTAKEN.format(python=PYTHON, serve=SERVE))
    project.configure('free_port = "user"', command='command = ["sh", "serve.sh"]')

    result = project.auto_heal("restart")

    assert result.code == 0, result
    assert (project.root / "overtaken").exists()
    assert "Freeing port" in result.output
    assert project.answers()
    assert len(project.servers()) == 1


@pytest.mark.soak
def test_a_stranger_that_may_not_be_ended_and_takes_the_port_just_before_is_named(project: Sandbox) -> None:
    project.write("serve.sh", OVERTAKEN.format(python=PYTHON, serve=SERVE))
    project.configure('free_port = "never"', command='command = ["sh", "serve.sh"]')

    result = project.auto_heal("restart")

    (holder,) = {one.pid for one in psutil.net_connections("tcp") if one.laddr[1:] == (project.port,) and one.pid}
    stranger = psutil.Process(holder)
    try:
        assert result.code == 1, result
        assert f"port {project.port} is held by" in result.output
        assert stranger.is_running()
    finally:
        stranger.kill()


# Its first thread is gone, as in a process that is being ended; the kernel does not say whose its socket is.
ENDING = """\
import ctypes, os, socket, sys, threading, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def stay():
    # Until its end can be seen from outside, and then as long as a busy machine may take.
    while "zombie" not in open("/proc/%d/status" % os.getpid()).read():
        time.sleep(0.01)
    time.sleep(0.7)
    os._exit(0)
threading.Thread(target=stay).start()
print("listening", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the number of a system call of Linux")
def test_the_port_of_a_process_that_is_just_ending_is_waited_for(project: Sandbox) -> None:
    with subprocess.Popen([sys.executable, "-c", ENDING, str(project.port)], stdout=subprocess.PIPE) as ending:
        try:
            assert ending.stdout is not None
            assert ending.stdout.readline() == b"listening\n"
            result = project.auto_heal("restart")
        finally:
            ending.kill()

    assert result.code == 0, result
    assert project.answers()
