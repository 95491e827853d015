"""Runs a step of the action as GitHub's runner does: by bash, with the files and folders that a step gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from sandbox import REPOSITORY, Result, Sandbox

ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
INPUTS = ("command", "path", "wait", "expect-version", "heal", "report")


class Runner:
    """The surroundings of a step on GitHub's runner: files to write to, folders, and its environment."""

    def __init__(self, temp: Path, workspace: Path) -> None:
        """Make the folders and files, and a folder for programs that comes first in PATH."""
        self.temp = temp
        self.workspace = workspace
        self.tracking_id = f"github_{temp}"
        self.path = f"{self.folder('bin')}:{os.environ['PATH']}"
        self.pid = 0
        self.environ = {
            "GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": str(REPOSITORY), "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(self.folder("temp")), "RUNNER_TRACKING_ID": self.tracking_id,
            "RECORD": str(temp / "record.json"),
        }  # fmt: skip
        for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            self.environ[name] = str(self.empty(name))

    def folder(self, name: str) -> Path:
        """Return a folder; create it if necessary."""
        (self.temp / name).mkdir(exist_ok=True)
        return self.temp / name

    def empty(self, name: str) -> Path:
        """Return an empty file."""
        (self.temp / name).write_bytes(b"")
        return self.temp / name

    def program(self, name: str, text: str) -> Path:
        """Write a program into the folder of programs."""
        path = self.folder("bin") / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def step(self, inputs: Mapping[str, str] | None = None, **env: str) -> Result:
        """Run the action with these inputs, and defaults for the others."""
        values = {name: ACTION["inputs"][name]["default"] for name in INPUTS} | dict(inputs or {})
        (step,) = ACTION["runs"]["steps"]
        given = {name: self.resolved(text, values) for name, text in step["env"].items()}
        self.empty("GITHUB_OUTPUT")
        script = self.temp / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        process = subprocess.Popen(
            [str(shutil.which("bash")), "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace, env=Sandbox.environment(PATH=self.path, **self.environ, **given, **env),
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.pid = process.pid
        return Result.of(process)

    @staticmethod
    def resolved(text: str, values: dict[str, str]) -> str:
        """Return the value that GitHub gives to an expression, here an input."""
        expression = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", text)
        assert expression, text
        return values[expression[1]]

    @property
    def record(self) -> Any:
        """The call that the recorder noted, or None."""
        path = Path(self.environ["RECORD"])
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs of the action, by what the step wrote last for each."""
        lines = Path(self.environ["GITHUB_OUTPUT"]).read_text(encoding="utf-8").splitlines()
        written = dict(line.split("=", 1) for line in lines)
        return {name: written.get(self.source(output["value"]), "") for name, output in ACTION["outputs"].items()}

    @staticmethod
    def source(value: str) -> str:
        """Return the name of the step's output behind an output of the action."""
        (step,) = ACTION["runs"]["steps"]
        expression = re.fullmatch(rf"\$\{{\{{ steps\.{step['id']}\.outputs\.([a-z]+) \}}\}}", value)
        assert expression, value
        return expression[1]

    @property
    def summary(self) -> str:
        """The summary of the step."""
        return Path(self.environ["GITHUB_STEP_SUMMARY"]).read_text(encoding="utf-8")

    def leftovers(self) -> list[int]:
        """Return the PIDs of the processes that GitHub's runner would end at the end of the job."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("RUNNER_TRACKING_ID") == self.tracking_id:
                    found.append(process.pid)
        return found
