"""While a service is down, nothing that the monitor tells says otherwise, however long its heal takes."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sandbox import DEADLINE, IMPATIENT, PATIENT, Sandbox, free_port, wait_for
from watching import Statistics, Watching, kill, rows, watching

from remediation.monitor.metrics import HOST

# Starts only when the file is gone, so that a heal lasts for as long as a test wants.
_HELD = """
import os, runpy, sys, time

while os.path.exists("held"):
    time.sleep(0.01)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
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
    """A monitor of three services, one of which starts only while there is no file `held`, and its numbers."""

    def __init__(self, monitor: Watching, project: Sandbox, port: int) -> None:
        """Ask on a port."""
        self.monitor = monitor
        self.project = project
        self._port = port
        self.held = project.root / "held"

    def number(self, name: str, **labels: str) -> float | None:
        """Ask for a number; None if it is not there."""
        with urllib.request.urlopen(f"http://{HOST}:{self._port}/metrics", timeout=DEADLINE) as response:
            families = text_string_to_metric_families(response.read().decode())
        found = {(one.name, frozenset(one.labels.items())): one.value for one in _samples(families)}
        return found.get((f"auto_heal_{name}", frozenset(labels.items())))

    def is_up(self, name: str) -> bool | None:
        """Ask whether a service is up."""
        up = self.number("up", service=name)
        return None if up is None else bool(up)

    @property
    def downtime(self) -> float:
        """The downtime of api."""
        return self.number("downtime_seconds_total", service="api") or 0.0

    def grows(self) -> None:
        """See that the downtime of api grows from scrape to scrape, as fast as time goes by."""
        before, first = time.monotonic(), self.downtime
        between, second = time.monotonic(), self.downtime
        wait_for(lambda: self.downtime > second + 0.05)
        after, last = time.monotonic(), self.downtime
        assert first < second < last
        assert last - first <= time.monotonic() - before
        assert last - second >= after - between - 1

    def says_since(self, line: int, text: str) -> None:
        """Wait until it says a text after so many lines."""
        wait_for(lambda: any(text in one for one in self.monitor.lines[line:]))

    @property
    def lines(self) -> int:
        """How many lines it has said."""
        return len(self.monitor.lines)


def _samples(families):  # type: ignore[no-untyped-def]
    return [one for family in families for one in family.samples]


@contextmanager
def scraped(
    project: Sandbox, *arguments: str, top: str = "interval = 0.2", api: str = "", **env: str
) -> Iterator[Scraped]:
    """Lend a monitor of three services that are well."""
    project.write("held.py", _HELD)
    command = json.dumps([sys.executable, "held.py", str(PATIENT)])
    others = "".join(
        f"[services.{name}]\ncommand = {json.dumps([sys.executable, str(PATIENT)])}\n"
        f'url = "http://127.0.0.1:{free_port()}"\nready = "/api/health"\n'
        for name in ("web", "db")
    )
    project.configure(api, top=f"{top}\n{IMPATIENT}", more=others, command=f"command = {command}")
    shutil.rmtree(project.root / "healthtests")
    project.write("healthtests/test_all.py", _CHECKS)
    assert project.auto_heal("start").code == 0
    port = free_port()
    with watching(project, "--metrics", str(port), *arguments, **env) as monitor:
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
    with scraped(project, AUTO_HEAL_LANG=language) as watched:
        assert [watched.is_up(name) for name in ("api", "web", "db")] == [True] * 3
        assert watched.downtime == 0
        watched.held.touch()
        killed, begun = kill(project), time.monotonic()
        wait_for(lambda: watched.is_up("api") is False)
        line = watched.lines
        watched.says_since(line, partly)
        watched.says_since(watched.lines, partly)
        watched.grows()
        assert (watched.is_up("api"), watched.is_up("web")) == (False, True)
        said = watched.monitor.lines[line:]
        held_for = time.monotonic() - begun
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
        assert held_for - 0.5 <= total <= lasted
        assert watched.downtime == total
        assert statistics.heals == 1
        assert statistics.errors == 1
    failures = rows(
        project,
        "SELECT results.passed_at - results.failed_at FROM results JOIN subjects ON subjects.id = subject"
        " WHERE kind = 'service' AND key = 'api' AND failed_at IS NOT NULL",
    )
    assert len(failures) == 1
    assert float(str(failures[0][0])) == pytest.approx(total, abs=0.5)


def test_a_service_that_its_checks_find_sick_is_down_while_it_is_healed(project: Sandbox) -> None:
    with scraped(project) as watched:
        watched.held.touch()
        project.get("/fall-ill/errors")
        wait_for(lambda: watched.is_up("api") is False)
        watched.grows()
        assert not project.answers()
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))

        assert watched.monitor.statistics.errors == 1


def test_a_reload_in_the_middle_of_a_heal_forgets_nothing(project: Sandbox) -> None:
    with scraped(project) as watched:
        watched.held.touch()
        kill(project)
        wait_for(lambda: watched.is_up("api") is False)
        before = watched.downtime
        forkserver = watched.monitor.forkserver()

        watched.monitor.signal(signal.SIGHUP)

        watched.monitor.forkserver(after=forkserver.pid)
        watched.grows()
        assert watched.downtime > before
        assert watched.is_up("api") is False
        line = watched.lines
        watched.says_since(line, "Status: sick")
        watched.held.unlink()
        wait_for(lambda: watched.is_up("api"))
