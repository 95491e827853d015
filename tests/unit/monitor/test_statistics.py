"""The summary after each cycle: the services that it names, and the state of the whole project."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from sandbox import Sandbox
from scraping import begun, two_services

from remediation.config.model import Project
from remediation.monitor.protocol import Over, Report
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.sinks import Sinks
from remediation.monitor.statistics import RunningStatistics
from remediation.state.records import CheckOutcome, Result, Run


class Told:
    """A ledger of api and db, and its messages."""

    def __init__(self, project: Project) -> None:
        """Begin without results."""
        self.said: list[tuple[str, str]] = []
        self.service_status = ServiceStatus(project.services)
        self.sinks = Sinks(project, self.service_status, metrics_port=None, log=lambda *_, **__: None)
        self.statistics = RunningStatistics(self.sinks, self.service_status, self._say)
        self._project = project
        self._cycles = 0

    def _say(self, key: str, **values: object) -> None:
        if key not in ("statistics", "uptime"):
            self.said.append((key, str(values.get("names", ""))))

    def enters(self, *well: str, services: list[str] | None = None, without: list[str] | None = None) -> None:
        """Enter a cycle without failures."""
        self._cycles += 1
        cycle = begun(self.service_status, self._cycles, services=services, without=without)
        results = [Result("service", name, name, [name], 0.0, CheckOutcome.PASSED, None, 1.0) for name in well]
        run = Run(0.0, 2.0, "monitor", "healthy", 1.0, results)
        cycle.report = Report(cycle.number, 0, run, [], [])
        self.statistics.enter(cycle, Over(cycle.number, 0), self._project)


@pytest.fixture
def told(project: Sandbox) -> Iterator[Told]:
    """A ledger without messages yet."""
    made = Told(two_services(project))
    with closing(made.statistics), closing(made.sinks):
        yield made


def test_a_cycle_of_everything_says_that_all_systems_are_healthy(told: Told) -> None:
    told.enters("api", "db")

    assert told.said == [("healthy", ""), ("status_healthy", "")]


@pytest.mark.parametrize(
    ("well", "services", "without", "line"),
    [
        (["db"], None, ["api"], ("one_healthy", "db")),
        (["api"], ["api"], None, ("one_healthy", "api")),
        (["api", "db"], ["api", "db"], None, ("some_healthy", "api, db")),
    ],
)
def test_a_cycle_of_some_says_who_is_healthy(
    told: Told, well: list[str], services: list[str] | None, without: list[str] | None, line: tuple[str, str]
) -> None:
    told.enters(*well, services=services, without=without)

    assert told.said == [line, ("status_healthy", "")]


def test_a_cycle_of_everything_that_overlapped_with_a_death_does_not_say_that_all_are_healthy(told: Told) -> None:
    told.service_status.begins(1)
    told.service_status.died("api")

    # The death came after it had begun, and after its check had passed.
    told.enters("api", "db")

    assert told.said == [("one_healthy", "db"), ("status_sick", "")]
    assert told.statistics.status == "1 check, 0 errors, 0 heals; down: api"


def test_while_nobody_checked_some_are_well_is_said_of_none(told: Told) -> None:
    told.enters(without=["api", "db"])

    assert told.said == [("status_healthy", "")]


def test_what_systemd_was_told_besides_the_statistics_stands_until_these_change(project: Sandbox) -> None:
    configured = two_services(project)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.setblocking(False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", manager.getsockname())
            sinks = Sinks(configured, ServiceStatus([]), metrics_port=None, log=lambda *_, **__: None)
        with closing(sinks):
            for status in ("1 check", "1 check", "2 checks", "2 checks"):
                sinks.attend(status)
                if status == "1 check":
                    sinks.begin("the checks cannot be collected")

        heard: list[str] = []
        with suppress(BlockingIOError):
            while True:
                heard += manager.recv(10_000).decode().splitlines()
    assert heard == ["READY=1", "STATUS=the checks cannot be collected"] * 2 + ["STATUS=2 checks"]
