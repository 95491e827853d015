"""While a service is down, all outputs of the monitor show it as down, however long its heal takes."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from sandbox import PATIENT, Sandbox, free_port, wait_for
from scraping import one, scrape
from watching import Watching, kill, rows, watching

# Starts only when the file is gone, so that a heal lasts for as long as a test wants.
_HELD = """
import os, runpy, sys, time

while os.path.exists("held"):
    time.sleep(0.01)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Is ready, and dies as soon as a heal may have seen that.
_FALLS = """
import os, subprocess, sys, time, urllib.request

server = subprocess.Popen([sys.executable, *sys.argv[1:]])
while server.poll() is None:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/api/health")
        break
    except OSError:
        time.sleep(0.01)
time.sleep(0.5)
server.kill()
"""
_CHECKS = """
import pytest


@pytest.mark.heals("api")
def test_api(services):
    assert services["api"].get("/api/girls").ok


@pytest.mark.heals("web")
def test_web(services):
    assert services["web"].get("/api/girls").ok


@pytest.mark.heals("db")
def test_db(services):
    assert services["db"].get("/api/girls").ok
"""


class Scraped:
    """A monitor of three services, one of which starts only while there is no file `held`, and its metrics."""

    def __init__(self, monitor: Watching, project: Sandbox, port: int) -> None:
        """Scrape a port."""
        self.monitor = monitor
        self.project = project
        self._port = port
        self.held = project.root / "held"

    def number(self, name: str, **labels: str) -> float | None:
        """Return a number of the metrics, or None if it is missing."""
        return one(scrape(self._port), name, **labels)

    def is_up(self, name: str) -> bool | None:
        """Return whether a service is up."""
        up = self.number("up", service=name)
        return None if up is None else bool(up)

    @property
    def downtime(self) -> float:
        """The downtime of api."""
        return self.number("downtime_seconds_total", service="api") or 0.0

    def grows(self) -> None:
        """Assert that the downtime of api grows from scrape to scrape, and no faster than time passes."""
        before, first = time.monotonic(), self.downtime
        wait_for(lambda: self.downtime > first + 0.05)
        last, after = self.downtime, time.monotonic()
        assert last - first <= after - before

    def says_since(self, line: int, text: str) -> None:
        """Wait until it prints a text after this many lines."""
        wait_for(lambda: any(text in said for said in self.monitor.lines[line:]))

    def hastens(self) -> None:
        """Run cycles without a pause from now on; a healing cycle of all services would delay them."""
        configuration = self.project.root / "auto-heal.toml"
        configuration.write_text(configuration.read_text().replace("interval = 3600", "interval = 0.2"))
        self.monitor.signal(signal.SIGHUP)

    @property
    def lines(self) -> int:
        """The number of lines that it has printed."""
        return len(self.monitor.lines)


@contextmanager
def scraped(
    project: Sandbox, *arguments: str, top: str = "interval = 0.2", api: str = "", ill: bool = False, **env: str
) -> Iterator[Scraped]:
    """Yield a monitor of three healthy services, unless api is `ill` or was not started because it is held."""
    project.write("held.py", _HELD)
    command = json.dumps([sys.executable, "held.py", str(PATIENT)])
    others = "".join(
        f"[services.{name}]\ncommand = {json.dumps([sys.executable, str(PATIENT)])}\n"
        f'url = "http://127.0.0.1:{free_port()}"\nready = "/api/health"\n'
        for name in ("web", "db")
    )
    project.configure(api, top=f"{top}\nretries = 1", more=others, command=f"command = {command}")
    shutil.rmtree(project.root / "healthtests")
    project.write("healthtests/test_all.py", _CHECKS)
    held = project.root / "held"
    if not held.exists():
        assert project.auto_heal("start").code == 0
    if ill:
        project.get("/fall-ill/errors")
    port = free_port()
    with watching(project, "--metrics", str(port), *arguments, **env) as monitor:
        if not (ill or held.exists()):
            monitor.ends_check(1)
        yield Scraped(monitor, project, port)


