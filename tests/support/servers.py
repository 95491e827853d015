"""Real servers, each with the files and the command that it needs in a folder, and how a person would start it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from sandbox import Sandbox

# Debian keeps servers where the PATH of an ordinary user does not look.
_DEBIAN = ["/usr/sbin", "/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent), *_DEBIAN])
# The answer of every HTTP server here to /health.
_WELL = '{"status": "ok"}'
_CHECKS = """
import pytest

pytestmark = pytest.mark.heals("api")


def test_answer(services):
    {answer}


def test_process(services):
    services["api"].require_process()
"""
_HTTP = 'assert services["api"].get("/health").status_code == 200'
# The first message of every client that would like TLS, and the server's answer of one letter, protocol of PostgreSQL,
# section "SSL Session Encryption".
_POSTGRES = """import socket
    with socket.create_connection(("127.0.0.1", services["api"].port), 2) as connection:
        connection.sendall(bytes.fromhex("0000000804d2162f"))
        assert connection.recv(1) in (b"S", b"N")"""
_WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"status": "ok"}']
"""
_ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"status": "ok"}'})
"""
_DJANGO = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import JsonResponse
from django.urls import path

settings.configure(DEBUG=True, SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
urlpatterns = [path("health", lambda request: JsonResponse({"status": "ok"}))]
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
_NODE = """
require("http").createServer((_, answer) => answer.end('{"status": "ok"}')).listen(process.env.PORT, "127.0.0.1");
"""
_CLUSTER = """
const cluster = require("cluster");
if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
  cluster.on("exit", () => cluster.fork());
} else {
  require("http").createServer((_, answer) => answer.end('{"status": "ok"}')).listen(process.env.PORT, "127.0.0.1");
}
"""
_PYTHON = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Command(NamedTuple):
    """A command of the configuration, and further keys of the service."""

    words: list[str]
    keys: str = ""


class Server(NamedTuple):
    """One kind of server; `prepare` writes its files into a project and returns its command."""

    name: str
    needs: tuple[str, ...]
    prepare: Callable[[Sandbox], Command]
    needs_root: bool = False
    by_environment: bool = False
    """Whether it takes its port from the environment, so that its twin may run in the same folder."""
    user: str = ""
    has_workers: bool = True


def program(name: str) -> str:
    """Return the path of a program; skip the test if it is not installed."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _nginx(project: Sandbox) -> Command:
    for folder in ("logs", "t"):
        (project.root / folder).mkdir()
    temporary = "".join(f"{name}_temp_path t/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    project.write(
        "nginx.conf",
        f"daemon off; worker_processes 2; pid nginx.pid; error_log logs/error.log;\n"
        f"events {{ worker_connections 64; }}\nhttp {{ access_log off; {temporary}\n"
        f"server {{ listen 127.0.0.1:{project.port}; location / {{ return 200 '{_WELL}'; }} }} }}\n",
    )
    return Command([program("nginx"), "-p", str(project.root), "-c", "nginx.conf"])


def _apache(project: Sandbox) -> Command:
    modules = Path("/usr/lib/apache2/modules")
    project.write("www/health", _WELL)
    project.write(
        "apache.conf",
        f"ServerRoot {project.root}\nPidFile apache.pid\nErrorLog error.log\nServerName localhost\n"
        f"Listen 127.0.0.1:{project.port}\nLoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so\n"
        f"LoadModule authz_core_module {modules}/mod_authz_core.so\nUser www-data\nGroup www-data\n"
        f"StartServers 2\nMaxRequestWorkers 4\nDocumentRoot {project.root}/www\n"
        f"<Directory {project.root}/www>\nRequire all granted\n</Directory>\n",
    )
    return Command([program("apache2"), "-f", str(project.root / "apache.conf"), "-DFOREGROUND"])


def _haproxy(project: Sandbox) -> Command:
    project.write(
        "haproxy.cfg",
        "global\n  user nobody\n  group nogroup\ndefaults\n  mode http\n  timeout client 5s\n  timeout connect 5s\n"
        f"  timeout server 5s\nfrontend web\n  bind 127.0.0.1:{project.port}\n"
        "  http-request return status 200 content-type application/json string ok\n",
    )
    return Command([program("haproxy"), "-W", "-db", "-f", "haproxy.cfg"])


def _postgres(project: Sandbox) -> Command:
    data = project.root / "data"
    data.mkdir(mode=0o700)
    initdb = [program("initdb"), "-D", str(data), "-A", "trust", "--no-sync"]
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=data, user=user)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
    words = [program("postgres"), "-D", str(data), "-p", str(project.port), *settings]
    # It changes to the folder of its data itself.
    as_user = 'user = "postgres"\n' if os.geteuid() == 0 else ""
    return Command(words, f'cwd = "data"\nready = "tcp"\nstop_signal = "SIGINT"\n{as_user}')


