"""A service whose version is in a file, and a rollback that may write an older version into it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from sandbox import DEADLINE, PYTHON, REPOSITORY, Sandbox

# Serves the version that it read at its start, and records each start.
SERVER = """
import http.server, json, os, pathlib, socketserver

version = pathlib.Path("version").read_text().strip()
with open(os.environ["STARTS"], "a") as starts:
    starts.write(version + "\\n")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": version}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.TCPServer):
    allow_reuse_address = True


Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
# Heals or rolls back services whose failed attempt saw this many heals: `healing.py roll_back api=1`.
HEALING = """
import json, sys, time
from msgspec import to_builtins
from pathlib import Path

from remediation.healing.remediator import Remediator
from remediation.healing.incident import Incident
from remediation.config.load import load_project
from remediation.state.service_state import Store
from remediation.state.event_log import EventLog

project = load_project(Path.cwd())
store = Store(project)
remediator = Remediator(store, EventLog.of(project), record=lambda _: None, origin="check")
incidents = []
for words in sys.argv[2:]:
    name, _, seen = words.partition("=")
    service = project.services[name]
    incidents.append(Incident(service, "ill", time.time(), int(seen or store.recall(service).heals)))
Path(f"{sys.argv[1]}.begins").touch()
done = remediator.roll_back(incidents) if sys.argv[1] == "roll_back" else [remediator.heal(*incidents)]
print(json.dumps([to_builtins(one) | {"ok": one.ok, "refused": one.result.refused} for one in done]))
"""
AUTO_HEAL = f"{PYTHON} -m remediation"
BACK = "echo 1 > version"
RUN = "rollback by sh rollback.sh"

Outcomes = list[dict[str, Any]]


class Deployed:
    """A project whose service runs version 2, and whose rollback.sh can bring version 1 back."""

    def __init__(self, project: Sandbox) -> None:
        """Start version 2."""
        self.project = project
        project.write("server.py", SERVER)
        project.write("healing.py", HEALING)
        project.write("version", "2")
        self.rolls_back()
        started = project.auto_heal("start")
        assert started.code == 0, started

    def rolls_back(self, *steps: str, options: str = "", service: str = "", more: str = "", command: str = "") -> None:
        """Write a rollback.sh that adds its PID to `runs` and runs these steps; by default it goes back."""
        self.project.write("rollback.sh", "\n".join(["echo $$ >> runs", "echo on the way", *(steps or [BACK])]))
        keys = ", ".join(filter(None, ['run = "sh rollback.sh"', options]))
        self.project.configure(
            f"{self.table('starts')}\nrollback = {{ {keys} }}\n{service}",
            top="evidence = { timeout = 0 }",
            command=command or self.command,
            more=more,
        )

    command = f'command = ["{sys.executable}", "server.py"]'

    @staticmethod
    def table(starts: str) -> str:
        """Return the common lines of the services' tables."""
        return f'env = {{ STARTS = "{starts}", PYTHONPATH = "{REPOSITORY}" }}\nstop_timeout = 2'

    def begin(self, act: str, *services: str) -> subprocess.Popen[str]:
        """Begin to heal or to roll back."""
        return self.project.start("healing", act, *services)

    @staticmethod
    def end(process: subprocess.Popen[str]) -> Outcomes:
        """Wait for the outcomes."""
        output, _ = process.communicate(timeout=2 * DEADLINE)
        assert process.returncode == 0, output
        outcomes: Outcomes = json.loads(output)
        return outcomes

    def roll_back(self, *services: str) -> dict[str, Any]:
        """Roll back, and return the outcome of the first service."""
        return self.end(self.begin("roll_back", *(services or ["api"])))[0]

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file; none if there is none."""
        path = self.project.root / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def starts(self) -> list[str]:
        """The versions that were started, in order."""
        return self.lines("starts")

    @property
    def runs(self) -> list[str]:
        """The PIDs of the rollbacks that have begun."""
        return self.lines("runs")

    @property
    def version(self) -> str:
        """The version that answers; assert that its process is the only server, and the stored one."""
        assert self.project.servers() == [self.project.pid]
        version: str = self.project.get("/")[1]["version"]
        return version
