"""The history: whatever happens to its writers and its file, what was written is there and nothing is torn."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sandbox import DEADLINE, REPOSITORY

from remediation.journal import history as module
from remediation.journal.history import VERSION, History, HistoryError
from remediation.journal.record import Heal, Result, Run
from remediation.project.config import load_project

DAY = 86_400.0
WRITER = """
import sys, time
from pathlib import Path
from remediation.journal.history import History
from remediation.journal.record import Heal, Result, Run
from remediation.project.config import load_project
history, name = History(load_project(Path.cwd(), {})), sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    at = time.time()
    result = Result("check", name, "a check", ["api"], at, None, at, message=str(number))
    history.record_run(Run(at, at, "check", "healthy", None, [result]))
    history.record_heal(Heal("api", at, "check", name, "restart", True))
"""
HALF_WRITER = """
import time
from pathlib import Path
from remediation.journal.history import History
from remediation.project.config import load_project
with History(load_project(Path.cwd(), {}))._writing() as database:
    # Little memory, so that much of what is not committed is in the write-ahead log already.
    database.execute("PRAGMA cache_size = 5")
    database.execute("DELETE FROM runs")
    half = [("x" * 500,)] * 2000
    database.executemany("INSERT INTO heals VALUES (NULL, '', 0, '', '', ?, 0, '', 0, 0)", half)
    print("inside", flush=True)
    time.sleep(600)
"""
LOCKER = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return the history of an empty project."""
    return configured(tmp_path)


def configured(root: Path, limits: str = "") -> History:
    """Return the history of a project with these limits."""
    (root / "auto-heal.toml").write_text(f'history = {{ {limits} }}\n[services.api]\ncommand = "true"\n')
    return History(load_project(root, {}))


def run(at: float, message: str = "", key: str = "api") -> Run:
    """Return a run in which one service was well."""
    return Run(at, at + 1, "check", "healthy", None, [Result("service", key, key, [], at, None, at, message=message)])


def rows(history: History, query: str) -> list[Any]:
    """Return what a query finds."""
    with history.reading() as database:
        return database.execute(query).fetchall()


def moments(history: History) -> list[float]:
    """Return when the runs began."""
    return [row[0] for row in rows(history, "SELECT began FROM runs ORDER BY began")]


