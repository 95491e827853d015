"""A real deployment: commits in a bare git repository, a work tree of it that is the service, and a rollback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sandbox import PYTHON, REPOSITORY, Result, Sandbox

# Each commit has a behaviour.json. The server reads it once, so a new file does not change a running process.
_SERVER = '''"""Peachmini, as the behaviour.json of the same commit has it."""

import json
import os
import sys
import time
from pathlib import Path

import peachmini

behaviour = json.loads(Path("behaviour.json").read_text())


class Handler(peachmini.Handler):
    """Answers as it was committed."""

    def do_GET(self):
        """Answer."""
        time.sleep(behaviour["answers_after"])
        if self.path in behaviour["answers"]:
            self._reply(*behaviour["answers"][self.path])
        else:
            super().do_GET()


if behaviour["crashes"]:
    print("error: no such table: girls", flush=True)
    sys.exit(3)
time.sleep(behaviour["starts_after"])
with peachmini.Server((os.environ["HOST"], int(os.environ["PORT"])), Handler) as server:
    server.serve_forever()
'''
# Keeps git from the user's configuration, hooks and signing keys, and from a repository around the tests.
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com",
}  # fmt: skip
_CHECK = '''"""A page that no version has unless it says so."""

import pytest

pytestmark = pytest.mark.heals("api")


def test_boys(services):
    """/api/boys"""
    assert services["api"].get("/api/boys").status_code == 200
'''

NO_GIRLS = {"/api/girls": [200, []]}
ERRORS = {"/api/girls": [500, {"error": "no such table"}]}
BOYS = {"/api/boys": [200, []]}
_BEGIN = ["#!/bin/sh", 'cd "$(dirname "$0")" || exit 9', "echo $$ >> rollbacks", 'echo "back to $(cat previous)"']
# How rollback.sh goes back: to the commit that was deployed before.
BACK = 'git -C app checkout -q --detach "$(cat previous)"'
VERSION = 'version = { path = "/api/health" }'


class Stage:
    """A project whose service is a work tree, with version 1.0 up."""

    def __init__(self, project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """Commit version 1.0, and deploy it; git does not read the configuration of the user."""
        for name in list(os.environ):
            if name.startswith(("GIT_", "GITHUB_")):
                monkeypatch.delenv(name)
        for name, value in _GIT.items():
            monkeypatch.setenv(name, value)
        self.project = project
        self.root = project.root
        for words in (
            ["init", "-q", "--bare", "--initial-branch=main", "origin.git"],
            ["init", "-q", "--initial-branch=main", "clone"],
            ["-C", "clone", "remote", "add", "origin", "../origin.git"],
        ):
            self.git(*words)
        shutil.copy(REPOSITORY / "examples" / "peachmini" / "server.py", self.root / "clone" / "peachmini.py")
        project.write("clone/server.py", _SERVER)
        self.first = self.commit("1.0")
        self.git("clone", "-q", "origin.git", "app")
        self.rolls_back()
        assert self.project.auto_heal("start").code == 0

    def git(self, *words: str) -> str:
        """Run git, and return what it prints."""
        ran = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran
        return ran.stdout.strip()

    # Actions of a team.

    def configure(self, *service: str, top: Sequence[str] = ()) -> None:
        """Configure the deployed service, with further lines in its table and at the top."""
        begin = ["retries = 2", "evidence = { timeout = 0 }"]
        begin += [] if any(line.startswith("latency") for line in top) else ["latency = { calls = 2 }"]
        self.project.configure(
            "\n".join(['cwd = "app"', "stop_timeout = 1", *service]),
            top="\n".join([*begin, *top]),
            command=f'command = [{json.dumps(sys.executable)}, "server.py"]',
        )

    def rolls_back(
        self, *steps: str, service: Sequence[str] = (VERSION,), top: Sequence[str] = (), options: str = ""
    ) -> None:
        """Configure a rollback.sh that adds a line to `rollbacks` and runs `steps`, by default the way back."""
        lines = [*_BEGIN, *(steps or [BACK])]
        words = json.dumps(["sh", str(self.project.write("rollback.sh", "\n".join(lines)))])
        rollback = f"{{ run = {words}, {options} }}" if options else words
        self.configure(f"rollback = {rollback}", *service, top=top)

    def has_a_check_of_boys(self) -> None:
        """Add a check that fails for every version that does not answer it."""
        self.project.write("healthtests/test_boys.py", _CHECK)

    def commit(
        self,
        version: str,
        *,
        answers: dict[str, Any] | None = None,
        health: dict[str, Any] | None = None,
        starts_after: float = 0,
        answers_after: float = 0,
        crashes: bool = False,
    ) -> str:
        """Commit a version of the service, and push it; return its hash."""
        well = {"status": "ok", "version": version} if health is None else health
        behaviour = {
            "answers": {"/api/health": [200, well], **(answers or {})},
            "starts_after": starts_after,
            "answers_after": answers_after,
            "crashes": crashes,
        }
        self.project.write("clone/behaviour.json", json.dumps(behaviour))
        self.git("-C", "clone", "add", "--all")
        self.git("-C", "clone", "commit", "-q", "--allow-empty", "-m", version)
        self.git("-C", "clone", "push", "-q", "origin", "HEAD:main")
        return self.git("-C", "clone", "rev-parse", "HEAD")

    def check_out(self, commit: str) -> None:
        """Put a commit in place, as a deployment does before it restarts."""
        self.project.write("previous", self.head)
        self.git("-C", "app", "fetch", "-q")
        self.git("-C", "app", "checkout", "-q", "--detach", commit)

    def deploy(self, version: str, **behaviour: Any) -> Result:
        """Commit a version and deploy it, as a pipeline does with `|| true`: a failed restart does not matter."""
        self.check_out(self.commit(version, **behaviour))
        return self.project.auto_heal("restart", "api")

    def predeploy(self, *words: str) -> Result:
        """Run `auto-heal predeploy`, and assert that it passes."""
        result = self.project.auto_heal("predeploy", *words)
        assert result.code == 0, result
        return result

    def postdeploy(self, *words: str, **env: str) -> Result:
        """Run `auto-heal postdeploy`."""
        return self.project.auto_heal("postdeploy", *words, **env)

    # Observations.

    @property
    def head(self) -> str:
        """The commit that is deployed."""
        return self.git("-C", "app", "rev-parse", "HEAD")

    @property
    def version(self) -> str:
        """The version that answers."""
        version: str = self.project.get("/api/health")[1]["version"]
        return version

    @property
    def rollbacks(self) -> list[int]:
        """The PIDs of all rollbacks that have begun."""
        path = self.root / "rollbacks"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def baseline(self) -> Path:
        """Where the baseline is by default."""
        return self.root / ".auto-heal" / "baseline.json"

    @property
    def verdict(self) -> str | None:
        """The verdict in the report."""
        return self.project.property("verdict")

    @property
    def cases(self) -> dict[str, ET.Element]:
        """The cases of the report by name."""
        return {case.get("name", ""): case for case in self.project.report.iter("testcase")}

    @property
    def failures(self) -> dict[str, str]:
        """The messages of the cases that fail, by name."""
        found = {name: case.find("failure") for name, case in self.cases.items()}
        return {name: failure.get("message", "") for name, failure in found.items() if failure is not None}

    def is_back(self) -> bool:
        """Return whether version 1.0 is deployed, answers correctly, and is the only one that runs."""
        return (
            self.head == self.first
            and self.version == "1.0"
            and len(self.project.get("/api/girls")[1]) == 6
            and self.project.servers() == [self.project.pid]
        )


def by_hand(action: str) -> str:
    """Return a line of a shell script by which auto-heal starts, stops or restarts the service."""
    return f"{PYTHON} -m remediation {action} api"


def count(case: ET.Element, tag: str) -> int:
    """Return how many children of a kind a case has."""
    return len(case.findall(tag))
