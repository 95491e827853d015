"""The history: only its owner can read the records, until they exceed the limits of age and size."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest
from recording import configured, is_sound, moments, rows, run
from remediations import remediation

from remediation.state import history as module
from remediation.state.history import History, HistoryError
from remediation.state.records import CheckOutcome, Measurement, Result, Run
from remediation.state.statistics import figures

DAY = 86_400.0


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return the history of an empty project."""
    return configured(tmp_path)


# What is kept.


def test_what_is_recorded_is_there(history: History) -> None:
    check = Result(
        "check", "t.py::test_a", "/a", ["api", "db"], 2.0, CheckOutcome.HEALED, 3.0, 4.0, 0.25, 3, "no answer",
        incident="1f",
    )  # fmt: skip
    skipped = Result("check", "t.py::test_b", "/b", [], 5.0, CheckOutcome.SKIPPED)
    heal = remediation(
        at=6.0, ok=False, origin="hand", reason="exited", since=2.5, answered_at=5.5,
        evidence=".auto-heal/evidence/1", incident="1f",
    )  # fmt: skip

    history.record_run(Run(1.0, 6.0, "monitor", "healed", 30.0, [check, skipped]))
    history.record_remediation(heal)

    assert rows(history, "SELECT * FROM runs") == [(1, 1.0, 6.0, "monitor", "healed", 30.0)]
    assert rows(history, "SELECT kind, key, name, services, results.* FROM results JOIN subjects ON id = subject") == [
        ("check", "t.py::test_a", "/a", "api db", 1, 1, 2.0, 3.0, 4.0, 0.25, 3, "no answer", "1f"),
        ("check", "t.py::test_b", "/b", "", 1, 2, 5.0, None, None, None, 1, None, None),
    ]
    assert rows(history, "SELECT * FROM heals") == [
        (1, "api", 6.0, "hand", "dead", "restart", 0, "exited", 2.5, 5.5, ".auto-heal/evidence/1", "1f")
    ]  # fmt: skip
    assert heal.downtime == 3.0


def measuring(at: float, *values: float) -> Run:
    """Return a run in which checks measured their memory."""
    results = [
        Result(
            "check", f"t.py::{number}", "/a", ["api"], at, CheckOutcome.PASSED, None, at,
            measurements=[Measurement("memory", value, "B")],
        )
        for number, value in enumerate(values)
    ]  # fmt: skip
    return Run(at, at, "check", "healthy", None, results)


MEASURED = "SELECT run, key, measurements.name, value, unit FROM measurements JOIN subjects ON id = subject"


def test_what_a_check_measured_is_there(history: History) -> None:
    history.record_run(measuring(1.0, 512.0, 64.5))

    assert rows(history, MEASURED) == [(1, "t.py::0", "memory", 512.0, "B"), (1, "t.py::1", "memory", 64.5, "B")]


def test_a_history_of_a_version_without_measurements_is_read_and_gets_their_table(history: History) -> None:
    history.record_run(measuring(1.0, 512.0))
    with closing(sqlite3.connect(history.path)) as database:
        database.executescript("DROP TABLE measurements; PRAGMA user_version = 3;")

    with history.reading() as database:
        (before,) = figures(database, since=10.0, now=2.0, with_measurements=True)
    history.record_run(measuring(2.0, 64.5))

    assert before.checks[0].measurements == []
    assert rows(history, MEASURED) == [(2, "t.py::0", "memory", 64.5, "B")]


def test_a_subject_is_kept_once_and_anew_when_its_name_changes(history: History) -> None:
    for name in ("old", "old", "new", "old"):
        history.record_run(
            Run(1.0, 2.0, "check", "", None, [Result("check", "key", name, [], 1.0, CheckOutcome.PASSED, None, 1.0)])
        )

    assert rows(history, "SELECT name FROM subjects ORDER BY id") == [("old",), ("new",)]
    assert rows(history, "SELECT subject FROM results ORDER BY run") == [(1,), (1,), (2,), (1,)]


def test_bytes_from_outside_that_are_no_text_are_kept_as_escapes(history: History) -> None:
    history.record_run(run(1.0, message="\udcff\x00Ж", key="\ud800"))
    history.record_remediation(remediation(at=1.0, cause="\udcff"))

    assert rows(history, "SELECT message, key FROM results, subjects") == [("\\udcff\x00Ж", "\\ud800")]
    assert rows(history, "SELECT cause FROM heals") == [("\\udcff",)]