@contextmanager
def python(root: Path, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Lend a process that runs code in a project and has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=root, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def write_at_once(root: Path, *, writers: int, times: int) -> None:
    """Let processes write runs and heals, all from the same moment on, and see that none failed."""
    with ExitStack() as stack:
        processes = [stack.enter_context(python(root, WRITER, f"w{n}", str(times))) for n in range(writers)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.wait(DEADLINE) == 0, process.communicate()


def is_sound(history: History) -> bool:
    """Return whether SQLite finds no fault."""
    return rows(history, "PRAGMA integrity_check") == [("ok",)]


# What is kept.


def test_what_is_recorded_is_there(history: History) -> None:
    check = Result("check", "t.py::test_a", "/a", ["api", "db"], 2.0, 3.0, 4.0, 0.25, 3, "no answer")
    skipped = Result("check", "t.py::test_b", "/b", [], 5.0, None, None)
    heal = Heal("api", 6.0, "hand", "dead", "restart", ok=False, reason="exited", since=2.5, answered_at=5.5)

    history.record_run(Run(1.0, 6.0, "monitor", "healed", 30.0, [check, skipped]))
    history.record_heal(heal)

    assert rows(history, "SELECT * FROM runs") == [(1, 1.0, 6.0, "monitor", "healed", 30.0)]
    assert rows(history, "SELECT kind, key, name, services, results.* FROM results JOIN subjects ON id = subject") == [
        ("check", "t.py::test_a", "/a", "api db", 1, 1, 2.0, 3.0, 4.0, 0.25, 3, "no answer"),
        ("check", "t.py::test_b", "/b", "", 1, 2, 5.0, None, None, None, 1, None),
    ]
    assert rows(history, "SELECT * FROM heals") == [
        (1, "api", 6.0, "hand", "dead", "restart", 0, "exited", 2.5, 5.5)
    ]  # fmt: skip
    assert heal.downtime == 3.0


def test_a_subject_is_kept_once_and_anew_when_its_name_changes(history: History) -> None:
    for name in ("old", "old", "new", "old"):
        history.record_run(Run(1.0, 2.0, "check", "", None, [Result("check", "key", name, [], 1.0, None, 1.0)]))

    assert rows(history, "SELECT name FROM subjects ORDER BY id") == [("old",), ("new",)]
    assert rows(history, "SELECT subject FROM results ORDER BY run") == [(1,), (1,), (2,), (1,)]


def test_bytes_from_outside_that_are_no_text_are_kept_as_escapes(history: History) -> None:
    history.record_run(run(1.0, message="\udcff\x00Ж", key="\ud800"))
    history.record_heal(Heal("api", 1.0, "check", "\udcff", "restart", ok=True))

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


# Several writers.


def test_what_many_processes_write_at_once_is_all_there(history: History, tmp_path: Path) -> None:
    history.record_run(run(1.0))

    write_at_once(tmp_path, writers=4, times=40)

    assert len(moments(history)) == 161
    assert rows(history, "SELECT key, count(*), count(DISTINCT message) FROM results, subjects ON id = subject"
                         " WHERE kind = 'check' GROUP BY key") == [(f"w{n}", 40, 40) for n in range(4)]  # fmt: skip
    assert rows(history, "SELECT cause, count(*) FROM heals GROUP BY cause") == [(f"w{n}", 40) for n in range(4)]
    assert is_sound(history)


def test_many_processes_may_make_the_database_at_once(history: History, tmp_path: Path) -> None:
    write_at_once(tmp_path, writers=8, times=1)

    assert len(moments(history)) == 8
    assert rows(history, "PRAGMA journal_mode") == [("wal",)]
    assert rows(history, "PRAGMA auto_vacuum") == [(2,)]
    assert is_sound(history)


def test_many_threads_may_make_the_database_at_once(history: History) -> None:
    threads = [threading.Thread(target=history.record_run, args=(run(float(n)),)) for n in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert moments(history) == [float(n) for n in range(8)]


def test_a_second_connection_of_a_process_does_not_drop_the_locks_of_the_first(history: History) -> None:
    history.record_run(run(1.0))

    with history.reading() as database:
        database.execute("SELECT * FROM runs").fetchall()
        history.record_run(run(2.0))
        # The last one to leave a database removes its log; a lock keeps others from thinking that it is them.
        other = subprocess.run([sys.executable, "-c", LOCKER, str(history.path)], capture_output=True)

    assert b"BlockingIOError" in other.stderr


def test_a_writer_that_is_killed_half_way_leaves_no_trace(history: History, tmp_path: Path) -> None:
    history.record_run(run(1.0))
    history.record_heal(Heal("api", 1.0, "check", "dead", "restart", ok=True))

    with python(tmp_path, HALF_WRITER) as process:
        assert history.path.with_name("history.db-wal").stat().st_size > 500_000
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
    history.record_run(run(2.0))

    assert moments(history) == [1.0, 2.0]
    assert rows(history, "SELECT count(*) FROM heals") == [(1,)]
    assert is_sound(history)


def test_a_writer_that_hangs_is_waited_for_and_then_told(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.record_run(run(1.0))
    monkeypatch.setattr(module, "_BUSY_TIMEOUT", 0.05)

    with history._writing(), pytest.raises(HistoryError, match=r"history\.db cannot be written: database is locked"):
        history.record_run(run(2.0))

    assert moments(history) == [1.0]


# What else may lie there.


@pytest.mark.parametrize(
    "content",
    [b"garbage" * 99, b"garbage" * 9_999, b"SQLite format 3\x00" + b"\xff" * 9_999],
    ids=["short", "long", "header"],
)
def test_garbage_is_set_aside_and_a_new_history_begun(history: History, content: bytes) -> None:
    history.path.parent.mkdir()
    history.path.write_bytes(content)
    with pytest.raises(HistoryError, match="cannot be read: file is not a database"):
        rows(history, "SELECT 1")

    history.record_run(run(1.0))

    assert moments(history) == [1.0]
    assert history.path.with_name("history.db.broken").read_bytes() == content
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600


def test_many_processes_that_find_garbage_set_it_aside_once(history: History, tmp_path: Path) -> None:
    history.path.parent.mkdir()
    history.path.write_bytes(b"garbage" * 9_999)

    write_at_once(tmp_path, writers=6, times=1)

    assert len(moments(history)) == 6
    assert history.path.with_name("history.db.broken").read_bytes() == b"garbage" * 9_999


def test_a_database_that_is_damaged_inside_costs_one_run(history: History) -> None:
    for number in range(50):
        history.record_run(run(float(number), message="x" * 500))
    damaged = bytearray(history.path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    history.path.write_bytes(damaged)

    with pytest.raises(HistoryError, match="cannot be written: database disk image is malformed"):
        history.record_run(run(100.0))
    history.record_run(run(101.0))

    assert moments(history) == [101.0]
    assert history.path.with_name("history.db.broken").read_bytes() == damaged


def test_a_history_of_a_newer_version_is_left_as_it_is(history: History) -> None:
    history.record_run(run(1.0))
    with closing(sqlite3.connect(history.path)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = history.path.read_bytes()

    for touch in (lambda: history.record_run(run(2.0)), lambda: rows(history, "SELECT 1")):
        with pytest.raises(HistoryError, match=r"it is of a newer version of auto-heal \(2, here 1\)"):
            touch()

    assert history.path.read_bytes() == before
    assert not history.path.with_name("history.db.broken").exists()


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "fifo", "directory"])
def test_what_is_planted_in_its_place_is_neither_followed_nor_touched(
    history: History, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    history.record_run(run(1.0))
    history.path.rename(victim)
    before = victim.read_bytes()
    match kind:
        case "symlink":
            history.path.symlink_to(victim)
        case "dangling symlink":
            history.path.symlink_to(tmp_path / "made")
        case "fifo":
            os.mkfifo(history.path)
        case _:
            history.path.mkdir()

    for touch in (lambda: history.record_run(run(2.0)), lambda: rows(history, "SELECT 1")):
        with pytest.raises(HistoryError, match="it is not a regular file"):
            touch()

    assert victim.read_bytes() == before
    assert not (tmp_path / "made").exists()


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(history: History, tmp_path: Path) -> None:
    (tmp_path / ".auto-heal").write_text("a file")

    with pytest.raises(HistoryError, match=r"the history .*history\.db cannot be written: "):
        history.record_run(run(1.0))


# What is forgotten.


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each fourth run look for what is too old or too much."""
    monkeypatch.setattr(module, "_PRUNED_EVERY", 4)


@pytest.mark.usefixtures("often")
def test_what_is_too_old_is_forgotten_and_the_file_shrinks(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "days = 2"), time.time()
    for number in range(3):
        history.record_run(run(now - 3 * DAY, message="x" * 300_000, key=f"test of day {number}"))
        history.record_heal(Heal("api", now - 3 * DAY, "check", "dead", "restart", ok=True))
    big = history.path.stat().st_size

    history.record_run(run(now - 1 * DAY))

    assert moments(history) == [now - 1 * DAY]
    assert rows(history, "SELECT count(*) FROM results") == [(1,)]
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
def test_the_last_run_is_kept_however_big_it_is(tmp_path: Path) -> None:
    history, now = configured(tmp_path, "megabytes = 1"), time.time()

    for number in range(4):
        history.record_run(run(now + number, message="x" * 1_500_000))

    assert moments(history) == [now + 3]
