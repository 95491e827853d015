"""What checks measure, from the check to the history: in one process, in workers, and in the forks of the monitor."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from typing import Any

import pytest
from sandbox import Sandbox, wait_for

MEASURES = """
import pytest

pytestmark = pytest.mark.heals("api")


def test_memory(probe):
    \"\"\"memory\"\"\"
    probe.memory("api", below="1 GiB")


def test_disk(probe):
    \"\"\"disk\"\"\"
    probe.disk(free="1 B")
    probe.record("queue", 12, "messages")
"""


def only(project: Sandbox, checks: str) -> None:
    """Let the project have these checks alone."""
    for file in (project.root / "healthtests").glob("test_*.py"):
        file.unlink()
    project.write("healthtests/test_probes.py", checks)


def measurements(project: Sandbox) -> list[tuple[Any, ...]]:
    """Return what the history has of each check."""
    query = """
        SELECT run, subjects.name, measurements.name, value, unit
        FROM measurements JOIN subjects ON id = subject ORDER BY run, subjects.name, measurements.name
    """
    with closing(sqlite3.connect(project.root / ".auto-heal" / "history.db")) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize(
    "workers", [pytest.param([], id="one process"), pytest.param(["-n", "2"], id="workers", marks=pytest.mark.soak)]
)
def test_what_a_check_measures_is_shown_and_kept(healthy: Sandbox, workers: list[str]) -> None:
    only(healthy, MEASURES)

    result = healthy.check(*workers)

    assert result.code == 0, result
    assert "memory OK (memory: " in healthy.log
    assert "queue: 12 messages)" in healthy.log
    disk, queue, memory = measurements(healthy)
    assert disk[1:3] + disk[4:] == ("disk", "disk", "B")
    assert queue[1:] == ("disk", "queue", 12.0, "messages")
    assert memory[1:3] + memory[4:] == ("memory", "memory", "B")
    assert 1 << 20 < memory[3] < 1 << 30


def test_the_report_gives_programs_the_last_value_and_the_percentiles(healthy: Sandbox) -> None:
    only(healthy, MEASURES)
    healthy.check()

    result = healthy.auto_heal("report", "--json")

    (service,) = json.loads(result.output)["services"]
    found = {each["name"]: each for check in service["checks"] for each in check["measurements"]}
    assert found["queue"] == {"name": "queue", "unit": "messages", "last": 12.0, "median": 12.0, "p95": 12.0}
    assert found["memory"]["last"] == found["memory"]["median"] > 1 << 20


@pytest.mark.soak
def test_the_monitor_keeps_what_each_cycle_measured(healthy: Sandbox) -> None:
    only(healthy, MEASURES)
    monitor = healthy.start("remediation", "monitor", CHECK_INTERVAL="0.2")
    try:
        wait_for(lambda: healthy.log.count("Checks: ") > 2)
    finally:
        monitor.terminate()
        monitor.communicate()

    assert len({run for run, *_ in measurements(healthy)}) > 2


def test_a_service_above_its_limit_is_healed_and_the_report_says_by_how_much(healthy: Sandbox) -> None:
    only(healthy, MEASURES.replace("1 GiB", "1 MiB"))

    result = healthy.check()

    assert result.code == 1, result
    (case,) = healthy.report.findall("testcase[failure]")
    failure = case.find("failure")
    assert failure is not None
    assert ": api: memory " in str(failure.get("message"))
    assert "above 1 MiB (1 process)" in str(failure.get("message"))
    assert "Restarting" in healthy.log


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ('memory("api", below="500M")', "probe.memory: below: '500M' is no size such as 500 MiB or 2 GB"),
        ('memory("apy", below="500 MiB")', "no service is called 'apy' in auto-heal.toml; did you mean 'api'?"),
    ],
)
def test_a_mistake_in_a_check_fails_it_at_once_and_heals_nothing(healthy: Sandbox, call: str, sentence: str) -> None:
    only(healthy, f'import pytest\n\n@pytest.mark.heals("api")\ndef test_a(probe):\n    probe.{call}\n')

    result = healthy.check()

    assert result.code == 1, result
    assert sentence in healthy.log
    assert "Attempt" not in healthy.log
    assert "Restarting" not in healthy.log


SAYS_ERROR = """
import http.server, os, signal
def tell(signum, frame):
    print("ERROR: on my way out", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, tell)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ill":
            print("ERROR: no room", flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
LOG = """
import pytest

@pytest.mark.heals("api")
def test_log(probe):
    probe.log("api", without="ERROR")
"""


@pytest.mark.soak
def test_an_error_in_the_log_heals_once_and_what_the_service_said_before_its_restart_is_past(project: Sandbox) -> None:
    project.write("server.py", SAYS_ERROR)
    project.configure(top="retries = 2", command=f'command = ["{sys.executable}", "server.py"]')
    only(project, LOG)
    assert project.auto_heal("start").code == 0
    assert project.check().code == 0
    project.get("/ill")

    result = project.check()
    after = project.check()

    assert result.code == 0, result
    assert project.log.count("Healed!") == 1
    assert "api-server.log has 'ERROR' in 1 new line, first: ERROR: no room" in project.log
    assert "FAIL after 2 attempts" in project.log
    assert "ERROR: on my way out" in (project.root / "api-server.log").read_text()
    assert after.code == 0, after


FAMILY = """
import os, time
if not os.fork():
    held = b"x" * (80 << 20)
    os.setsid()
    time.sleep(600)
time.sleep(600)
"""


@pytest.mark.soak
def test_the_whole_family_of_a_service_is_measured(project: Sandbox) -> None:
    project.write("server.py", FAMILY)
    project.configure('ready = "none"\n', command=f'command = ["{sys.executable}", "server.py"]')
    only(project, MEASURES.replace("1 GiB", "60 MiB"))
    project.auto_heal("start")

    result = project.check("--no-heal")

    assert result.code == 1, result
    assert "above 60 MiB (2 processes)" in project.log
