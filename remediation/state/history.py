"""Write the history: every run with what became of each check and service, and every heal.

One SQLite database, shared by all processes of a project. Its write-ahead log lets readers and one writer work at
the same time, others wait their turn, and a power cut costs at most the last transactions, never the database
(https://sqlite.org/wal.html).
"""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from remediation.config.model import HistoryLimits, Project
from remediation.state import incidents
from remediation.state.event_log import EventLog
from remediation.state.records import Result, Run
from remediation.state.remediation import Remediation
from remediation.system import files

_DAY = 86_400.0
_MEGABYTE = 1_000_000
# When the database is too big, the oldest tenth of its runs goes at a time.
_PARTS = 10
# Of the time from one run to the next, no more than this part of what is kept makes them older: a clock that is set
# wrong once, by years, so costs a tenth of the history and not all of it.
_LONGEST_GAP = 0.1
# The last run that is too old, by the time from each run to the next, in the order in which they were recorded; of many
# runs one in so many is looked at.
_TOO_OLD = """
    WITH gaps AS (
        SELECT id, min(max(0, coalesce(lead(ended) OVER (ORDER BY id), :now) - ended), :longest) AS gap
        FROM runs WHERE id % :step = 0
    ), ages AS (SELECT id, sum(gap) OVER (ORDER BY id DESC) AS age FROM gaps)
    SELECT max(id) FROM ages WHERE age >= :kept
"""
_LOOKED_AT = 1000


def forget(database: sqlite3.Connection, limits: HistoryLimits) -> None:
    """Delete what is older than the limits want to keep, and the oldest of what is too much."""
    kept, step = limits.days * _DAY, 1 + _count(database) // _LOOKED_AT
    values = {"now": time.time(), "longest": _LONGEST_GAP * kept, "kept": kept, "step": step}
    _forget_through(database, database.execute(_TOO_OLD, values).fetchone()[0] or 0)
    while _size(database) > limits.megabytes * _MEGABYTE:
        if (count := _count(database)) <= 1:
            return
        oldest = database.execute("SELECT id FROM runs ORDER BY id LIMIT 1 OFFSET ?", (count // _PARTS,))
        _forget_through(database, oldest.fetchone()[0])


def _count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])