@pytest.mark.parametrize(
    ("language", "partly", "wholly", "sick", "healthy"),
    [
        ("en", "✅ web, db are healthy", "✅ All systems are healthy", "Status: sick ❌", "Status: healthy ✅"),
        (
            "ru",
            "✅ web, db работают нормально",
            "✅ Все системы работают нормально",
            "Статус: Болен ❌",
            "Статус: Здоров ✅",
        ),
    ],
)
def test_a_service_that_was_killed_is_down_from_then_on_until_its_long_heal_has_ended(
    project: Sandbox, language: str, partly: str, wholly: str, sick: str, healthy: str
) -> None:
    with scraped(project, top="interval = 3600", AUTO_HEAL_LANG=language) as watched:
        assert [watched.is_up(name) for name in ("api", "web", "db")] == [True] * 3
        assert watched.downtime == 0
        watched.held.touch()
        killed, begun = kill(project), time.monotonic()
        wait_for(lambda: watched.is_up("api") is False)
        known = time.monotonic()
        line = watched.lines
        watched.hastens()
        watched.says_since(line, partly)
        watched.says_since(watched.lines, partly)
        watched.grows()
        assert (watched.is_up("api"), watched.is_up("web")) == (False, True)
        said = watched.monitor.lines[line:]
        held_for = time.monotonic() - known
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))
        lasted, total = time.monotonic() - begun, watched.downtime
        watched.says_since(watched.lines, wholly)
        watched.says_since(watched.lines, healthy)
        statistics = watched.monitor.statistics

        assert wholly not in said, watched.monitor
        assert healthy not in said, watched.monitor
        assert sick in said, watched.monitor
        assert project.pid != killed
        assert held_for <= total <= lasted
        assert watched.downtime == total
        assert statistics.heals == 1
        assert statistics.errors == 1
    failures = rows(
        project,
        "SELECT results.passed_at - results.failed_at FROM results JOIN subjects ON subjects.id = subject"
        " WHERE kind = 'service' AND key = 'api' AND failed_at IS NOT NULL",
    )
    assert len(failures) == 1
    assert held_for <= float(str(failures[0][0])) <= total


def test_a_service_that_its_checks_find_sick_is_down_while_it_is_healed(project: Sandbox) -> None:
    with scraped(project) as watched:
        watched.held.touch()
        project.get("/fall-ill/errors")
        wait_for(lambda: watched.is_up("api") is False)
        watched.grows()
        assert not project.answers()
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))

        # The line comes at the end of the cycle.
        wait_for(lambda: watched.monitor.statistics.errors == 1)


def test_a_monitor_that_hears_late_of_a_heal_does_not_take_its_stop_for_a_death(project: Sandbox) -> None:
    # It is ended only after a second, so that the monitor surely sleeps by then.
    deaf = 'env = { DEAF = "1" }\nstop_timeout = 1'
    with scraped(project, top="interval = 3600", api=deaf, ill=True) as watched:
        watched.monitor.says("Problems found")
        watched.monitor.signal(signal.SIGSTOP)
        watched.monitor.says("🎉 Healed!")
        watched.monitor.signal(signal.SIGCONT)

        watched.monitor.ends_check(1)
        wait_for(lambda: watched.is_up("api"))
        assert watched.monitor.statistics.checks == 1


def test_a_reload_in_the_middle_of_a_heal_forgets_nothing(project: Sandbox) -> None:
    with scraped(project, top="interval = 3600") as watched:
        watched.held.touch()
        kill(project)
        wait_for(lambda: watched.is_up("api") is False)
        before, line = watched.downtime, watched.lines
        forkserver = watched.monitor.forkserver()

        watched.hastens()

        watched.monitor.forkserver(after=forkserver.pid)
        watched.grows()
        assert watched.downtime > before
        assert watched.is_up("api") is False
        watched.says_since(line, "Status: sick")
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))


