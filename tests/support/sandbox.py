"""A project of its own for one test: a folder, a free port, real commands, and a complete cleanup."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from remediation.system.environment import SERVICE_MARK

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENT = REPOSITORY / "tests" / "support" / "patient.py"
# As words of a shell, since their paths may contain spaces and quotes.
PYTHON = shlex.quote(sys.executable)
SERVE = f"{PYTHON} {shlex.quote(str(PATIENT))}"
# Long enough for a loaded machine; a passing test does not wait for it.
DEADLINE = 30.0
# For a service that accepts connections and never answers: a longer wait would prove nothing more.
IMPATIENT = "timeout = 0.5\nretries = 1"

# Plugins that only their own tests need. All other runs disable them, since they cost time.
_KEPT_OUT = "-p no:asyncio -p no:anyio -p no:html -p no:metadata -p no:pytest_cov -p no:hypothesispytest"
_WITHOUT_WORKERS = f"{_KEPT_OUT} -p no:xdist -p no:xdist.looponfail"

Value = TypeVar("Value")

# Several services of one project must not get the same port.
_given: set[int] = set()

# The settings of the person who runs the tests must not change the results.
_CLEARED = (
    "API_URL", "CHECK_INTERVAL", "MAX_RETRIES", "RETRY_DELAY", "LOG_FILE", "AUTO_HEAL", "AUTO_HEAL_LANG",
    "NO_COLOR", "FORCE_COLOR", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "LC_ALL", "LC_MESSAGES", "LANG",
    "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "HOST", "PORT",
)  # fmt: skip


def free_port() -> int:
    """Return a port without a listener, below those that the kernel assigns to clients.

    While a service is down, the kernel could assign a port of that range to an outgoing connection.
    """
    while True:
        number = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            if number not in _given:
                probe.bind(("", number))
                _given.add(number)
                return number


def wait_for(condition: Callable[[], Value], *, deadline: float = DEADLINE) -> Value:
    """Return what `condition` returns once it is true; fail after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline}s: {condition}"
        time.sleep(0.01)
    return value


