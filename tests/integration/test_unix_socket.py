"""A service on a Unix socket: started, asked, healed and stopped as one on a port, and told from strangers there."""

from __future__ import annotations

import json
import signal
import sys

import psutil
import pytest
from sandbox import PYTHON, Sandbox, wait_for
from servers import program

from remediation.system.endpoints import UnixEndpoint

_APP = """
def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = f'{{"status": "ok", "version": "1.0", "path": "{path}"}}'.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
_CHECKS = """
import pytest

pytestmark = pytest.mark.heals("api")


def test_answers(services):
    assert services["api"].get("/x").json()["path"] == "/x"
    assert (services["api"].port, services["api"].url[:6]) == (None, "unix:/")


def test_process(services):
    services["api"].require_process()
"""
_SERVER = """
import os, socketserver, sys
from http.server import BaseHTTPRequestHandler


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"path": "%s"}' % self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"


class Server(socketserver.UnixStreamServer):
    def get_request(self):
        return super().get_request()[0], ("unix", 0)


if os.path.exists("app.sock"):
    os.unlink("app.sock")
Server("app.sock", Handler).serve_forever()
"""


@pytest.fixture
def own(project: Sandbox) -> Sandbox:
    """A project whose service is a small server on a socket."""
    project.write("server.py", _SERVER)
    configure(project, f"{PYTHON} server.py")
    return project


def configure(project: Sandbox, command: str, more: str = "") -> None:
    """Let a command be the service's, on the socket, and its checks the only ones."""
    for check in (project.root / "healthtests").glob("test_*.py"):
        check.unlink()
    project.write("healthtests/test_all.py", _CHECKS)
    project.configure(f'url = "unix:app.sock"\n{more}', top="retries = 1\n", command=f"command = {json.dumps(command)}")


def endpoint(project: Sandbox) -> UnixEndpoint:
    """Return the socket of the service."""
    return UnixEndpoint(str(project.root.resolve() / "app.sock"))


def by_hand(project: Sandbox, *words: str) -> int:
    """Start a server of a person, wait until it listens, and return its PID."""
    pid = project.stranger(sys.executable, "server.py", *words).pid
    wait_for(lambda: endpoint(project).listens({pid}))
    return pid


@pytest.mark.soak
def test_gunicorn_on_a_socket_is_started_checked_healed_and_stopped(project: Sandbox) -> None:
    project.write("app.py", _APP)
    version = 'version = { path = "/version" }'
    configure(project, f"{program('gunicorn')} --bind unix:app.sock --workers 2 app:app", version)

    assert project.auto_heal("start").code == 0
    status = json.loads(project.auto_heal("status", "--json").output)[0]
    well = project.check()
    psutil.Process(project.pid).send_signal(signal.SIGKILL)
    healed = project.check()
    stopped = project.auto_heal("stop")

    assert (status["state"], status["port"], status["socket"]) == ("up", None, endpoint(project).path)
    assert well.code == 0, well
    assert healed.code == 0, healed
    assert project.property("verdict") == "healed"
    assert stopped.code == 0, stopped
    assert endpoint(project).refuses()
    assert not project.servers()


@pytest.mark.soak
def test_a_server_of_a_person_is_adopted(own: Sandbox) -> None:
    pid = by_hand(own)

    checked = own.check()
    adopted, status = own.pid, json.loads(own.auto_heal("status", "--json").output)[0]
    stopped = own.auto_heal("stop")

    assert checked.code == 0, checked
    assert (adopted, status["state"]) == (pid, "up")
    assert stopped.code == 0, stopped
    assert endpoint(own).refuses()


@pytest.mark.soak
def test_a_stranger_on_the_socket_is_named_and_ended_only_if_that_is_allowed(own: Sandbox) -> None:
    pid = by_hand(own, "--other")

    checked = own.check("-k", "test_process")
    started = own.auto_heal("start")
    planned = own.auto_heal("plan")

    place = endpoint(own).path
    assert checked.code == 1, checked
    assert f"unix:{place} is served by" in checked.output
    assert started.code == 1, started
    assert f"api: the socket {place} is held by" in started.output
    assert psutil.pid_exists(pid)
    assert endpoint(own).listens({pid}), planned

    configure(own, f"{PYTHON} server.py", 'free_port = "user"')
    freed = own.auto_heal("start")

    assert freed.code == 0, freed
    assert f"Freeing the socket {place} (PID: {pid})..." in freed.output
    assert endpoint(own).listens({own.pid})


def test_the_socket_that_a_dead_server_leaves_is_left_to_the_next(own: Sandbox) -> None:
    own.auto_heal("start")
    psutil.Process(own.pid).kill()
    wait_for(endpoint(own).refuses)
    left = (own.root / "app.sock").stat().st_ino

    status = own.auto_heal("status")

    assert "down" in status.output
    assert (own.root / "app.sock").stat().st_ino == left
