"""Where the races are run: a temporary folder with projects and one service, of which nothing is left behind."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from stopwatch import Command

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = REPOSITORY / "examples" / "peachmini" / "server.py"
HOST = "localhost"

# Whatever else the caller's environment holds must not change what is measured.
_INHERITED = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# All that is started here, and all that this starts in turn, carries the folder's name, or that of one below it.
MARK = "AUTOHEAL_BENCH_FOLDER"

# More than one look that finds nobody, because monit starts its scripts without the mark, which they themselves set.
_QUIET_LOOKS = 2
_MOST_LOOKS = 100
_LOOK_SECONDS = 0.05

_SAME_REQUESTS = """\
import os
from pathlib import Path

import requests


def test_health():
    response = requests.get("{url}/api/health", timeout=5)
    assert response.status_code == 200
    assert response.json()["status"] == "ok"


def test_girls():
    response = requests.get("{url}/api/girls", timeout=5)
    girls = response.json()
    assert response.status_code == 200
    assert isinstance(girls, list)
    assert girls, "the list is empty"
    assert all("id" in girl and "name" in girl for girl in girls)


def test_process():
    os.kill(int(Path(r"{pid_file}").read_text()), 0)
"""

_FIRST_TEST = """\
import os

import requests


def test_first():
    os.write(int(os.environ["FIRST_TEST_FD"]), b"!")
"""

_DECLARED = """\
[services.api]
url = "{url}"
ready = "/api/health"
checks = [
{checks}
]
"""

_DECLARED_ENTRY = '  {{ get = "/api/health?{number}", json = {{ status = "ok" }} }},'

_PLAIN_REQUESTS = """\
import pytest
import requests


@pytest.mark.timeout(5)
@pytest.mark.parametrize("number", range({count}))
def test_health(number):
    response = requests.get(f"{url}/api/health?{{number}}", timeout=5)
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
"""

_CONFIGURATION = """\
[services.api]
command = ["{python}", "{server}"]
url = "{url}"
ready = "/api/health"
# Every round kills the service; the budget must not end the race.
budget = {{ restarts = 1000000 }}
"""

_MANY = """\
[services.s{number}]
command = ["{python}", "{server}", "{number}"]
url = "http://127.0.0.1:{port}"
ready = "/health/{number}"
env = {{ API_TOKEN = "s3cr3t-{number}-t0ken" }}
"""


class Ground:
    """The folder, the port, the service, and the ways to start something there."""

    def __init__(self, root: Path) -> None:
        """Lay out the projects."""
        self.root = root
        self.port = free_port()
        self.other_port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.health = self._health_project()
        self.pid_file = self.health / ".api-server.pid"
        self.plain = self._project("plain")
        (self.plain / "test_plain.py").write_text(_SAME_REQUESTS.format(url=self.url, pid_file=self.pid_file))
        self.first_test = self._project("first-test")
        (self.first_test / "test_first.py").write_text(_FIRST_TEST)

    def folder(self, name: str) -> Path:
        """Make an empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '-')}-", dir=self.root))

    def _project(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        # Marks the root, so that pytest does not look for one above the temporary folder.
        (folder / "pytest.ini").write_text("[pytest]\n")
        return folder

    def _health_project(self) -> Path:
        folder = self._project("health")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "healthtests", folder / "healthtests", ignore=ignored)
        text = _CONFIGURATION.format(python=sys.executable, server=SERVER, url=self.url)
        (folder / "auto-heal.toml").write_text(text)
        return folder

    def unit_project(self, name: str, *, tests: int) -> Path:
        """Make a project of trivial unit tests."""
        folder = self._project(name)
        (folder / "tests").mkdir()
        text = "".join(
            f"def test_{number}():\n    assert {number} + 1 == {number + 1}\n\n\n" for number in range(tests)
        )
        (folder / "tests" / "test_unit.py").write_text(text)
        return folder

    def declared_project(self, *, checks: int) -> Path:
        """Make a project with declared checks of the service, which it does not run itself."""
        folder = self._project("declared")
        (folder / "healthtests").mkdir()
        entries = "\n".join(_DECLARED_ENTRY.format(number=number) for number in range(checks))
        (folder / "auto-heal.toml").write_text(_DECLARED.format(url=self.url, checks=entries))
        return folder

    def requests_project(self, *, count: int) -> Path:
        """Make a project of plain tests that send the same requests, each with the same deadline."""
        folder = self._project("requests")
        (folder / "test_plain.py").write_text(_PLAIN_REQUESTS.format(url=self.url, count=count))
        return folder

    def crowded_project(self, name: str, *, services: int) -> Path:
        """Make a project of services that nobody has started."""
        folder = self._project(name)
        values = {"python": sys.executable, "server": SERVER}
        # Few of these ports have a listener, and none that answers as a service would.
        text = "".join(_MANY.format(number=number, port=1 + number, **values) for number in range(services))
        (folder / "auto-heal.toml").write_text(text)
        return folder

    # Processes.

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment in which everything here runs."""
        environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.root), MARK: str(self.root), **more}

    def python(self, folder: Path, *arguments: str, pass_fds: tuple[int, ...] = (), **env: str) -> Command:
        """Start this interpreter in a project."""
        output = self.root / "output.txt"
        words = [sys.executable, *arguments]
        return Command(words, cwd=folder, env=self.environment(**env), output=output, pass_fds=pass_fds)

    def pytest(self, folder: Path, *arguments: str, pass_fds: tuple[int, ...] = (), **env: str) -> Command:
        """Start pytest in a project."""
        return self.python(folder, "-m", "pytest", *arguments, pass_fds=pass_fds, **env)

    # The service.

    def start_service(self) -> None:
        """Have auto-heal start the service of the health suite."""
        self.python(self.health, "-m", "remediation", "start").finish()

    def kill_service(self) -> None:
        """Kill it as `kill -9` does, which leaves its PID file behind."""
        process = psutil.Process(int(self.pid_file.read_text()))
        process.kill()
        while lives(process):
            time.sleep(0.001)

    def stop_service(self) -> None:
        """Have auto-heal stop it."""
        self.python(self.health, "-m", "remediation", "stop").finish()

    def boot(self) -> Command:
        """Start a second one by itself, on the other port."""
        return self.python(self.root, str(SERVER), HOST=HOST, PORT=str(self.other_port))

    @staticmethod
    def answers(port: int) -> bool:
        """Return whether a service answers that it is well."""
        connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
        try:
            connection.request("GET", "/api/health", headers={"Connection": "close"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def clean(self) -> None:
        """End, by PID, whatever carries this folder's mark."""
        end(self.root)


