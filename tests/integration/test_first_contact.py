"""The first command of a new user harms nobody: what is known again, adopted, named, spared, and never ended."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from other_user import as_nobody, give_away, open_project
from sandbox import DEADLINE, PATIENT, Sandbox, wait_for
from witnesses import SHELL

from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity

COMMAND = (sys.executable, str(PATIENT))
# A server with workers that replaces itself on SIGUSR2, as nginx and gunicorn do: the successor inherits the socket.
REPLACEABLE = """
import http.server, os, signal, socket, sys, time

inherited = os.environ.pop("INHERITED", "")
port = int(os.environ["PORT"])
listening = socket.socket(fileno=int(inherited)) if inherited else socket.create_server(("127.0.0.1", port))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'[{"id": 1, "name": "a"}]' if self.path.endswith("girls") else b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

worker = os.fork()
if worker == 0:
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket = listening
    server.serve_forever()

def replace(*_):
    if os.fork() == 0:
        os.set_inheritable(listening.fileno(), True)
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "INHERITED": str(listening.fileno())})

def end(*_):
    os.kill(worker, signal.SIGTERM)
    os._exit(0)

signal.signal(signal.SIGUSR2, replace)
signal.signal(signal.SIGTERM, end)
while True:
    time.sleep(0.1)
"""
# Opens a second socket on the port of another server.
SHARES = """
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
if len(sys.argv) > 2:
    exec(open(sys.argv[2]).read())
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 15\\r\\n\\r\\n{\\"status\\":\\"ok\\"}")
    connection.close()
