"""The town: a project with three services, a herd of bystanders, and the healers that come and go, and are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from sandbox import Sandbox, free_port

from remediation.config.load import load_project
from remediation.config.model import Project, Service
from remediation.drill.bystanders import Bystanders
from remediation.drill.faults import Scene
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.history import recorder
from remediation.state.service_state import Store
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity

CITIZEN = Path(__file__).with_name("citizen.py")
# In the environment of all healers, so that what they leave behind is found.
HEALER_MARK = "AUTO_HEAL_CHAOS"
# For a healer that is not killed, on a busy machine, in seconds.
PATIENCE = 120.0

_TOP = "interval = 0.5\nretries = 2\nretry_delay = 0.1\ntimeout = 2\nlog_size = 20_000\nevidence = { megabytes = 1 }\n"
_SERVICE = """
[services.{name}]
command = ["{python}", "{citizen}"]
url = "http://127.0.0.1:{port}"
ready = "/api/health"
env = {{ BIRTHS = "{births}", CHILDREN = "{children}", DROP = "{drop}" }}
stop_timeout = 0.5
free_port = "{free_port}"
depends_on = {needs}
budget = {{ restarts = 100000, window = 600 }}
"""
_CHECKS = '''\
"""The checks of {name}."""

import ctypes
import json
import os
import pathlib

import pytest

pytestmark = pytest.mark.heals("{name}")


def test_health(services):
    assert services["{name}"].get("/api/health").json()["status"] == "ok"


def test_items(services):
    assert services["{name}"].get("/api/girls").json()


def test_process(services):
    services["{name}"].require_process()


def test_client():
    """What a client written in C does when it meets one very server."""
    deed, pid = pathlib.Path("{name}.client").read_text().split()
    if int(pid) == json.loads(pathlib.Path(".auto-heal/{name}.json").read_text())["pid"]:
        DEEDS[deed]()


def hang():
    lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)


DEEDS = {{
    "hangs": hang, "segfaults": lambda: ctypes.string_at(0), "exits": lambda: os._exit(0),
    "is-killed": lambda: os.kill(os.getpid(), 9),
}}
'''
CLIENT_DEEDS = ("hangs", "segfaults", "exits", "is-killed")
"""What a check may do instead of coming to an end."""


class Town:
    """A project under attack."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        """Found it in an empty folder."""
        self.root = root
        self.rng = rng
        self.stack = ExitStack()
        self.killed = 0
        """How many healers were killed."""
        self.completed = 0
        """How many checks came to their verdict."""
        self._lay_out()
        self.project: Project = load_project(root, {})
        self.store = Store(self.project)
        event_log = EventLog.of(self.project, remember=False)
        self.remediator = Remediator(self.store, event_log, record=recorder(self.project, event_log), origin="hand")
        self.herds: Mapping[str, Bystanders] = {
            name: self.stack.enter_context(Bystanders(service, self.project)) for name, service in self.services.items()
        }
        self.monitor: subprocess.Popen[bytes] | None = None

    def _lay_out(self) -> None:
        (self.root / "healthtests").mkdir()
        ports: set[int] = set()
        # Far enough from each other that each has bystanders next door.
        while len(ports) < 3:
            ports.add(free_port() // 50 * 50 + 25)
        text = _TOP
        # As root, the children of some become another user, as the workers of nginx and PostgreSQL do.
        for (name, children, drop, free, needs), port in zip(
            (("db", 2, "1", "user", "[]"), ("api", 2, "", "user", '["db"]'), ("web", 1, "1", "own", "[]")),
            sorted(ports), strict=True,
        ):  # fmt: skip
            text += _SERVICE.format(
                name=name, python=sys.executable, citizen=CITIZEN, port=port, births=self.root / f"{name}.births",
                children=children, drop=drop, free_port=free, needs=needs,
            )  # fmt: skip
            (self.root / "healthtests" / f"test_{name}.py").write_text(_CHECKS.format(name=name), encoding="utf-8")
            self.meets_trouble(name, "nothing", 0)
        (self.root / "auto-heal.toml").write_text(text, encoding="utf-8")

    def meets_trouble(self, name: str, deed: str, pid: int) -> None:
        """Let a check of a service do a deed, as long as the service has this process."""
        file = self.root / f"{name}.client"
        file.with_suffix(".new").write_text(f"{deed} {pid}", encoding="ascii")
        file.with_suffix(".new").replace(file)

    @property
    def services(self) -> Mapping[str, Service]:
        """The services by name."""
        return self.project.services

    def scene(self, service: Service, stack: ExitStack) -> Scene:
        """Return the place for a fault of the drill."""
        folder = self.root / ".auto-heal" / "chaos"
        folder.mkdir(parents=True, exist_ok=True)
        return Scene(
            self.project, service, self.store, self.remediator, self.herds[service.name], self.rng, folder, stack
        )

    # Healers.

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command of auto-heal in a session of its own; what it prints is kept in a file."""
        environ = Sandbox.environment(**{HEALER_MARK: str(self.root)})
        with (self.root / "healers.out").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "remediation", *words], cwd=self.root, env=environ, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def run(self, *words: str) -> int:
        """Run a command of auto-heal to its end, and return its exit code."""
        child = self.start(*words)
        try:
            return child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise AssertionError(f"auto-heal {' '.join(words)} hangs") from None

    def said(self) -> list[str]:
        """Return what healers printed last."""
        return (self.root / "healers.out").read_text(encoding="utf-8", errors="replace").splitlines()[-30:]

    def crew(self) -> list[psutil.Process]:
        """Return the live processes of healers, but for services."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environ = process.environ()
                ours = environ.get(HEALER_MARK) == str(self.root) and SERVICE_MARK not in environ
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill_a_healer(self) -> None:
        """Kill one process of the healers, whichever, as the kernel does when memory is short."""
        if crew := self.crew():
            victim = self.rng.choice(crew)
            with suppress(psutil.Error):
                # psutil compares the birth.
                victim.send_signal(signal.SIGKILL)
                self.killed += 1

    # The monitor.

    def watch(self) -> None:
        """See that a monitor runs, as its init would."""
        if self.monitor is None or self.monitor.poll() is not None:
            self.monitor = self.start("monitor")

    def unwatch(self) -> None:
        """End the monitor as people do."""
        if self.monitor and self.monitor.poll() is None:
            self.monitor.send_signal(signal.SIGTERM)
            try:
                self.monitor.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise AssertionError("the monitor does not end") from None
        self.monitor = None
        self.await_crew()

    def await_crew(self) -> None:
        """Wait until no healer is left, since what a killed one started may still be at it."""
        deadline = time.monotonic() + PATIENCE
        while crew := self.crew():
            assert time.monotonic() < deadline, f"healers are left: {[one.cmdline() for one in crew]}"
            time.sleep(0.05)

    # What is known of the services.

    def is_well(self, service: Service) -> bool:
        """Return whether a service is up as its checks want it: proven, and answering."""
        if service.address is None or self.store.pid_file_problem(service):
            return False
        if int((self.root / f"{service.name}.client").read_text().split()[1]) == self.store.recall(service).pid:
            return False
        try:
            for path in ("/api/health", "/api/girls"):
                with urllib.request.urlopen(f"{service.address.url}{path}", timeout=5) as answer:
                    if not json.loads(answer.read()):
                        return False
        except (OSError, ValueError):
            return False
        return True

    def births(self, service: Service) -> list[Identity]:
        """Return all servers of a service that ever were."""
        file = self.root / f"{service.name}.births"
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
        return [Identity(int(pid), f"{boot}/{ticks}") for pid, ticks in (line.split() for line in lines)]

    def clean(self) -> None:
        """End all that the town has brought into the world."""
        with suppress(AssertionError):
            self.unwatch()
        for process in self.crew():
            with suppress(psutil.Error):
                process.kill()
        self.stack.close()
        for _ in range(3):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get(SERVICE_MARK, "").startswith(f"{self.root}:"):
                        process.kill()


@contextmanager
def town(root: Path, rng: random.Random) -> Iterator[Town]:
    """Lend a town, and clean it up."""
    founded = Town(root, rng)
    try:
        yield founded
    finally:
        founded.clean()
        assert os.path.isdir(root)