def free_port() -> int:
    """Return a port that nobody listens on, below those that the kernel gives to clients.

    While a service is down, somebody's outgoing connection could be given a port of that range.
    """
    family, _, _, _, address = socket.getaddrinfo(HOST, 0, type=socket.SOCK_STREAM)[0]
    while True:
        number = random.randrange(10_000, 32_000)
        with socket.socket(family) as probe, suppress(OSError):
            probe.bind((address[0], number))
            return number


def lives(process: psutil.Process) -> bool:
    """Return whether a process runs, suspended or not, and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(folder: Path) -> list[psutil.Process]:
    """Return the live processes that carry the mark of a folder, or of one below it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            mark = Path(process.environ().get(MARK, "/"))
            if mark.is_relative_to(folder) and lives(process):
                found.append(process)
    return found


def end(folder: Path) -> None:
    """Kill whatever carries the mark of a folder, or of one below it."""
    quiet = 0
    for _ in range(_MOST_LOOKS):
        family = marked(folder)
        quiet = 0 if family else quiet + 1
        if quiet == _QUIET_LOOKS:
            return
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        # Not by waiting for them: some are children of ours, whose exit status another one wants.
        time.sleep(_LOOK_SECONDS)


def _interrupt(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def ground() -> Iterator[Ground]:
    """Lend the ground, and leave neither process nor file behind, also when interrupted or terminated."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    root = Path(tempfile.mkdtemp(prefix="auto-heal-bench-")).resolve()
    made = None
    try:
        made = Ground(root)
        yield made
    finally:
        # A second Ctrl+C, as impatient people send it, must not cut this short.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        if made:
            made.clean()
        shutil.rmtree(root, ignore_errors=True)
