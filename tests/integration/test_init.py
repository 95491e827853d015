"""`auto-heal init`, and a check right after it: green, and nobody is touched."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandbox import PATIENT, SERVE, Sandbox, sandbox, wait_for

from remediation.config.load import tomllib

# It answers by path what its argument says: {"/health": [status, content type, body]}.
SERVER = """
import http.server, json, os, sys, time

REPLIES = json.loads(sys.argv[1])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, kind, body, *delay = REPLIES.get(self.path) or REPLIES.get("*") or [404, "text/plain", "no"]
        time.sleep(*delay or [0])
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
JSON, TEXT = "application/json", "text/plain"
WELL = {"/health": [200, JSON, '{"status":"ok","uptime":7}']}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Sandbox]:
    """A folder with a program, and nothing of auto-heal."""
    for made in sandbox(tmp_path):
        shutil.rmtree(made.root / "healthtests")
        (made.root / "auto-heal.toml").unlink()
        made.write("server.py", SERVER)
        yield made


def words(replies: dict[str, list[Any]]) -> list[str]:
    """Return the command of a server with these replies."""
    return [sys.executable, "server.py", json.dumps(replies)]


def serve(project: Sandbox, replies: dict[str, list[Any]]) -> psutil.Process:
    """Start a server as a person would, and wait until it listens."""
    process = psutil.Process(project.stranger(*words(replies), PORT=str(project.port)).pid)
    wait_for(lambda: any(entry.status == psutil.CONN_LISTEN for entry in process.net_connections()))
    return process


def is_green_and_touches_nothing(project: Sandbox, server: psutil.Process) -> None:
    """Assert that a check passes, and that the server goes on."""
    result = project.auto_heal("check")

    assert result.code == 0, result
    assert "All systems are healthy" in result.output
    assert "Restarting" not in result.output
    assert server.is_running()
    assert server.status() != psutil.STATUS_ZOMBIE


def test_a_server_that_the_command_would_start_is_adopted_and_touched_by_nothing(bare: Sandbox) -> None:
    server = serve(bare, WELL)

    result = bare.auto_heal("init", "--url", bare.url, "--command", shlex.join(words(WELL)))

    assert result.code == 0, result
    assert f"(PID {server.pid}, " in result.lines[-2]
    assert result.lines[-2].endswith(", which was started by hand, without a restart")
    is_green_and_touches_nothing(bare, server)
    assert bare.pid == server.pid


def test_a_service_that_does_not_run_yet_is_started_by_the_first_check(bare: Sandbox) -> None:
    result = bare.auto_heal("init", "--command", SERVE, "--url", bare.url, "--ready", "/api/health")

    assert f"  would start `{sys.executable} {PATIENT}` in {bare.root}" in result.lines
    assert not bare.family()
    result = bare.check()
    assert result.code == 0, result
    assert "2 passed" in result.output
    assert bare.property("verdict") == "healed"


DIALECTS = {
    "Spring Boot": {"/actuator/health": [200, "application/vnd.spring-boot.actuator.v3+json", '{"status":"UP"}']},
    "Spring Boot with details": {
        "/actuator/health": [200, JSON, '{"status":"UP","components":{"db":{"status":"UP"}}}']
    },
    "ASP.NET": {"/health": [200, TEXT, "Healthy"]},
    "ASP.NET degraded": {"/health": [200, TEXT, "Degraded"]},
    "RFC draft": {"/health": [200, "application/health+json", '{"status":"pass","time":"2026-01-01T00:00:00Z"}']},
    "Kubernetes": {"/healthz": [200, TEXT, "ok"]},
    "Rails": {"/up": [200, "text/html", '<html><body style="background-color: green"></body></html>']},
    "Node with text as HTML": {"/health": [200, "text/html; charset=utf-8", "OK\n"]},
    "empty": {"/health": [204, "", ""]},
    "API without a health path": {"/graphql": [200, JSON, "{}"]},
    "page": {"*": [200, "text/html", "<html>Welcome</html>"]},
    "credentials": {"*": [401, TEXT, "who?"]},
    "forbidden": {"*": [403, TEXT, "no"]},
    "slow": {"/health": [200, JSON, '{"status":"ok"}', 1]},
    "slow and without a health path": {"*": [404, TEXT, "no", 0.3]},
}


@pytest.mark.soak
@pytest.mark.parametrize("replies", DIALECTS.values(), ids=DIALECTS)
def test_whatever_a_well_service_says_a_check_is_green_and_touches_nothing(
    bare: Sandbox, replies: dict[str, list[Any]]
) -> None:
    server = serve(bare, replies)

    first = bare.auto_heal("init", "--url", bare.url, "--command", shlex.join(words(replies)))
    is_green_and_touches_nothing(bare, server)
    second = bare.auto_heal("init", "--url", bare.url, "--name", "again")
    is_green_and_touches_nothing(bare, server)

    assert first.code == second.code == 0, second
    assert bare.pid == server.pid


# Answers every first bytes with this, on the Unix socket app.sock.
SOCKET = """
import contextlib, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind("app.sock")
server.listen()
while True:
    client, _ = server.accept()
    with client, contextlib.suppress(OSError):
        client.recv(9999)
        client.sendall(sys.argv[1].encode())
"""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("answer", "check"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", {"get": "/health", "matches": "^ok$"}),
        ("-ERR unknown command\r\n", {"tcp": True}),
    ],
    ids=["HTTP", "something else"],
)
def test_a_service_on_a_unix_socket_is_checked_there(bare: Sandbox, answer: str, check: dict[str, Any]) -> None:
    bare.write("server.py", SOCKET)
    server = psutil.Process(bare.stranger(sys.executable, "server.py", answer).pid)
    wait_for((bare.root / "app.sock").exists)

    bare.auto_heal("init", "--url", "unix:app.sock")

    table = tomllib.loads((bare.root / "pyproject.toml").read_text())["tool"]["auto-heal"]["services"]["api"]
    assert table["url"] == "unix:app.sock"
    assert table["checks"] == [check]
    is_green_and_touches_nothing(bare, server)


@pytest.mark.soak
def test_a_stranger_in_the_place_of_the_command_is_only_checked(bare: Sandbox) -> None:
    server = serve(bare, WELL)

    result = bare.auto_heal("init", "--url", bare.url, "--command", "node index.js")

    (left_out,) = [line for line in result.lines if line.startswith("The command is left out: ")]
    assert f"(PID {server.pid}, " in left_out
    assert left_out.endswith("which is not what `node index.js` starts")
    is_green_and_touches_nothing(bare, server)
    server.kill()
    assert bare.auto_heal("check", "--reruns=0").code == 1


@pytest.mark.soak
def test_a_sick_service_is_red_until_it_is_well(bare: Sandbox) -> None:
    sick = serve(bare, {"/health": [503, JSON, '{"status":"DOWN"}']})

    bare.auto_heal("init", "--url", bare.url)

    assert bare.auto_heal("check", "--reruns=0").code == 1
    sick.kill()
    is_green_and_touches_nothing(bare, serve(bare, {"/health": [200, JSON, '{"status":"UP"}']}))
