"""The recipes of the docs run as pasted against the real thing, and fail with one sentence without it."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

import pytest
import servers
from daemons import enterable, mariadb, rabbitmq
from sandbox import REPOSITORY, Result, Sandbox, wait_for

PAGE = (REPOSITORY / "docs" / "how-to" / "probes.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipe(title: str) -> str:
    """Return the code below a heading."""
    section = next(part for part in PAGE.split("\n## ") if part.startswith(title))
    (code,) = _BLOCK.findall(section)
    return str(code)


def only(project: Sandbox, code: str, service: str = "", **options: str) -> None:
    """Let the project have these checks alone, and its service these keys."""
    for file in (project.root / "healthtests").glob("test_*.py"):
        file.unlink()
    project.write("healthtests/test_recipe.py", code)
    project.configure(service, top="retries = 1", **options)


def watched(project: Sandbox, code: str, port: int) -> None:
    """Let the project check what listens at a port, and heal nothing."""
    only(project, code, f'url = "tcp://127.0.0.1:{port}"\nready = "tcp"', command="")


def passes(project: Sandbox, **env: str) -> Result:
    """Return the result of a check that passes before long."""
    results: list[Result] = []

    def check() -> bool:
        results.append(project.check(**env))
        return results[-1].code == 0

    wait_for(check, deadline=60)
    return results[-1]


def fails(project: Sandbox, **env: str) -> str:
    """Return why a check fails."""
    result = project.check("--no-heal", **env)
    assert result.code == 1, result
    failure = project.report.find("testcase/failure")
    assert failure is not None, result
    return str(failure.get("message")).partition("\n")[0]


def needs(*modules: str) -> None:
    """Skip a test if a package is not installed."""
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed", exc_type=ImportError)


# The probes of the first page.


def test_the_first_checks_measure_the_service(healthy: Sandbox) -> None:
    first, *_ = _BLOCK.findall(PAGE)
    only(healthy, first)

    result = healthy.check()

    assert result.code == 0, result
    assert "memory OK (memory: " in healthy.log
    assert re.search(r"open files OK \(open_files: \d+ of \d+\)", healthy.log)
    assert "log OK (log: 0 lines)" in healthy.log


def test_a_probe_of_ones_own_is_shown_and_fails(project: Sandbox) -> None:
    only(project, recipe("A probe of your own"))
    job = project.write("spool/job", "")

    assert project.check("--no-heal").code == 0
    assert re.search(r"spool OK \(oldest: [\d.e-]+ s\)", project.log)

    os.utime(job, (time.time() - 700,) * 2)
    assert "nobody empties the spool" in fails(project)


# gRPC.

GRPC = """
import os, pathlib, time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

state = health.HealthServicer()
server = grpc.server(futures.ThreadPoolExecutor())
health_pb2_grpc.add_HealthServicer_to_server(state, server)
server.add_insecure_port("127.0.0.1:" + os.environ["PORT"])
server.start()
while True:
    kinds = health_pb2.HealthCheckResponse
    state.set("", kinds.NOT_SERVING if pathlib.Path("ill").exists() else kinds.SERVING)
    time.sleep(0.01)
"""


def test_grpc(project: Sandbox) -> None:
    needs("grpc", "grpc_health")
    project.write("server.py", GRPC)
    only(project, recipe("gRPC"), 'ready = "tcp"', command=f'command = ["{sys.executable}", "server.py"]')
    assert project.auto_heal("start").code == 0

    passes(project)
    project.write("ill", "")
    assert fails(project) == "AssertionError: NOT_SERVING"
    os.kill(project.pid, signal.SIGSTOP)
    assert fails(project).startswith("Failed: gRPC: DEADLINE_EXCEEDED: ")


# MySQL.


def test_mysql(project: Sandbox) -> None:
    needs("pymysql")
    enterable(project)
    folder = project.root / "mariadb"
    folder.mkdir()
    folder.chmod(0o755)
    with mariadb(folder) as port:
        watched(project, recipe("MySQL"), port)

        passes(project, MYSQL_USER="ann", MYSQL_PASSWORD="sesame")
        assert re.search(r"MySQL OK \(connected: \d+ threads\)", project.log)
        assert "Access denied for user 'ann'" in fails(project, MYSQL_USER="ann", MYSQL_PASSWORD="wrong")
    assert "MySQL: Can't connect to MySQL server" in fails(project, MYSQL_USER="ann", MYSQL_PASSWORD="sesame")


# RabbitMQ.


def test_rabbitmq(project: Sandbox) -> None:
    needs("pika")
    folder = project.root / "rabbitmq"
    folder.mkdir()
    login = {"RABBITMQ_USER": "guest", "RABBITMQ_PASSWORD": "guest"}
    with rabbitmq(folder) as port:
        watched(project, recipe("RabbitMQ"), port)
        wait_for(lambda: "no queue 'jobs'" in fails(project, **login), deadline=60)
        declare(port)

        passes(project, **login)
        assert "queue OK (waiting: 3 messages)" in project.log
        assert "RabbitMQ: " in fails(project, RABBITMQ_USER="guest", RABBITMQ_PASSWORD="wrong")
    assert "RabbitMQ: AMQPConnectionError" in fails(project, **login)


def declare(port: int) -> None:
    """Make a queue with three messages."""
    import pika

    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)) as connection:
        channel = connection.channel()
        channel.queue_declare("jobs")
        for _ in range(3):
            channel.basic_publish("", "jobs", b"x")


# A browser.

SHOP = """
import http.server, os, pathlib, urllib.parse

PAGE = '<form><label>Name <input name="name"></label><button>Order</button></form>'

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        ill = pathlib.Path("ill").exists()
        page = f"<p>Thank you, {query['name'][0]}</p>" if "name" in query and not ill else PAGE
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_a_journey_through_a_browser(project: Sandbox) -> None:
    needs("playwright.sync_api")
    servers.program("chromium")
    project.write("server.py", SHOP)
    only(project, recipe("A journey"), 'ready = "/"', command=f'command = ["{sys.executable}", "server.py"]')
    assert project.auto_heal("start").code == 0

    passes(project)
    project.write("ill", "")
    assert "order: Locator expected to be visible" in fails(project)
