"""The reports are true: whether a heal helped, what counts as a heal, downtimes, and changes."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing

import pytest
from remediations import remediation
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.engines.engine import Condition
from remediation.healing import dependencies, liveness
from remediation.healing.incident import Incident
from remediation.messages.catalog import CATALOG
from remediation.messages.message import Message, first_line
from remediation.probes import readiness
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store

_HEALING = "Problems found, healing"
# A message of several lines, as pytest's own of two values have.
_TWO_LINES = """import pytest

pytestmark = pytest.mark.heals("api")


def test_status(services):
    assert services["api"].get("/api/health").json()["status"] == "fine\\nindeed", "not fine\\nat all"
"""


@pytest.fixture
def incurable(project: Sandbox) -> Sandbox:
    """A running service whose check always fails, with a message of several lines."""
    for check in (project.root / "healthtests").iterdir():
        check.unlink()
    project.write("healthtests/test_status.py", _TWO_LINES)
    project.configure("budget = { restarts = 100, window = 600 }", top="retries = 1")
    assert project.auto_heal("start").code == 0
    return project


# What is shown on one line.


@pytest.mark.soak
def test_nobody_is_shown_the_end_of_a_line_as_an_escape(incurable: Sandbox) -> None:
    summary = incurable.root / "summary.md"
    summary.touch()
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(incurable.root)}

    results = [
        incurable.auto_heal("plan"),
        incurable.auto_heal("predeploy", "--allow-sick"),
        incurable.auto_heal("postdeploy", "--wait", "1s", **github),
        incurable.auto_heal("report"),
        incurable.auto_heal("status"),
    ]

    told = [*(result.output for result in results), summary.read_text(), (incurable.root / "auto-heal.log").read_text()]
    assert all("\\n" not in text and "&#92;n" not in text for text in told), told
    assert "api is sick: not fine" in results[0].output
    assert "api: not fine" in results[3].output
    assert "failed&#58; not fine" in summary.read_text()
    assert incurable.property("api.cause") == "not fine"


def test_the_first_line_that_says_something_is_told() -> None:
    assert first_line("\r\n  \none\r\ntwo") == "one"
    assert first_line("") == ""
    assert str(Message("failed_elsewhere", {"name": "api", "reason": "one\ntwo"})).endswith(": one")


# Heals.


def test_a_heal_after_which_the_checks_fail_has_not_helped(incurable: Sandbox) -> None:
    assert incurable.auto_heal("check").code == 1

    status, report = incurable.auto_heal("status"), incurable.auto_heal("report")

    assert "ago, restart, did not help" in status.output
    assert "1, 1 ok, 0 helped" in report.output
    (found,) = json.loads(incurable.auto_heal("status", "--json").output)
    assert (found["last_heal"]["ok"], found["helped"]) == (True, False)
    # It is down until it is well.
    assert incurable.property("api.downtime") is None


def test_what_is_done_by_hand_is_no_heal(incurable: Sandbox) -> None:
    assert incurable.auto_heal("restart").code == 0
    incurable.auto_heal("check", "--no-heal")

    status, report = incurable.auto_heal("status"), incurable.auto_heal("report")

    assert "restart by hand" in status.output
    assert "by hand" not in report.output
    assert "LAST HEALS" not in report.output
    document = json.loads(incurable.auto_heal("report", "--json").output)
    assert (document["heals"], document["services"][0]["heals"]) == ([], {"total": 0, "ok": 0, "helped": 0})


def test_no_heal_is_announced_of_what_was_stopped_by_hand(project: Sandbox) -> None:
    project.auto_heal("start")
    project.auto_heal("stop")

    result = project.auto_heal("check")

    assert result.code == 1
    assert "stopped by hand" in result.output
    assert _HEALING not in result.output


def test_no_heal_is_announced_where_the_budget_is_spent(project: Sandbox) -> None:
    project.configure("budget = { restarts = 0, window = 600 }")

    result = project.auto_heal("check")

    assert result.code == 1
    assert "restart budget spent" in result.output
    assert _HEALING not in result.output


def test_no_heal_is_announced_of_what_is_only_checked(project: Sandbox) -> None:
    project.configure(command="", top="retries = 1")

    result = project.auto_heal("check")

    assert result.code == 1
    assert "never healed" in result.output
    assert _HEALING not in result.output


def test_a_heal_is_announced_if_one_of_several_may_be_healed(project: Sandbox) -> None:
    assert _HEALING in project.auto_heal("check").output


# Downtimes.


def test_the_downtime_of_an_incident_is_the_same_wherever_it_is_told(project: Sandbox) -> None:
    project.auto_heal("pause")
    assert project.auto_heal("check").code == 1
    paused = time.time()
    project.auto_heal("resume")

    assert project.auto_heal("check").code == 0

    told = float(project.property("api.downtime") or "0")
    with closing(sqlite3.connect(project.root / ".auto-heal" / "history.db")) as database:
        ((kept, since),) = database.execute("SELECT answered_at - since, since FROM heals").fetchall()
        (began,) = database.execute("SELECT min(failed_at) FROM results").fetchone()
    assert told == pytest.approx(kept, abs=0.001)
    assert since == began < paused
    (heal,) = json.loads(project.auto_heal("report", "--json").output)["heals"]
    assert heal["downtime"] == pytest.approx(told, abs=0.001)


@pytest.mark.parametrize("ends", ["by a check", "by hand"])
def test_an_incident_that_is_over_is_not_counted_to_the_next(project: Sandbox, ends: str) -> None:
    project.auto_heal("check", "--no-heal")
    assert project.auto_heal("restart" if ends == "by hand" else "check").code == 0
    moment = time.time()
    os.kill(project.pid, 9)

    assert project.auto_heal("check").code == 0

    assert float(project.property("api.downtime") or "inf") < time.time() - moment


def test_a_file_of_incidents_that_is_corrupt_is_an_empty_one(project: Sandbox) -> None:
    project.write(".auto-heal/.incidents", '{"api": "yesterday"')

    assert project.auto_heal("check").code == 0
    assert project.property("verdict") == "healed"


def test_a_pause_is_told_in_the_language_of_the_user(project: Sandbox) -> None:
    project.auto_heal("pause")

    assert "Автовосстановление приостановлено" in project.auto_heal("status", AUTO_HEAL_LANG="ru").output


# A deployment.


def test_a_version_that_never_came_is_something_that_changed(project: Sandbox) -> None:
    project.configure('version = { path = "/api/health" }', top="retries = 1")
    project.auto_heal("start")
    assert project.auto_heal("predeploy").code == 0

    result = project.auto_heal("postdeploy", "--expect-version", "2.0", "--wait", "0.1s")

    assert result.code == 1
    assert "nothing changed" not in result.output
    assert "❌ api version: fails, was not checked before the deployment" in result.output
    assert result.lines[-1] == "❌ Still sick: api version"


# A process that is dead.


@pytest.mark.parametrize("condition", [Condition.DEAD, Condition.REPLACED, Condition.SUSPENDED])
def test_a_service_whose_main_process_is_dead_has_not_recovered_by_itself(
    project: Sandbox, monkeypatch: pytest.MonkeyPatch, condition: Condition
) -> None:
    configured = load_project(project.root)
    service, store = configured.services["api"], Store(configured)
    monkeypatch.setattr(liveness, "condition", lambda *_: condition)
    monkeypatch.setattr(readiness, "answers", lambda *_, **__: True)
    healed = remediation("db")

    done = dependencies._after_dependencies(
        Incident(service, "", 0.0, 0), [healed], store, EventLog.of(configured), "check"
    )

    assert done is None


# Numbers.


@pytest.mark.parametrize(
    ("key", "values", "en", "ru"),
    [
        ("process_died", {"names": ["api"]}, "The process of api died", "Процесс api завершился"),
        ("process_died", {"names": ["app", "web"]}, "The processes of app, web died", "Процессы app, web завершились"),
        ("failed", {"check": "x", "attempts": 3}, "after 3 attempts", "после 3 попыток"),
        ("failed", {"check": "x", "attempts": 21}, "after 21 attempts", "после 21 попытки"),
        ("failed", {"check": "x", "attempts": 11}, "after 11 attempts", "после 11 попыток"),
        ("drill_warning", {"names": "api", "count": 1}, "(1 fault in all)", "(сбоев: 1)"),
        ("drill_failed", {"failed": 1, "count": 1}, "1 of 1 fault", "1 из 1"),
        ("baseline_kept", {"checks": 1, "file": "b"}, "of 1 check is in", "(1)"),
        (
            "rolling_back",
            {"name": "api", "command": "git checkout ."},
            "by `git checkout .`...",
            ": `git checkout .`...",
        ),
    ],
)
def test_a_text_counts_in_both_languages(key: str, values: dict[str, object], en: str, ru: str) -> None:
    assert en in Message(key, values).render("en", named=False)
    assert ru in Message(key, values).render("ru", named=False)
    assert key in CATALOG