"""


@pytest.fixture
def by_hand(project: Sandbox) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the server of a project as a person would, and wait until it answers."""

    def start(*command: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[bytes]:
        environ = project.environment(PORT=str(project.port), HOST="127.0.0.1", **env)
        process = subprocess.Popen(command or COMMAND, cwd=cwd or project.root, env=environ)
        project._strangers.append(process)
        wait_for(project.answers)
        return process

    return start


@pytest.fixture
def shell(project: Sandbox) -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a terminal that has inherited the mark of the service."""
    ours, theirs = pty.openpty()
    mark = {SERVICE_MARK: f"{project.root.resolve()}:api"}
    process = subprocess.Popen(
        [sys.executable, "-c", SHELL], stdin=theirs, stdout=theirs, stderr=theirs,
        env=project.environment(**mark), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        wait_for(lambda: psutil.Process(process.pid).children())
        yield process
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()
        os.close(ours)


def who(process: subprocess.Popen[bytes]) -> str:
    """Return how a process is named to people, up to its user."""
    return f"{psutil.Process(process.pid).name()} (PID {process.pid}, user {psutil.Process(process.pid).username()}"


# A server that was started by hand.


@pytest.mark.parametrize(
    "words", [("pytest", "healthtests"), pytest.param(("remediation", "check"), marks=pytest.mark.soak)]
)
def test_a_server_started_by_hand_with_the_configured_command_is_adopted(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]], words: tuple[str, ...]
) -> None:
    server = by_hand(ONLY_THERE="1")

    result = project.run(*words)

    assert result.code == 0, result
    assert project.property("verdict") == "healthy"
    assert server.poll() is None
    assert project.pid == server.pid
    assert f"adopted {who(server)}, cwd {project.root})" in project.log
    assert "a restart would lose these environment variables: " in project.log
    assert "ONLY_THERE" in project.log
    assert project.state["restarts"] == []


@pytest.mark.soak
def test_an_adopted_server_that_falls_ill_is_restarted(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]
) -> None:
    server = by_hand()
    name = who(server)
    assert project.check().code == 0
    project.get("/fall-ill/errors")

    result = project.check()

    assert result.code == 0, result
    assert project.property("verdict") == "healed"
    assert server.wait(DEADLINE) == -signal.SIGTERM
    assert f"Ending {name}" in result.output


def test_without_healing_a_server_started_by_hand_is_healthy_and_stays_unknown(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]
) -> None:
    by_hand()

    result = project.check("--no-heal")

    assert result.code == 0, result
    assert not (project.root / ".api-server.pid").exists()


def test_start_adopts_a_server_that_is_up(project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]) -> None:
    server = by_hand()

    result = project.auto_heal("start")

    assert result.code == 0, result
    assert f"Server is already up (PID: {server.pid})" in result.output
    assert server.poll() is None


def test_restart_adopts_a_server_and_restarts_it(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]
) -> None:
    server = by_hand()

    result = project.auto_heal("restart")

    assert result.code == 0, result
    assert server.wait(DEADLINE) == -signal.SIGTERM
    assert project.answers()


def test_stop_names_and_ends_a_server_that_it_adopts(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]
) -> None:
    server = by_hand()
    name = who(server)

    result = project.auto_heal("stop")

    assert result.code == 0, result
    assert result.output.index(f"Ending {name}") < result.output.index("Stopping the running server...")
    assert server.wait(DEADLINE) == -signal.SIGTERM
    assert not project.answers()


# What answers well, and is not the service's.


@pytest.mark.parametrize(
    "free_port", ["own", *(pytest.param(free_port, marks=pytest.mark.soak) for free_port in ("user", "never"))]
)
@pytest.mark.parametrize("difference", ["folder", "arguments", "program", "mark"])
def test_a_stranger_that_answers_well_is_named_and_nothing_is_healed(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]], difference: str, free_port: str
) -> None:
    project.configure(f'free_port = "{free_port}"', top="retries = 1")
    elsewhere = project.root / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(PATIENT.parents[2] / "examples" / "peachmini" / "server.py", project.root / "other.py")
    server = {
        "folder": lambda: by_hand(cwd=elsewhere),
        "arguments": lambda: by_hand(*COMMAND, "--more"),
        "program": lambda: by_hand(sys.executable, str(project.root / "other.py")),
        "mark": lambda: by_hand(**{SERVICE_MARK: "/another/project:web"}),
    }[difference]()

    result = project.check()

    assert result.code == 1, result
    assert f"is served by {who(server)}" in result.output
    assert "auto-heal adopt api" in result.output
    assert server.poll() is None
    assert "Restarting" not in project.log
    failed = [case.get("name") for case in project.report.iter("testcase") if case.find("failure") is not None]
    assert failed == ["test_process"]


def test_two_servers_that_could_be_it_are_both_named_and_neither_is_adopted(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]
) -> None:
    script = project.write("share.py", SHARES)
    command = [sys.executable, str(script), str(project.port)]
    project.configure("", top="retries = 1", command=f"command = {json.dumps(command)}")
    servers = [by_hand(*command), by_hand(*command)]
    wait_for(lambda: all(psutil.Process(server.pid).net_connections() for server in servers))

    result = project.check("-k", "test_process")

    assert result.code == 1, result
    assert all(who(server) in result.output for server in servers)
    assert [server.poll() for server in servers] == [None, None]


@pytest.mark.parametrize("free_port", ["own", "user"])
def test_stop_ends_nobody_but_its_own_and_tells_who_answers_still(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]], free_port: str
) -> None:
    project.configure(f'free_port = "{free_port}"')
    stranger = by_hand(*COMMAND, "--more")

    result = project.auto_heal("stop")

    assert result.code == 1, result
    assert f"is still served by {who(stranger)}" in result.output
    assert "Server stopped" not in result.output
    assert stranger.poll() is None
    assert project.state["stopped_by_hand"]


def test_a_second_server_that_shares_the_port_fails_the_check_and_both_are_named(project: Sandbox) -> None:
    server = project.write("share.py", SHARES)
    command = [sys.executable, str(server), str(project.port)]
    project.configure("", top="retries = 1", command=f"command = {json.dumps(command)}")
    assert project.auto_heal("start").code == 0
    first = project.pid
    second = project.stranger(*command, "/dev/null")
    wait_for(lambda: psutil.Process(second.pid).net_connections())

    result = project.check("-k", "test_process")
    status = project.auto_heal("status")

    assert result.code == 1, result
    assert f"two servers listen on {project.url}" in result.output
    assert f"port {project.port} is held by {who(second)}" in result.output
    assert f"(PID {first}, " in result.output
    assert who(second) in result.output
    assert status.code == 1
    assert status.lines[1].split()[1] == "contested"
    assert project.pid == first
    assert Identity.of(first)
    assert second.poll() is None


# A successor that the server puts in its own place.


def test_a_successor_is_taken_over_and_not_replaced(project: Sandbox) -> None:
    server = project.write("server.py", REPLACEABLE)
    project.configure(top="retries = 1", command=f"command = {json.dumps([sys.executable, str(server)])}")
    assert project.auto_heal("start").code == 0
    old = psutil.Process(project.pid)
    old.send_signal(signal.SIGUSR2)
    (successor,) = wait_for(lambda: [each for each in old.children() if each.children()])
    old.terminate()
    wait_for(lambda: Identity.of(old.pid) is None)

    result = project.check()

    assert result.code == 0, result
    assert project.property("verdict") == "healthy"
    assert project.pid == successor.pid
    assert "has taken the place of its main one" in project.log
    assert project.auto_heal("status").code == 0
    assert project.auto_heal("stop").code == 0
    assert Identity.of(successor.pid) is None


def test_workers_that_a_killed_server_left_behind_are_no_successor(project: Sandbox) -> None:
    server = project.write("server.py", REPLACEABLE)
    project.configure(top="retries = 1", command=f"command = {json.dumps([sys.executable, str(server)])}")
    assert project.auto_heal("start").code == 0
    (worker,) = psutil.Process(project.pid).children()
    os.kill(project.pid, signal.SIGKILL)

    result = project.check()

    assert result.code == 0, result
    assert project.property("verdict") == "healed"
    assert Identity.of(worker.pid) is None


def test_workers_that_cleared_their_environment_are_known_by_their_session(project: Sandbox) -> None:
    env = 'env = { HOLDERS = "0" }'
    script = project.write("run.py", "import os, sys\nos.execve(sys.executable, [sys.executable, *sys.argv[1:]], "
                           '{"PORT": os.environ["PORT"], "HOST": os.environ["HOST"]})\n')  # fmt: skip
    server = project.write("server.py", REPLACEABLE)
    command = [sys.executable, str(script), str(server)]
    project.configure(env, top="retries = 1", command=f"command = {json.dumps(command)}")
    assert project.auto_heal("start").code == 0
    (worker,) = psutil.Process(project.pid).children()
    os.kill(project.pid, signal.SIGKILL)

    result = project.check()
    stopped = project.auto_heal("stop")

    assert result.code == 0, result
    assert Identity.of(worker.pid) is None
    assert stopped.code == 0, stopped
    assert not project.answers()


# A person's terminal.


def test_a_shell_that_inherited_the_mark_is_spared_with_what_it_started(
    project: Sandbox, shell: subprocess.Popen[bytes]
) -> None:
    assert project.auto_heal("start").code == 0
    server = project.pid
    (child,) = psutil.Process(shell.pid).children()

    restarted = project.auto_heal("restart")
    stopped = project.auto_heal("stop")

    assert restarted.code == 0, restarted
    assert stopped.code == 0, stopped
    assert f"left alone, since it has a terminal and is only marked as part of it: {who(shell)}" in restarted.output
    assert Identity.of(server) is None
    assert shell.poll() is None
    assert child.is_running()


# Orphans of the configuration.


def test_a_service_that_was_renamed_while_it_ran_is_named_and_can_be_stopped(project: Sandbox) -> None:
    assert project.auto_heal("start").code == 0
    server = project.pid
    config = project.root / "auto-heal.toml"
    config.write_text(config.read_text().replace("[services.api]", "[services.web]").replace(str(project.port), "1"))

    status = project.auto_heal("status")
    plan = project.auto_heal("plan")
    stop = project.auto_heal("stop")
    alive = Identity.of(server)
    orphans = project.auto_heal("stop", "--orphans")

    assert [line.split()[1] for line in status.lines if line.startswith("api ")] == ["orphan"]
    assert "api: is no longer in the configuration, but still runs" in plan.output
    assert "`auto-heal stop --orphans` ends it" in stop.output
    assert alive
    assert orphans.code == 0, orphans
    assert Identity.of(server) is None
    assert "orphan" not in project.auto_heal("status").output
    assert "no longer in the configuration" in project.auto_heal("stop", "--orphans").output


# Adoption by hand.


def adopt(project: Sandbox, *words: str) -> tuple[int, str]:
    """Run `auto-heal adopt`, agreed to; return exit code and output."""
    result = project.auto_heal("adopt", "api", *words, *(["--yes"] if os.geteuid() == 0 else []))
    return result.code, result.output


def test_a_person_may_adopt_what_differs_and_is_told_the_difference(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]
) -> None:
    server = by_hand(*COMMAND, "--more")

    code, output = adopt(project)

    assert code == 0, output
    assert "a restart would start" in output
    assert project.pid == server.pid
    assert project.check().code == 0
    assert server.poll() is None


def test_a_service_without_url_is_adopted_by_its_pid(project: Sandbox) -> None:
    project.write("auto-heal.toml", '[services.api]\ncommand = ["sleep", "600"]\n')
    worker = project.stranger("sleep", "600")

    without = adopt(project)
    code, output = adopt(project, "--pid", str(worker.pid))

    assert without[0] == 1
    assert "--pid" in without[1]
    assert code == 0, output
    assert project.pid == worker.pid


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ancestor", "is an ancestor of auto-heal"),
        ("silent", "does not listen on"),
        ("gone", "is not a process"),
        ("other", "belongs to the service /another:web"),
        ("supervised", "is run by python"),
    ],
)
def test_what_must_not_be_adopted_is_refused_with_the_reason(
    project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]], name: str, reason: str
) -> None:
    if name == "supervised":
        supervisor = project.write("supervisord", "import subprocess, sys\nsubprocess.call(sys.argv[1:])\n")
        parent = by_hand(sys.executable, str(supervisor), *COMMAND)
        pid = psutil.Process(parent.pid).children()[0].pid
    elif name == "other":
        pid = by_hand(**{SERVICE_MARK: "/another:web"}).pid
    else:
        pid = {"ancestor": os.getpid(), "silent": project.stranger("sleep", "600").pid, "gone": 2**22 + 1}[name]
    try:
        code, output = adopt(project, "--pid", str(pid))
    finally:
        if name == "supervised":
            with suppress(psutil.Error):
                psutil.Process(pid).kill()

    assert code == 1, output
    assert reason in output
    assert not (project.root / ".api-server.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked")
def test_root_is_asked_before_it_adopts(project: Sandbox, by_hand: Callable[..., subprocess.Popen[bytes]]) -> None:
    by_hand()

    result = project.auto_heal("adopt", "api")

    assert result.code == 4, result
    assert "--yes" in result.output
    assert not (project.root / ".api-server.pid").exists()


# Users.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a service as another user")
def test_root_starts_a_service_as_its_user_with_home_and_groups_and_stops_it() -> None:
    for project in open_project():
        told = project.root / "told"
        told.mkdir(mode=0o777)
        told.chmod(0o777)
        script = f"id -un > {told}/user; id -Gn > {told}/groups; echo $HOME > {told}/home; exec sleep 600"
        project.write(
            "auto-heal.toml",
            f'[services.api]\ncommand = ["sh", "-c", "{script}"]\nuser = "www-data"\nready = "none"\n',
        )

        started = project.auto_heal("start")
        wait_for((told / "home").exists)
        pid = project.pid
        stopped = project.auto_heal("stop")

        assert started.code == 0, started
        assert (told / "user").read_text() == "www-data\n"
        assert (told / "groups").read_text() == "www-data\n"
        assert (told / "home").read_text() == "/var/www\n"
        assert stopped.code == 0, stopped
        assert Identity.of(pid) is None


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ('command = ["sleep", "600"]\nuser = "root"', "only root can start it as the user root"),
        ('command = ["su", "-c", "sleep 600"]', "'su' would run as the user root, and auto-heal could not stop it"),
    ],
)
def test_what_could_not_be_stopped_is_not_started(service: str, reason: str) -> None:
    for project in open_project():
        project.write("auto-heal.toml", f'[services.api]\n{service}\nready = "none"\n')
        give_away(project, whole=True)

        result = as_nobody(project, "remediation", "start")

        assert result.code == 1, result
        assert reason in result.output


def test_a_user_that_does_not_exist_is_a_mistake_of_the_configuration(project: Sandbox) -> None:
    project.configure('user = "nobody-knows-me"')

    result = project.auto_heal("status")

    assert result.code == 4, result
    assert "services.api.user: 'nobody-knows-me' is not a user of this machine" in result.output


# Who else may write what root runs.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
@pytest.mark.parametrize("strict", ["key", "environment"])
def test_root_is_warned_of_files_that_others_may_write_and_refuses_them_if_strict(strict: str) -> None:
    for project in open_project():
        config = project.root / "auto-heal.toml"
        project.write("healthtests/test_more.py", "def test_more():\n    pass\n").chmod(0o666)

        warned = project.auto_heal("start")
        checked = project.check()
        if strict == "key":
            config.write_text(f"strict = true\n{config.read_text()}")
        refused = project.auto_heal("status", **({"AUTO_HEAL_STRICT": "1"} if strict == "environment" else {}))

        assert warned.code == 0, warned
        assert "test_more.py can be written by everyone, and root runs what it says" in warned.output
        assert "test_more.py can be written by everyone" in checked.output
        assert refused.code == 4, refused
        assert "test_more.py can be written by everyone" in refused.output
