"""`auto-heal init` beside real frameworks and servers: a check right after it is green and touches nobody."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from sandbox import Sandbox, sandbox
from servers import SERVERS, Server, prepare, program, start_by_hand
from witnesses import await_server

from remediation.config.load import tomllib

_FASTAPI = """
from fastapi import FastAPI

app = FastAPI()

@app.get("/")
def root():
    return {"message": "Hello World"}
"""
_FASTAPI_HEALTH = f"""{_FASTAPI}
@app.get("/health")
def health():
    return {{"status": "ok", "uptime": 3}}
"""
_DJANGO = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    DEBUG="runserver" in sys.argv, SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
urlpatterns = [path("health/", lambda request: HttpResponse("ok"))]
application = get_wsgi_application()
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
_EXPRESS = """
const app = require("express")();
app.get("/", (_, answer) => answer.send("Hello World!"));
%s
app.listen(process.env.PORT, "127.0.0.1");
"""
_EXPRESS_HEALTH = 'app.get("/health", (_, answer) => answer.json({ status: "UP", uptime: process.uptime() }));'


def _fastapi(text: str) -> Callable[[Sandbox], list[str]]:
    def prepare(project: Sandbox) -> list[str]:
        project.write("main.py", text)
        return [program("uvicorn"), "main:app", "--port", str(project.port)]

    return prepare


def _gunicorn(project: Sandbox) -> list[str]:
    project.write("manage.py", _DJANGO)
    return [program("gunicorn"), "-b", f"127.0.0.1:{project.port}", "-w", "2", "manage:application"]


def _runserver(project: Sandbox) -> list[str]:
    project.write("manage.py", _DJANGO)
    return [sys.executable, "manage.py", "runserver", f"127.0.0.1:{project.port}"]


def _express(route: str) -> Callable[[Sandbox], list[str]]:
    def prepare(project: Sandbox) -> list[str]:
        install = [program("npm"), "install", "--no-audit", "--no-fund", "--silent", "express@5"]
        project.write("package.json", '{\n  "name": "shop",\n  "version": "1.0.0"\n}\n')
        subprocess.run(install, cwd=project.root, check=True, stdout=subprocess.DEVNULL)
        project.write("index.js", _EXPRESS % route)
        return [program("node"), "index.js"]

    return prepare


def _nginx(project: Sandbox) -> list[str]:
    (project.root / "t").mkdir()
    temporary = "".join(f"{name}_temp_path t/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    project.write("www/index.html", "<!DOCTYPE html><title>Welcome to nginx!</title>")
    project.write(
        "nginx.conf",
        f"daemon off; pid nginx.pid; error_log error.log;\nevents {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary}\n"
        f"server {{ listen 127.0.0.1:{project.port}; root {project.root}/www; }} }}\n",
    )
    return [program("nginx"), "-p", str(project.root), "-c", "nginx.conf"]


class Framework(NamedTuple):
    """A framework, how a person starts it, and the check that fits it."""

    prepare: Callable[[Sandbox], list[str]]
    check: dict[str, Any]


FRAMEWORKS = {
    "FastAPI": Framework(_fastapi(_FASTAPI), {"get": "/"}),
    "FastAPI with a health path": Framework(_fastapi(_FASTAPI_HEALTH), {"get": "/health", "json": {"status": "ok"}}),
    "Django by gunicorn": Framework(_gunicorn, {"get": "/health/", "matches": "^ok$"}),
    "Django by runserver": Framework(_runserver, {"get": "/health/", "matches": "^ok$"}),
    "Express": Framework(_express(""), {"get": "/"}),
    "Express with a health path": Framework(_express(_EXPRESS_HEALTH), {"get": "/health", "json": {"status": "UP"}}),
    "nginx": Framework(_nginx, {"get": "/"}),
}


@pytest.fixture
def bare() -> Iterator[Sandbox]:
    """A folder that the workers of a server may enter, whatever user they run as, with nothing of auto-heal."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for made in sandbox(Path(folder)):
            shutil.rmtree(made.root / "healthtests")
            (made.root / "auto-heal.toml").unlink()
            yield made


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_a_check_right_after_it_is_green_and_touches_nobody(bare: Sandbox, framework: Framework) -> None:
    words = framework.prepare(bare)
    environ = bare.environment(PORT=str(bare.port), HOST="127.0.0.1")
    server = subprocess.Popen(
        words, cwd=bare.root, env=environ, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await_server(bare.port)
        members = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]

        first = bare.auto_heal("init", "--url", bare.url, "--command", shlex.join(words))
        checked = bare.auto_heal("check")
        second = bare.auto_heal("init", "--url", bare.url, "--name", "again")
        again = bare.auto_heal("check")

        services = tomllib.loads((bare.root / "pyproject.toml").read_text())["tool"]["auto-heal"]["services"]
        assert services["api"]["checks"] == [framework.check, {"process": True}], first
        assert services["again"]["checks"] == [framework.check], second
        assert [result.code for result in (first, checked, second, again)] == [0] * 4, again
        assert "Restarting" not in checked.output + again.output
        assert bare.property("verdict") == "healthy"
        assert bare.pid == server.pid
        assert all(member.is_running() for member in members)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_check_beside_a_server_with_workers_is_green_and_touches_nobody(bare: Sandbox, server: Server) -> None:
    command = prepare(bare, server)
    with start_by_hand(bare, server, command) as by_hand:
        try:
            await_server(bare.port)
            main = psutil.Process(by_hand.pid)
            url = bare.url if server.name != "postgres" else bare.url.replace("http", "tcp")

            written = bare.auto_heal("init", "--url", url, "--command", shlex.join(command.words))
            checked = bare.auto_heal("check")

            assert written.code == checked.code == 0, checked
            assert bare.property("verdict") == "healthy"
            assert main.status() != psutil.STATUS_ZOMBIE
            # It changes to the folder of its data, so it is not what this command would start here.
            assert ("The command is left out" in written.output) == (server.name == "postgres")
            assert server.name == "postgres" or bare.pid == main.pid
        finally:
            os.killpg(by_hand.pid, signal.SIGKILL)


def test_a_project_of_node_gets_its_scripts(bare: Sandbox) -> None:
    _express("")(bare)
    before = json.loads((bare.root / "package.json").read_text())

    bare.auto_heal("init", "--url", bare.url, "--command", "node index.js", "--ready", "/", "--npm")

    after = json.loads((bare.root / "package.json").read_text())
    assert after == before | {"scripts": {"doctor:auto": "auto-heal check", "doctor:monitor": "auto-heal monitor"}}
    # As if it were on PATH.
    (bare.root / "node_modules" / ".bin").mkdir(exist_ok=True)
    shim = bare.write("node_modules/.bin/auto-heal", f'#!/bin/sh\nexec {sys.executable} -m remediation "$@"\n')
    shim.chmod(0o755)
    done = subprocess.run(
        [program("npm"), "run", "doctor:auto"], cwd=bare.root, env=bare.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert "Healed" in done.stdout
