"""The history survives its writers and damage to its file: no record is lost or torn."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from recording import configured, is_sound, moments, rows, run
from remediations import remediation
from sandbox import DEADLINE, REPOSITORY

from remediation.state import history as module
from remediation.state.history import VERSION, History, HistoryError

WRITER = """
import sys, time
from pathlib import Path
from remediation.state.history import History
from remediation.state.records import CheckOutcome, Result, Run
from remediation.config.load import load_project
from remediation.state.remediation import Remediation, RemediationResult
history, name = History(load_project(Path.cwd(), {})), sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    at = time.time()
    result = Result("check", name, "a check", ["api"], at, CheckOutcome.PASSED, None, at, message=str(number))
    history.record_run(Run(at, at, "check", "healthy", None, [result]))
    history.record_remediation(Remediation("api", at, "check", name, "restart", RemediationResult.READY))
"""
HALF_WRITER = """
import time
from pathlib import Path
from remediation.state.history import History
from remediation.config.load import load_project
with History(load_project(Path.cwd(), {}))._writing() as database:
    # Little memory, so that much of what is not committed is in the write-ahead log already.
    database.execute("PRAGMA cache_size = 5")
    database.execute("DELETE FROM runs")
    half = [("x" * 500,)] * 2000
    database.executemany("INSERT INTO heals VALUES (NULL, '', 0, '', '', ?, 0, '', 0, 0, '', '')", half)
    print("inside", flush=True)
    time.sleep(600)
"""
LOCKER = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return the history of an empty project."""
    return configured(tmp_path)


@contextmanager
def python(root: Path, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that runs code in a project and has printed its first line."""
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
    """Let processes write runs and heals at the same time, and assert that none failed."""
    with ExitStack() as stack:
        processes = [stack.enter_context(python(root, WRITER, f"w{n}", str(times))) for n in range(writers)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.wait(DEADLINE) == 0, process.communicate()


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
    history.record_remediation(remediation(at=1.0))

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
        with pytest.raises(HistoryError, match=rf"of a newer version of auto-heal \({VERSION + 1}, here {VERSION}\)"):
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