def _size(database: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _forget_through(database: sqlite3.Connection, number: int) -> None:
    """Delete the runs up to this one: by number, not by time, since the clock may have been wrong once."""
    database.execute("DELETE FROM results WHERE run <= ?", (number,))
    if database.execute("DELETE FROM runs WHERE id <= ?", (number,)).rowcount:
        database.execute("DELETE FROM heals WHERE at < (SELECT min(began) FROM runs)")
        # Tests whose names hold a date are new subjects every day.
        database.execute("DELETE FROM subjects WHERE id NOT IN (SELECT subject FROM results)")


VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL NOT NULL, origin TEXT NOT NULL, verdict TEXT NOT NULL,
    interval REAL
);
CREATE INDEX IF NOT EXISTS runs_ended ON runs (ended);
CREATE TABLE IF NOT EXISTS subjects (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, services TEXT NOT NULL,
    UNIQUE (kind, key, name, services)
);
CREATE TABLE IF NOT EXISTS results (
    run INTEGER NOT NULL, subject INTEGER NOT NULL, at REAL NOT NULL, failed_at REAL, passed_at REAL, latency REAL,
    attempts INTEGER NOT NULL, message TEXT, PRIMARY KEY (run, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heals (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, at REAL NOT NULL, origin TEXT NOT NULL, cause TEXT NOT NULL,
    action TEXT NOT NULL, ok INTEGER NOT NULL, reason TEXT NOT NULL, since REAL, answered_at REAL,
    evidence TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS heals_at ON heals (at);
"""
# What turns the tables of an older version into these.
_CHANGES = {1: "ALTER TABLE heals ADD COLUMN evidence TEXT NOT NULL DEFAULT '';"}
# Of the files that SQLite makes beside the database.
_ENDS = ("-wal", "-shm")
# How long a writer waits for the others, in seconds; each of them writes for a few milliseconds.
_BUSY_TIMEOUT = 10.0
# A monitor does not wait so long: somebody may need it meanwhile.
_SHORT_TIMEOUT = 1.0
# What is too old or too much is looked for once in so many runs.
_PRUNED_EVERY = 256
_NONE_YET = "there is no history yet; `auto-heal check` and `auto-heal monitor` write it"


class HistoryError(Exception):
    """The history cannot be read or written; the message says why, in one sentence."""


class History:
    """The history of a project.

    Every method opens the database anew, so that none is carried across a fork.
    """

    def __init__(self, project: Project, *, stays_open: bool = False) -> None:
        """Keep it in the project's own folder.

        With `stays_open`, for who writes often and never forks, what is written goes through one connection until
        `close`, and others are waited for less long.
        """
        self._project = project
        self.path = project.state_folder / "history.db"
        self._limits = project.history
        self._stays_open = stays_open
        self._timeout = _SHORT_TIMEOUT if stays_open else _BUSY_TIMEOUT
        self._kept: tuple[sqlite3.Connection, int] | None = None

    def close(self) -> None:
        """Close a connection that stayed open."""
        if self._kept:
            self._kept[0].close()
            self._kept = None

    def record_run(self, run: Run) -> None:
        """Add a run with all its results. HistoryError if that cannot be done."""
        # Whoever cannot write it cannot write the history either, and that is told.
        with suppress(OSError):
            incidents.note(self._project, run)
        with self._writing() as database:
            row = (run.began, run.ended, run.origin, run.verdict, run.interval)
            number = database.execute(
                "INSERT INTO runs (began, ended, origin, verdict, interval) VALUES (?, ?, ?, ?, ?)", row
            ).lastrowid
            database.executemany(
                "INSERT OR REPLACE INTO results (run, subject, at, failed_at, passed_at, latency, attempts, message)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (number, _subject(database, one), one.at, one.failed_at, one.passed_at, one.latency, one.attempts,
                     _storable(one.message))
                    for one in run.results
                ],
            )  # fmt: skip
            if number and number % _PRUNED_EVERY == 0:
                forget(database, self._limits)

    def record_remediation(self, remediation: Remediation) -> None:
        """Add a remediation. HistoryError if that cannot be done."""
        # On disk before we go on: a heal is rarer, and dearer to lose, than a check.
        with self._writing(durable=True) as database:
            database.execute(
                "INSERT INTO heals (service, at, origin, cause, action, ok, reason, since, answered_at, evidence)"
                " VALUES (:service, :at, :origin, :cause, :action, :ok, :reason, :since, :answered_at, :evidence)",
                {name: _storable(value) for name, value in remediation.stored().items()},
            )

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that sees one state of the database. HistoryError if there is none, or it is broken."""
        try:
            if not self._exists():
                raise HistoryError(_NONE_YET)
            with closing(self._connect()) as database:
                database.execute("BEGIN")
                if not _version(database):
                    raise HistoryError(_NONE_YET)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise HistoryError(f"the history {self.path} cannot be read: {error}") from None

    @contextmanager
    def _writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a transaction that is committed at the end."""
        try:
            with self._connection() as database:
                database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                # In KiB: what a monitor once took for a big database it would keep.
                database.execute("PRAGMA cache_size = -256")
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
                # The pages that pruning left empty go back to the file system; if not now, then with the next run.
                # As a script, since `execute` ends this statement, which has rows without columns, after one page.
                with suppress(sqlite3.OperationalError):
                    database.executescript("PRAGMA incremental_vacuum")
        except (sqlite3.Error, OSError) as error:
            if _is_broken(error):
                with suppress(sqlite3.Error, OSError):
                    self._replace()
            raise HistoryError(f"the history {self.path} cannot be written: {error}") from None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self._stays_open:
            with closing(self._open()) as database:
                yield database
            return
        # One that somebody has set aside meanwhile is not written to any more.
        if self._kept is None or not self._exists() or self.path.lstat().st_ino != self._kept[1]:
            self.close()
            self._kept = self._open(), self.path.lstat().st_ino
        try:
            yield self._kept[0]
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        """Return a connection to a database that has our tables; one that is no database is set aside."""
        try:
            return self._prepared()
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self._replace()
            return self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        if not self._exists():
            self._create()
        database = self._connect()
        try:
            if _version(database) < VERSION:
                self._lay_out(database)
        except BaseException:
            database.close()
            raise
        return database

    def _exists(self) -> bool:
        """Return whether the database is there. OSError if something else is, such as a link."""
        # What lies at the places of the files that SQLite itself makes would be written as well.
        there = [self._is_ours(self.path.with_name(f"{self.path.name}{end}")) for end in ("", *_ENDS)]
        return there[0]

    @staticmethod
    def _is_ours(path: Path) -> bool:
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        name = path.name if path.name.endswith(_ENDS) else "it"
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{name} is not a regular file")
        if found.st_nlink > 1:
            raise OSError(f"{name} is a hard link to a file that has another name")
        return True

    def _create(self) -> None:
        # Ours alone. Once it is there, only SQLite opens it: closing any other descriptor of the file would drop the
        # locks that a thread of this process has on it, https://sqlite.org/howtocorrupt.html
        with self._layout_lock():
            if not self._exists():
                files.create(self.path)

    def _lay_out(self, database: sqlite3.Connection) -> None:
        # One at a time: who changes the mode of a database that another one opens is not made to wait, but refused.
        with self._layout_lock():
            # Only an empty database takes this one.
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            # Read under the lock: somebody else may just have done it.
            changes = _CHANGES.get(_version(database), "")
            database.executescript(f"BEGIN IMMEDIATE; {changes} {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def _layout_lock(self) -> AbstractContextManager[object]:
        return files.locked(self.path.with_name(".history.new.lock"), timeout=_BUSY_TIMEOUT)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None)

    def _replace(self) -> None:
        """Set a broken database aside, unless somebody else was quicker."""
        with files.locked(self.path.with_name(".history.lock"), timeout=_BUSY_TIMEOUT):
            if self._is_sound():
                return
            self.path.replace(self.path.with_name(f"{self.path.name}.broken"))
            for end in _ENDS:
                with suppress(FileNotFoundError):
                    self.path.with_name(f"{self.path.name}{end}").unlink()

    def _is_sound(self) -> bool:
        try:
            with closing(self._connect()) as database:
                return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            return False


def _version(database: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 if there are none yet. OSError if they are not for us."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise OSError(f"it is of a newer version of auto-heal ({version}, here {VERSION})")
    return version


def _is_broken(error: Exception) -> bool:
    """Return whether an error says that the file is damaged or no database: all others are of classes below."""
    return type(error) is sqlite3.DatabaseError


def _subject(database: sqlite3.Connection, result: Result) -> int:
    key = [_storable(text) for text in (result.kind, result.key, result.name, " ".join(result.services))]
    found = database.execute(
        "SELECT id FROM subjects WHERE kind = ? AND key = ? AND name = ? AND services = ?", key
    ).fetchone()
    if found:
        return int(found[0])
    added = database.execute("INSERT INTO subjects (kind, key, name, services) VALUES (?, ?, ?, ?)", key)
    return int(added.lastrowid or 0)


def _storable(value: Any) -> Any:
    """Return a value that SQLite takes: bytes from outside that were no UTF-8 are surrogates in a text."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def recorder(project: Project, event_log: EventLog) -> Callable[[Remediation], None]:
    """Return what writes a remediation into the history of a project, and tells if that cannot be done."""

    def record(remediation: Remediation) -> None:
        try:
            History(project).record_remediation(remediation)
        except HistoryError as error:
            event_log.log("no_history", problem=error)

    return record
