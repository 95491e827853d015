"""Write the history: every run with the results of its checks and services, and every remediation.

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
from remediation.state.event_log import EventLog
from remediation.state.records import Result, Run
from remediation.state.remediation import Remediation
from remediation.system import files

_DAY = 86_400.0
_MEGABYTE = 1_000_000
# When the database is too big, delete the oldest tenth of its runs at a time.
_PARTS = 10
# The gap between two runs counts for at most this part of the time that the history keeps. So a clock that is wrong
# once, by years, costs a tenth of the history and not all of it.
_LONGEST_GAP = 0.1
# Find the last run that is too old, from the gaps between runs in the order in which they were recorded. Of many runs,
# it samples one in `step`.
_TOO_OLD = """
    WITH gaps AS (
        SELECT id, min(max(0, coalesce(lead(ended) OVER (ORDER BY id), :now) - ended), :longest) AS gap
        FROM runs WHERE id % :step = 0
    ), ages AS (SELECT id, sum(gap) OVER (ORDER BY id DESC) AS age FROM gaps)
    SELECT max(id) FROM ages WHERE age >= :kept
"""
_SAMPLE = 1000


def prune(database: sqlite3.Connection, limits: HistoryLimits) -> None:
    """Delete the runs that are older than the limit, then the oldest ones until the size is within its limit."""
    kept, step = limits.days * _DAY, 1 + _count(database) // _SAMPLE
    values = {"now": time.time(), "longest": _LONGEST_GAP * kept, "kept": kept, "step": step}
    _delete_through(database, database.execute(_TOO_OLD, values).fetchone()[0] or 0)
    while _size(database) > limits.megabytes * _MEGABYTE:
        if (count := _count(database)) <= 1:
            return
        oldest = database.execute("SELECT id FROM runs ORDER BY id LIMIT 1 OFFSET ?", (count // _PARTS,))
        _delete_through(database, oldest.fetchone()[0])


def _count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])


def _size(database: sqlite3.Connection) -> int:
    """Return the bytes of the pages in use."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete_through(database: sqlite3.Connection, number: int) -> None:
    """Delete the runs up to this one, by number and not by time, since the clock may have been wrong once."""
    database.execute("DELETE FROM results WHERE run <= ?", (number,))
    database.execute("DELETE FROM measurements WHERE run <= ?", (number,))
    if database.execute("DELETE FROM runs WHERE id <= ?", (number,)).rowcount:
        database.execute("DELETE FROM heals WHERE at < (SELECT min(began) FROM runs)")
        # Tests with a date in their names are new subjects every day.
        database.execute("DELETE FROM subjects WHERE id NOT IN (SELECT subject FROM results)")