def _gunicorn(project: Sandbox) -> Command:
    pytest.importorskip("setproctitle", reason="setproctitle is not installed")
    project.write("app.py", _WSGI)
    return Command([program("gunicorn"), "-b", f"127.0.0.1:{project.port}", "-w", "4", "app:app"])


def _uvicorn(project: Sandbox) -> Command:
    project.write("app.py", _ASGI)
    return Command([program("uvicorn"), "app:app", "--port", str(project.port), "--reload"])


def _django(project: Sandbox) -> Command:
    pytest.importorskip("django", reason="django is not installed")
    project.write("manage.py", _DJANGO)
    return Command([sys.executable, "manage.py", "runserver", f"127.0.0.1:{project.port}"])


def _npm(project: Sandbox) -> Command:
    project.write("index.js", _NODE)
    project.write("package.json", json.dumps({"name": "x", "version": "1.0.0", "scripts": {"start": "node index.js"}}))
    return Command([program("npm"), "start"])


def _cluster(project: Sandbox) -> Command:
    project.write("cluster.js", _CLUSTER)
    return Command([program("node"), "cluster.js"])


def _shim(project: Sandbox) -> Command:
    version = project.root / "manager" / "versions" / "1.0" / "bin"
    version.mkdir(parents=True)
    (version / "python").symlink_to(sys.executable)
    shim = project.write("manager/shims/python", f'#!/bin/sh\nexec "{version}/python" "$@"\n')
    shim.chmod(0o755)
    project.write("server.py", _PYTHON)
    return Command([str(shim), "server.py"])


SERVERS = (
    Server("nginx", ("nginx",), _nginx, needs_root=True),
    Server("apache", ("apache2",), _apache, needs_root=True),
    Server("haproxy", ("haproxy",), _haproxy, needs_root=True),
    Server("postgres", ("postgres", "initdb"), _postgres, user="postgres"),
    Server("gunicorn", ("gunicorn",), _gunicorn),
    Server("uvicorn", ("uvicorn",), _uvicorn),
    Server("django", (), _django),
    Server("npm", ("npm", "node"), _npm, by_environment=True),
    Server("cluster", ("node",), _cluster, by_environment=True),
    Server("shim", (), _shim, by_environment=True, has_workers=False),
)


def prepare(project: Sandbox, server: Server) -> Command:
    """Write a server's files into a project, and return its command; skip the test if it cannot run here."""
    for name in server.needs:
        program(name)
    if server.needs_root and os.geteuid() != 0:
        pytest.skip(f"only root can start {server.name} with workers of another user")
    return server.prepare(project)


def configure(project: Sandbox, server: Server) -> Command:
    """Write a server's files, its checks and its configuration into a project, and return its command."""
    command = prepare(project, server)
    shutil.rmtree(project.root / "healthtests")
    answer = _POSTGRES if server.name == "postgres" else _HTTP
    project.write("healthtests/test_server.py", _CHECKS.format(answer=answer))
    keys = command.keys or 'ready = "/health"\n'
    project.configure(
        f"{keys}stop_timeout = 5", top="retries = 2\ntimeout = 2", command=f"command = {json.dumps(command.words)}"
    )
    return command


def start_by_hand(
    project: Sandbox, server: Server, command: Command, *, port: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a server as a person would in a shell, in the project's folder, on the service's port or another."""
    environ = project.environment(PORT=str(port or project.port), HOST="127.0.0.1")
    user = server.user if server.user and os.geteuid() == 0 else None
    return subprocess.Popen(
        command.words, cwd=project.root, env=environ, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, user=user, group=user,
    )  # fmt: skip


# Faults.

Fault = Callable[[psutil.Process], list[psutil.Process]]


def main_crashes(main: psutil.Process) -> list[psutil.Process]:
    """Kill the main process alone."""
    main.kill()
    return [main]


def worker_crashes(main: psutil.Process) -> list[psutil.Process]:
    """Kill a process that the main process has started."""
    worker = main.children(recursive=True)[-1]
    worker.kill()
    return [worker]


def main_hangs(main: psutil.Process) -> list[psutil.Process]:
    """Suspend the main process alone."""
    main.send_signal(signal.SIGSTOP)
    return [main]


def all_hang(main: psutil.Process) -> list[psutil.Process]:
    """Suspend the main process and all that it has started."""
    family = [main, *main.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    return family


def all_crash(main: psutil.Process) -> list[psutil.Process]:
    """Kill the main process and all that it has started."""
    family = [main, *main.children(recursive=True)]
    for process in family:
        process.kill()
    return family


FAULTS = (main_crashes, worker_crashes, main_hangs, all_hang, all_crash)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those of these processes that live."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