class Sandbox:
    """A project with one service, `api`, which the configuration and the tests may change."""

    def __init__(self, root: Path) -> None:
        """Copy the shipped checks, and configure the test server as the service."""
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._strangers: list[subprocess.Popen[bytes]] = []
        shutil.copytree(REPOSITORY / "healthtests", root / "healthtests", ignore=shutil.ignore_patterns("__pycache__"))
        self.configure()

    def configure(self, service: str = "", *, top: str = "", more: str = "", command: str | None = None) -> None:
        """Write the configuration: `service` goes into the table of api, `top` above it, `more` below it."""
        started = f'command = [{json.dumps(sys.executable)}, "{PATIENT}"]' if command is None else command
        ready = "" if "ready =" in service else 'ready = "/api/health"\n'
        url = "" if "url =" in service else f'url = "{self.url}"\n'
        delay = "" if "retry_delay" in top else "retry_delay = 0.1\n"
        self.write(
            "auto-heal.toml",
            f"{delay}{top}\n[services.api]\n{started}\n{url}{ready}{service}\n{more}\n",
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    # Commands, as a user runs them.

    @staticmethod
    def environment(**changes: str) -> dict[str, str]:
        """Return the environment in which a command of a sandbox runs."""
        environ = {name: value for name, value in os.environ.items() if name not in _CLEARED}
        ours = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": _KEPT_OUT}
        return environ | ours | changes

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        """Start `python -m` with these words."""
        if "-n" not in command:
            env = {"PYTEST_ADDOPTS": _WITHOUT_WORKERS} | env
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root, env=self.environment(**env), text=True, encoding="utf-8", errors="backslashreplace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *command: str, **env: str) -> Result:
        """Run `python -m` with these words to its end."""
        return Result.of(self.start(*command, **env))

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        """Kill a run with its whole session, so that no process notices the death of another."""
        waiting = psutil.Process(process.pid)
        waiting.suspend()
        for child in waiting.children():
            child.kill()
        process.kill()
        process.communicate()

    def check(self, *arguments: str, **env: str) -> Result:
        """Run `pytest healthtests`."""
        return self.run("pytest", "healthtests", *arguments, **env)

    def auto_heal(self, *arguments: str, **env: str) -> Result:
        """Run `auto-heal`."""
        return self.run("remediation", *arguments, **env)

    # Observations.

    @property
    def pid(self) -> int:
        """The PID in the PID file."""
        return int((self.root / ".api-server.pid").read_text())

    @property
    def state(self) -> dict[str, Any]:
        """The stored state of api."""
        state: dict[str, Any] = json.loads((self.root / ".auto-heal" / "api.json").read_text())
        return state

    @property
    def log(self) -> str:
        """The log of auto-heal."""
        return (self.root / "auto-heal.log").read_text(encoding="utf-8")

    @property
    def report(self) -> ET.Element:
        """The test suite of the report."""
        suite = ET.parse(self.root / "reports" / "health.xml").getroot().find("testsuite")
        assert suite is not None
        return suite

    def property(self, name: str) -> str | None:
        """Return a property of the report's suite."""
        found = self.report.find(f"properties/property[@name='auto-heal.{name}']")
        return None if found is None else found.get("value")

    def get(self, path: str, timeout: float = 5.0) -> tuple[int, Any]:
        """Return status and JSON of a path of the service."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def answers(self) -> bool:
        """Return whether the service answers that it is healthy."""
        try:
            return self.get("/api/health")[0] == 200
        except OSError:
            return False

    def family(self) -> list[psutil.Process]:
        """Return all live processes that carry the mark of a service of this project."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get(SERVICE_MARK, "").startswith(f"{self.root.resolve()}:")
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def servers(self) -> list[int]:
        """Return the PIDs of the family's processes whose parent is not in it: one for each started service."""
        family = {process.pid for process in self.family()}
        roots = []
        for pid in family:
            with suppress(psutil.Error):
                if not {parent.pid for parent in psutil.Process(pid).parents()} & family:
                    roots.append(pid)
        return roots

    # Strangers.

    def stranger(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a process that is foreign to auto-heal."""
        process = subprocess.Popen(command, cwd=self.root, env=self.environment(**env))
        self._strangers.append(process)
        return process

    def stranger_on_port(self, host: str = "127.0.0.1") -> subprocess.Popen[bytes]:
        """Start a stranger that listens on the service's port, and wait until it does."""
        script = (
            "import socket, sys, time\n"
            "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
            "server = socket.socket(family)\n"
            "server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "server.bind((sys.argv[1], int(sys.argv[2])))\n"
            "server.listen()\n"
            "print('listening', flush=True)\n"
            "time.sleep(600)\n"
        )
        command = [sys.executable, "-c", script, host, str(self.port)]
        process = subprocess.Popen(command, cwd=self.root, env=self.environment(), stdout=subprocess.PIPE)
        self._strangers.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        return process

    def clean(self) -> None:
        """End the processes of the test: strangers by their handle, services by their mark."""
        for process in self._strangers:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for _ in range(3):
            for member in self.family():
                with suppress(psutil.Error):
                    member.kill()
        wait_for(lambda: not self.family())


class Result:
    """How a command ended and what it printed, stdout and stderr together."""

    def __init__(self, code: int, output: str) -> None:
        """Keep the exit code and the output."""
        self.code = code
        self.output = output

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> Result:
        """Wait for the end of a command; if it hangs, kill it and fail the test."""
        try:
            output, _ = process.communicate(timeout=4 * DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"{process.args!r} hangs:\n{output}") from None
        return cls(process.returncode, output)

    @property
    def lines(self) -> list[str]:
        """The output, line by line."""
        return self.output.splitlines()

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.output}"


def sandbox(root: Path) -> Iterator[Sandbox]:
    """Yield a sandbox, and clean it up."""
    made = Sandbox(root)
    try:
        yield made
    finally:
        made.clean()


def is_healed(project: Sandbox) -> None:
    """Run one check, and assert that it heals."""
    result = project.check()
    assert result.code == 0, result
    assert project.property("verdict") == "healed", result
    assert project.answers()
    assert len(project.servers()) == 1