def test_a_check_that_failed_is_known_while_the_cycle_goes_on(project: Sandbox) -> None:
    with scraped(project, top="interval = 3600") as watched:
        project.write(
            "healthtests/test_slow.py",
            "import pathlib, time\n\nimport pytest\n\n\n@pytest.mark.timeout(60)\n@pytest.mark.heals('web')\n"
            "def test_slow():\n    while pathlib.Path('held').exists():\n        time.sleep(0.01)\n",
        )
        watched.held.touch()
        project.get("/fall-ill/errors")
        line = watched.lines
        watched.hastens()
        wait_for(lambda: watched.is_up("api") is False)
        watched.grows()

        assert not any("Status" in said for said in watched.monitor.lines[line:]), watched.monitor
        assert not any("healing" in said for said in watched.monitor.lines[line:]), watched.monitor
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))


def test_systemd_is_told_who_is_down_while_the_heal_goes_on(project: Sandbox) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.setblocking(False)
        heard: list[str] = []

        def status() -> str:
            with suppress(BlockingIOError):
                while True:
                    heard.extend(manager.recv(10_000).decode().splitlines())
            return next((line for line in reversed(heard) if line.startswith("STATUS=")), "")

        with scraped(project, top="interval = 3600", NOTIFY_SOCKET=manager.getsockname()) as watched:
            wait_for(lambda: status() == "STATUS=1 check, 0 errors, 0 heals")
            watched.held.touch()
            kill(project)
            wait_for(lambda: status() == "STATUS=1 check, 0 errors, 0 heals; down: api")
            watched.held.unlink()
            wait_for(lambda: status() == "STATUS=2 checks, 1 error, 1 heal")


def test_a_death_is_known_while_no_check_can_be_collected(project: Sandbox) -> None:
    with scraped(project) as watched:
        broken = project.write("healthtests/test_broken.py", "import what_is_not_there\n")
        watched.monitor.says("cannot be collected, going on with the earlier ones")
        watched.monitor.forkserver().kill()
        watched.monitor.says("cannot be collected; trying again later")

        kill(project)
        wait_for(lambda: watched.is_up("api") is False)

        watched.grows()
        broken.unlink()
        wait_for(lambda: watched.is_up("api"))


def test_the_report_of_a_cycle_of_some_names_them(project: Sandbox) -> None:
    def named() -> str:
        # One of an earlier run is gone before the first check of the next.
        with suppress(FileNotFoundError):
            return project.property("services") or "all"
        return ""

    with scraped(project, top="interval = 3600") as watched:
        before = wait_for(named)
        watched.held.touch()
        kill(project)
        wait_for(lambda: watched.is_up("api") is False)
        watched.hastens()
        watched.monitor.says("✅ web, db are healthy")
        wait_for(lambda: named() == "web, db")
        watched.held.unlink()
        watched.monitor.says("🎉 Healed!")
        wait_for(lambda: named() == "all")

        assert before == "all"


def test_a_service_that_is_started_for_the_first_time_is_down_meanwhile_but_has_no_downtime(project: Sandbox) -> None:
    project.write("held", "")
    with scraped(project) as watched:
        watched.monitor.says("Starting")
        wait_for(lambda: watched.is_up("api") is False)
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))

        assert watched.number("downtime_seconds_total", service="api") == 0


def test_a_service_whose_heals_fail_stays_down_and_is_given_up(project: Sandbox) -> None:
    with scraped(project, api="budget = { restarts = 2, window = 600 }") as watched:
        left = watched.number("restart_budget_left", service="api")
        given_up = watched.number("gave_up", service="api")
        project.write("held.py", _FALLS)
        kill(project)
        wait_for(lambda: watched.number("gave_up", service="api"))

        assert (left, given_up) == (2, 0)
        watched.monitor.says("restart budget spent")
        assert watched.number("restart_budget_left", service="api") == 0
        assert watched.number("gave_up", service="web") == 0
        assert watched.is_up("api") is False
        watched.grows()
        project.write("held.py", _HELD)
        assert project.auto_heal("start", "api").code == 0
        wait_for(lambda: watched.is_up("api"))
        assert watched.number("gave_up", service="api") == 0
        assert watched.number("restart_budget_left", service="api") == 2


