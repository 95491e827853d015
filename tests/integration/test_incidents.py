"""An incident has one id everywhere, and the first start of a service is none."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from receiving import Receiver, answering
from sandbox import Sandbox, wait_for
from watching import watching


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of the messages."""
    with answering() as receiver:
        yield receiver


def notifying(project: Sandbox, receiver: Receiver, command: str | None = None) -> None:
    """Let the monitor of a project notify a receiver."""
    notify = f'[notify]\nurls = ["{receiver.url}"]\n'
    project.configure(top="retries = 1\ninterval = 0.3", more=notify, command=command)


def rows(project: Sandbox, query: str) -> list[Any]:
    """Return the rows of a query of the history."""
    with closing(sqlite3.connect(project.root / ".auto-heal" / "history.db")) as database:
        return database.execute(query).fetchall()


def api(project: Sandbox) -> dict[str, Any]:
    """Return the figures of the service."""
    report = json.loads(project.auto_heal("report", "--json").output)
    found: dict[str, Any] = report["services"][0]
    return found


def test_log_report_history_and_evidence_share_the_id_of_an_incident(project: Sandbox) -> None:
    project.auto_heal("start")
    os.kill(project.pid, signal.SIGKILL)

    sick = project.auto_heal("check", "--no-heal")
    first = project.property("api.incident")
    status = json.loads(project.auto_heal("status", "--json").output)[0]["incident"]
    open_in_report = api(project)["incident"]
    healed = project.auto_heal("check")
    second = project.property("api.incident")

    assert (sick.code, healed.code) == (1, 0)
    assert first is not None
    assert {status, open_in_report, second} == {first}
    assert rows(project, "SELECT DISTINCT incident FROM results WHERE failed_at IS NOT NULL") == [(first,)]
    assert rows(project, "SELECT incident FROM heals WHERE origin != 'hand'") == [(first,)]
    (about,) = (project.root / ".auto-heal" / "evidence").glob("*/heal.json")
    assert json.loads(about.read_text())["incident"] == first
    assert project.log.count(f"Incident {first} begins") == 1
    assert project.log.count(f"This heal belongs to incident {first}, since") == 1
    assert first not in sick.output + healed.output
    assert api(project)["incident"] is None


@pytest.mark.soak
def test_a_message_has_the_id_that_log_and_history_have(project: Sandbox, receiver: Receiver) -> None:
    notifying(project, receiver)
    project.auto_heal("start")

    with watching(project) as monitor:
        monitor.ends_check(1)
        os.kill(project.pid, signal.SIGKILL)
        wait_for(lambda: len(receiver.got) == 2)
        monitor.stop()

    [(incident,)] = rows(project, "SELECT incident FROM heals WHERE origin != 'hand'")
    assert receiver.titles == ["auto-heal: api is sick", "auto-heal: api is healed"]
    assert all(f"\nIncident: {incident}" in got["message"] for got in receiver.got)
    assert f"Incident {incident} begins" in project.log


def test_a_first_start_is_no_incident_and_its_run_is_healed(project: Sandbox) -> None:
    result = project.auto_heal("check")

    figures = api(project)
    assert result.code == 0
    assert project.property("verdict") == "healed"
    assert project.property("api.action") == "restart"
    assert project.property("api.incident") is None
    assert (figures["failures"], figures["down"], figures["uptime_of_checks"]) == (0, 0.0, 1.0)
    assert figures["heals"]["ok"] == 1
    assert "ncident" not in project.log


@pytest.mark.soak
def test_a_first_start_by_the_monitor_sends_no_message(project: Sandbox, receiver: Receiver) -> None:
    notifying(project, receiver)

    with watching(project) as monitor:
        monitor.ends_check(2)
        monitor.stop()

    assert receiver.got == []
    assert api(project)["failures"] == 0


@pytest.mark.soak
@pytest.mark.parametrize("options", [[], ["--no-heal"]])
def test_a_first_start_that_fails_or_is_not_tried_is_an_incident(project: Sandbox, options: list[str]) -> None:
    project.configure("start_timeout = 5", command='command = "false"')

    result = project.auto_heal("check", *options)

    assert result.code == 1
    incident = project.property("api.incident")
    assert f"Incident {incident} begins" in project.log
    assert api(project)["incident"] == incident
    assert api(project)["failures"] == 1


@pytest.mark.soak
def test_a_first_start_that_fails_is_told(project: Sandbox, receiver: Receiver) -> None:
    project.configure(
        command='command = "false"', top="retries = 1\ninterval = 0.3", more=f'[notify]\nurls = ["{receiver.url}"]\n'
    )

    with watching(project) as monitor:
        wait_for(lambda: receiver.got)
        monitor.stop()

    assert receiver.titles[0] == "auto-heal: api is sick"
    assert "Incident: " in receiver.got[0]["message"]