VERSION = 4
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
    attempts INTEGER NOT NULL, message TEXT, incident TEXT, PRIMARY KEY (run, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS measurements (
    run INTEGER NOT NULL, subject INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, unit TEXT NOT NULL,
    PRIMARY KEY (run, subject, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heals (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, at REAL NOT NULL, origin TEXT NOT NULL, cause TEXT NOT NULL,
    action TEXT NOT NULL, ok INTEGER NOT NULL, reason TEXT NOT NULL, since REAL, answered_at REAL,
    evidence TEXT NOT NULL DEFAULT '', incident TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS heals_at ON heals (at);
"""
# The columns that the tables of older versions lack.
_ADDED = (
    ("heals", "evidence", "TEXT NOT NULL DEFAULT ''"),
    ("heals", "incident", "TEXT NOT NULL DEFAULT ''"),
    ("results", "incident", "TEXT"),
)
# The suffixes of the files that SQLite creates next to the database.
_SUFFIXES = ("-wal", "-shm")
# Seconds that a writer waits for the others; each of them writes for a few milliseconds.
_BUSY_TIMEOUT = 10.0
# A monitor waits for less long: its services may need it meanwhile.
_SHORT_TIMEOUT = 1.0
# How many runs to record between two prunings.
_PRUNED_EVERY = 256
_NONE_YET = "there is no history yet; `auto-heal check` and `auto-heal monitor` write it"


class HistoryError(Exception):
    """The history cannot be read or written; the message says why, in one sentence."""


class History:
    """The history of a project.

    Every method opens its own connection, so that no connection crosses a fork.
    """

    def __init__(self, project: Project, *, stays_open: bool = False) -> None:
        """Keep the history in the project's own folder.

        `stays_open` is for a process that writes often and never forks: all writes use one connection until `close`,
        and wait for other writers for less long.
        """
        self._project = project
        self.path = project.state_folder / "history.db"
        self._limits = project.history
        self._stays_open = stays_open
        self._timeout = _SHORT_TIMEOUT if stays_open else _BUSY_TIMEOUT
        self._open_connection: tuple[sqlite3.Connection, int] | None = None
        """With `stays_open`, the connection and the inode of its database."""

    def close(self) -> None:
        """Close a connection that stayed open."""
        if self._open_connection:
            self._open_connection[0].close()
            self._open_connection = None

    def record_run(self, run: Run) -> None:
        """Add a run with all its results. HistoryError if that is not possible."""
        with self._writing() as database:
            row = (run.began, run.ended, run.origin, run.verdict, run.interval)
            number = database.execute(
                "INSERT INTO runs (began, ended, origin, verdict, interval) VALUES (?, ?, ?, ?, ?)", row
            ).lastrowid
            subjects = [(_subject(database, result), result) for result in run.results]
            database.executemany(
                "INSERT OR REPLACE INTO results (run, subject, at, failed_at, passed_at, latency, attempts, message,"
                " incident) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (number, subject, result.at, result.failed_at, result.passed_at, result.latency, result.attempts,
                     _storable(result.message), result.incident or None)
                    for subject, result in subjects
                ],
            )  # fmt: skip
            database.executemany(
                "INSERT OR REPLACE INTO measurements (run, subject, name, value, unit) VALUES (?, ?, ?, ?, ?)",
                [
                    (number, subject, _storable(each.name), each.value, _storable(each.unit))
                    for subject, result in subjects
                    for each in result.measurements
                ],
            )
            if number and number % _PRUNED_EVERY == 0:
                prune(database, self._limits)

    def record_remediation(self, remediation: Remediation) -> None:
        """Add a remediation. HistoryError if that is not possible."""
        # Wait until it is on disk: a heal is rarer than a check, and its loss is worse.
        with self._writing(durable=True) as database:
            database.execute(
                "INSERT INTO heals (service, at, origin, cause, action, ok, reason, since, answered_at, evidence,"
                " incident) VALUES (:service, :at, :origin, :cause, :action, :ok, :reason, :since, :answered_at,"
                " :evidence, :incident)",
                {name: _storable(value) for name, value in remediation.stored().items()},
            )

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one state of the database. HistoryError if there is no database we can read."""
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
        """Yield a connection inside a transaction that is committed at the end."""
        try:
            with self._connection() as database:
                database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                # Negative means KiB. Without a limit, a monitor would keep the cache of a big database for ever.
                database.execute("PRAGMA cache_size = -256")
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
                # Return the pages that pruning emptied to the file system; if not now, then at the next run. Use a
                # script, since `execute` ends this statement, which has rows without columns, after one page.
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
        # Another process may have set this database aside meanwhile.
        opened = self._open_connection
        if opened is None or not self._exists() or self.path.lstat().st_ino != opened[1]:
            self.close()
            opened = self._open_connection = self._open(), self.path.lstat().st_ino
        try:
            yield opened[0]
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        """Return a connection to a database that has our tables; set a corrupt file aside first."""
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
        """Return whether the database exists. OSError if something else is in its place, such as a link."""
        # SQLite would also write to whatever is in the place of its own files.
        existing = [self._is_ours(self.path.with_name(f"{self.path.name}{suffix}")) for suffix in ("", *_SUFFIXES)]
        return existing[0]

    @staticmethod
    def _is_ours(path: Path) -> bool:
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        name = path.name if path.name.endswith(_SUFFIXES) else "it"
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{name} is not a regular file")
        if status.st_nlink > 1:
            raise OSError(f"{name} is a hard link to a file that has another name")
        return True

    def _create(self) -> None:
        # Create it with private permissions. From then on, only SQLite may open it: closing any other descriptor of the
        # file would drop the locks that a thread of this process has on it, https://sqlite.org/howtocorrupt.html
        with self._layout_lock():
            if not self._exists():
                files.create(self.path)

    def _lay_out(self, database: sqlite3.Connection) -> None:
        # One process at a time: if another one opens the database, SQLite refuses a new journal mode without waiting.
        with self._layout_lock():
            # This has an effect only on an empty database.
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            # Look at the columns under the lock: another process may just have migrated the tables.
            added = " ".join(
                f"ALTER TABLE {table} ADD COLUMN {column} {kind};"
                for table, column, kind in _ADDED
                if (columns := _columns(database, table)) and column not in columns
            )
            database.executescript(f"BEGIN IMMEDIATE; {_TABLES} {added} PRAGMA user_version = {VERSION}; COMMIT;")

    def _layout_lock(self) -> AbstractContextManager[object]:
        return files.locked(self.path.with_name(".history.new.lock"), timeout=_BUSY_TIMEOUT)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None)

    def _replace(self) -> None:
        """Set a broken database aside, unless another process has already done so."""
        with files.locked(self.path.with_name(".history.lock"), timeout=_BUSY_TIMEOUT):
            if self._is_sound():
                return
            self.path.replace(self.path.with_name(f"{self.path.name}.broken"))
            for suffix in _SUFFIXES:
                with suppress(FileNotFoundError):
                    self.path.with_name(f"{self.path.name}{suffix}").unlink()

    def _is_sound(self) -> bool:
        try:
            with closing(self._connect()) as database:
                return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            return False


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    """Return the columns of a table; none if it does not exist."""
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def _version(database: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 if there are none yet. OSError if it is newer than ours."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise OSError(f"it is of a newer version of auto-heal ({version}, here {VERSION})")
    return version


def _is_broken(error: Exception) -> bool:
    """Return whether the file is damaged or not a database: all other errors are of subclasses."""
    return type(error) is sqlite3.DatabaseError


def _subject(database: sqlite3.Connection, result: Result) -> int:
    key = [_storable(text) for text in (result.kind, result.key, result.name, " ".join(result.services))]
    row = database.execute(
        "SELECT id FROM subjects WHERE kind = ? AND key = ? AND name = ? AND services = ?", key
    ).fetchone()
    if row:
        return int(row[0])
    added = database.execute("INSERT INTO subjects (kind, key, name, services) VALUES (?, ?, ?, ?)", key)
    return int(added.lastrowid or 0)


def _storable(value: Any) -> Any:
    """Return a value that SQLite accepts: bytes from outside that were not UTF-8 are surrogates in a text."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def recorder(project: Project, event_log: EventLog) -> Callable[[Remediation], None]:
    """Return a function that writes a remediation into the history of a project, and logs an error if it cannot."""

    def record(remediation: Remediation) -> None:
        try:
            History(project).record_remediation(remediation)
        except HistoryError as error:
            event_log.log("no_history", problem=error)

    return record