@pytest.mark.parametrize("interval", [0.2, 3600])
def test_a_service_that_was_stopped_by_hand_is_down_until_it_is_started(project: Sandbox, interval: float) -> None:
    with scraped(project, top=f"interval = {interval}") as watched:
        before = watched.number("stopped_by_hand", service="api")
        assert project.auto_heal("stop", "api").code == 0
        wait_for(lambda: watched.is_up("api") is False)

        assert (before, watched.number("stopped_by_hand", service="api")) == (0, 1)
        assert watched.number("restart_budget_left", service="api") == 0
        assert watched.number("restart_budget_left", service="web") == 5
        watched.grows()
        if interval < 1:
            assert project.auto_heal("start", "api").code == 0
            wait_for(lambda: watched.is_up("api"))
            assert watched.number("stopped_by_hand", service="api") == 0


def test_a_restart_by_hand_is_a_downtime_that_ends_with_it_however_long_the_interval(project: Sandbox) -> None:
    with scraped(project, top="interval = 3600") as watched:
        watched.held.touch()
        restart = project.start("remediation", "restart", "api")
        wait_for(lambda: watched.is_up("api") is False)
        watched.grows()
        watched.held.unlink()
        assert restart.communicate()[0]
        wait_for(lambda: watched.is_up("api"))

        assert watched.monitor.statistics.checks == 1


def test_a_death_in_a_pause_is_downtime_and_the_pause_is_told(project: Sandbox) -> None:
    with scraped(project) as watched:
        assert watched.number("paused") == 0
        assert project.auto_heal("pause").code == 0
        kill(project)
        wait_for(lambda: watched.is_up("api") is False)
        watched.grows()

        assert watched.number("paused") == 1
        assert watched.number("restart_budget_left", service="api") == 0
        assert watched.is_up("web")
        watched.monitor.says("Status: sick")
        assert project.auto_heal("resume").code == 0
        wait_for(lambda: watched.is_up("api"))
        assert watched.number("paused") == 0
        assert watched.number("restart_budget_left", service="api") == 4


def test_a_heal_whose_cycle_came_to_no_verdict_leaves_the_service_down(project: Sandbox) -> None:
    with scraped(project) as watched:
        watched.held.touch()
        kill(project)
        watched.monitor.says("Starting")
        line = watched.lines

        watched.monitor.forkserver().kill()
        wait_for(lambda: watched.monitor.count("no verdict") >= 1)

        watched.says_since(line, "Status: sick")
        assert watched.is_up("api") is False
        watched.grows()
        assert "Status: healthy ✅" not in watched.monitor.lines[line:]
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))


def test_the_version_that_answers_is_told_and_another_one_takes_its_place(project: Sandbox) -> None:
    version = project.write("version", "1.4.0")
    server = (
        "import http.server, json, os, pathlib\n\n\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n        self.end_headers()\n"
        "        self.wfile.write(json.dumps({'version': pathlib.Path('version').read_text()}).encode())\n\n"
        "    def log_message(self, *_):\n        pass\n\n\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
    project.write("versioned.py", server)
    command = f"command = {json.dumps([sys.executable, 'versioned.py'])}"
    project.configure('version = { path = "/", field = "version" }', top="interval = 0.2", command=command)
    shutil.rmtree(project.root / "healthtests")
    project.write(
        "healthtests/test_it.py",
        "import pytest\n\n\n@pytest.mark.heals('api')\ndef test_it(services):\n    services['api'].get('/')\n",
    )
    port = free_port()
    with watching(project, "--metrics", str(port)) as monitor:
        monitor.ends_check(1)
        watched = Scraped(monitor, project, port)
        wait_for(lambda: watched.number("version_info", service="api", version="1.4.0"))
        version.write_text("1.5.0")
        wait_for(lambda: watched.number("version_info", service="api", version="1.5.0"))

        assert watched.number("version_info", service="api", version="1.4.0") is None