def test_its_files_are_for_their_owner_alone(history: History) -> None:
    before = os.umask(0)
    try:
        with history._writing() as database:
            database.execute("DELETE FROM runs WHERE id = 1")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in history.path.parent.iterdir()}
    finally:
        os.umask(before)

    assert {"history.db", "history.db-wal", "history.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_reader_sees_one_state_while_others_write(history: History) -> None:
    history.record_run(run(1.0))

    with history.reading() as database:
        before = database.execute("SELECT count(*) FROM runs").fetchone()
        history.record_run(run(2.0))
        after = database.execute("SELECT count(*) FROM runs").fetchone()

    assert before == after == (1,)
    assert moments(history) == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["none", "empty", "no tables"])
def test_a_history_that_is_not_there_yet_is_told_with_what_writes_it(history: History, kind: str) -> None:
    if kind != "none":
        history.path.parent.mkdir()
        history.path.touch()
    if kind == "no tables":
        with closing(sqlite3.connect(history.path)) as database:
            database.execute("PRAGMA journal_mode = WAL")

    with pytest.raises(
        HistoryError, match="there is no history yet; `auto-heal check` and `auto-heal monitor` write it"
    ):
        rows(history, "SELECT 1")

    assert history.path.exists() == (kind != "none")


# What is forgotten.


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every fourth run delete records beyond the limits."""
    monkeypatch.setattr(module, "_PRUNED_EVERY", 4)


@pytest.mark.usefixtures("often")
def test_what_is_too_old_is_forgotten_and_the_file_shrinks(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "days = 2"), time.time()
    history.record_run(measuring(now - 3 * DAY, 512.0))
    for number in range(2):
        history.record_run(run(now - 3 * DAY, message="x" * 450_000, key=f"test of day {number}"))
        history.record_remediation(remediation(at=now - 3 * DAY))
    big = history.path.stat().st_size

    for number in range(21):
        history.record_run(run(now - 2.9 * DAY + number * 0.14 * DAY))

    assert all(now - 2 * DAY - 1 < moment for moment in moments(history))
    assert len(moments(history)) == 14
    assert rows(history, "SELECT count(*) FROM results") == [(14,)]
    assert rows(history, "SELECT count(*) FROM measurements") == [(0,)]
    assert rows(history, "SELECT count(*) FROM heals") == [(0,)]
    assert rows(history, "SELECT key FROM subjects") == [("api",)]
    assert big > 900_000
    assert history.path.stat().st_size < 100_000


@pytest.mark.usefixtures("often")
def test_the_oldest_of_what_is_too_much_is_forgotten_and_the_file_shrinks(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "megabytes = 1"), time.time()

    for number in range(40):
        history.record_run(run(now + number, message="x" * 100_000))

    kept = moments(history)
    assert kept == [now + number for number in range(40 - len(kept), 40)]
    assert 5 <= len(kept) <= 10
    assert history.path.stat().st_size <= 1_000_000
    assert is_sound(history)


@pytest.mark.usefixtures("often")
def test_a_run_that_is_dated_far_ahead_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "megabytes = 1"), time.time()

    history.record_run(run(now + 4000 * DAY))
    for number in range(15):
        history.record_run(run(now + number, message="x" * 100_000))

    assert len(moments(history)) >= 5


@pytest.mark.usefixtures("often")
def test_a_clock_that_was_set_years_ahead_for_a_while_costs_a_tenth_of_the_history(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "days = 10"), time.time()
    before = [now - (8 - 0.5 * number) * DAY for number in range(16)]
    for moment in before:
        history.record_run(run(moment))
        history.record_remediation(remediation(at=moment))

    for number in range(9):
        history.record_run(run(now + 4000 * DAY + number))
    for number in range(7):
        history.record_run(run(now + number))

    assert set(before) <= set(moments(history))
    assert rows(history, "SELECT count(*) FROM heals") == [(16,)]


@pytest.mark.usefixtures("often")
def test_the_last_run_is_kept_however_big_it_is(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "megabytes = 1"), time.time()

    for number in range(4):
        history.record_run(run(now + number, message="x" * 1_500_000))

    assert moments(history) == [now + 3]
