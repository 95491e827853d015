"""Add up the history: uptime, failures, heals, repair times and latency of every service and check.

What grows with the number of results is done by SQLite. A skipped check says nothing: it is counted, and else as if it
had not run. Only what lies in the window counts: an incident that was open when the window began, begins with its
first result in it.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from remediation.state.records import CheckOutcome, Kind
from remediation.state.remediation import Remediation

# A monitor that let two of its checks pass is late; when it has let three pass it is gone, and what it saw is no news.
INTERVALS_VOUCHED = 3
# Where cron is to watch it comes every five minutes or oftener; twice that, since one run may be missed.
SECONDS_VOUCHED = 600.0
# What fits beside a name into a terminal of 80 columns.
BUCKETS = 60

_BUCKETS_LAYOUT = "CREATE TEMP TABLE buckets (bucket INTEGER PRIMARY KEY, first REAL, last REAL)"
# A result vouches until the next one of its line, but not beyond `until`.
_BUCKETS = """
    WITH spans AS (
        SELECT this.line, this.at, this.failed_at, this.passed_at, min(this.until, coalesce(next.at, :now)) AS until
        FROM entries AS this LEFT JOIN entries AS next ON next.number = this.number + 1 AND next.line = this.line
    )
    SELECT line, bucket, sum(max(0, min(until, last) - max(at, first))),
        sum(coalesce(max(0, min(coalesce(passed_at, until), until, last) - max(failed_at, at, first)), 0))
    FROM spans JOIN buckets
        ON bucket BETWEEN CAST((at - :begin) / :width AS INTEGER) AND CAST((until - :begin) / :width AS INTEGER)
    GROUP BY line, bucket
"""


class Bucket(msgspec.Struct, frozen=True):
    """An equal part of the window: for how many seconds of it somebody watched, and of these it was down."""

    watched: float = 0.0
    down: float = 0.0


def timelines(database: sqlite3.Connection, *, begin: float, now: float) -> dict[int, list[Bucket]]:
    """Return the buckets between two moments (epoch seconds) of every line that has entries."""
    width = (now - begin) / BUCKETS
    database.execute(_BUCKETS_LAYOUT)
    try:
        edges = [(number, begin + number * width, begin + (number + 1) * width) for number in range(BUCKETS)]
        database.executemany("INSERT INTO buckets VALUES (?, ?, ?)", edges)
        found: dict[int, list[Bucket]] = defaultdict(lambda: [Bucket()] * BUCKETS)
        for line, number, *seconds in database.execute(_BUCKETS, {"begin": begin, "now": now, "width": width}):
            found[line][number] = Bucket(*seconds)
    finally:
        database.execute("DROP TABLE temp.buckets")
    return found


def _is(outcome: CheckOutcome, table: str = "") -> str:
    """Return the condition of SQL for an outcome: on disk, it is which of two moments there are."""
    failed, well = ("NOT NULL" if one else "NULL" for one in (outcome.has_failed, outcome.is_well))
    return f"({table}failed_at IS {failed} AND {table}passed_at IS {well})"


_IS_SKIPPED, _IS_PASSED, _IS_FAILED = map(_is, (CheckOutcome.SKIPPED, CheckOutcome.PASSED, CheckOutcome.FAILED))
_LAST_HAD_FAILED = _is(CheckOutcome.FAILED, "last.")
# A line is a service or a check, whatever docstring and marker it had over time; a run has one result of it. Numbers
# that follow each other are neighbours in time.
_LAYOUT = (
    "CREATE TEMP TABLE lines (subject INTEGER PRIMARY KEY, line INTEGER)",
    "INSERT INTO lines SELECT id, min(id) OVER (PARTITION BY kind, key) FROM subjects",
    """
    CREATE TEMP TABLE entries (
        number INTEGER PRIMARY KEY, line INTEGER, subject INTEGER, at REAL, until REAL, failed_at REAL, passed_at REAL,
        latency REAL
    )
    """,
    f"""
    INSERT INTO entries
    SELECT NULL, line, lines.subject, at, max(at, ended) + coalesce(:intervals * interval, :seconds), failed_at,
        passed_at, latency
    FROM results JOIN runs ON runs.id = run JOIN lines ON lines.subject = results.subject
    WHERE run >= (SELECT min(id) FROM runs WHERE ended >= :begin) AND at BETWEEN :begin AND :now
        AND NOT {_IS_SKIPPED}
    ORDER BY line, at, run
    """,  # noqa: S608 - of texts of our own alone
    "CREATE INDEX temp.latencies ON entries (line, latency) WHERE latency IS NOT NULL",
    # Where a line turns sick, and what ends that: the same result, or the next one here.
    f"""
    CREATE TEMP TABLE incidents AS
    SELECT line, failed_at AS began, max(0, ended - failed_at) AS repair
    FROM (
        SELECT *, coalesce(passed_at, lead(passed_at) OVER (PARTITION BY line ORDER BY number)) AS ended
        FROM (
            SELECT this.*, coalesce({_LAST_HAD_FAILED}, 0) AS was_sick
            FROM entries AS this LEFT JOIN entries AS last ON last.number = this.number - 1 AND last.line = this.line
        )
        WHERE CASE WHEN was_sick THEN passed_at ELSE failed_at END IS NOT NULL
    )
    WHERE NOT was_sick
    """,  # noqa: S608 - as above
    "CREATE INDEX temp.repairs ON incidents (line, repair) WHERE repair IS NOT NULL",
)
_TABLES = ("incidents", "entries", "lines")
# The name and services of a line are those of its last result: SQLite takes bare columns from the row of the maximum,
# https://sqlite.org/lang_select.html#bareagg
_COUNTS = f"""
    SELECT line, subject, max(number), count(*) AS runs, sum({_IS_PASSED}) AS passed, count(latency) AS answers
    FROM entries GROUP BY line
"""  # noqa: S608 - as above
_SKIPPED = f"""
    SELECT line, lines.subject, max(at), count(*) AS skipped
    FROM results JOIN lines ON lines.subject = results.subject
    WHERE run >= (SELECT min(id) FROM runs WHERE ended >= :begin) AND at BETWEEN :begin AND :now
        AND {_IS_SKIPPED}
    GROUP BY line
"""  # noqa: S608 - as above
_INCIDENTS = """
    SELECT line, count(*) AS failures, count(repair) AS repairs,
        max(CASE WHEN repair IS NULL THEN began END) AS down_since
    FROM incidents GROUP BY line
"""
# Run by run, from the heal on, until one has looked at the service.
_LOOK_AFTER = f"""
    SELECT NOT {_IS_FAILED}
    FROM runs CROSS JOIN results ON results.run = runs.id
        AND subject IN (SELECT id FROM subjects WHERE kind = 'service' AND key = {{service}})
    WHERE ended >= {{at}} AND NOT {_IS_SKIPPED}
    ORDER BY ended, runs.id LIMIT 1
"""  # noqa: S608 - as above
_HELPED = _LOOK_AFTER.format(service="heals.service", at="heals.at")
# What somebody does by hand is no heal.
_HEALS = f"""
    SELECT service, count(*), sum(ok), sum(ok AND coalesce(({_HELPED}), 0))
    FROM heals WHERE at BETWEEN :begin AND :now AND origin != 'hand' GROUP BY service
"""  # noqa: S608 - of texts of our own alone
_REPAIR = "SELECT repair FROM incidents WHERE line = ? AND repair IS NOT NULL ORDER BY repair LIMIT 1 OFFSET ?"
_LATENCY = "SELECT latency FROM entries WHERE line = ? AND latency IS NOT NULL ORDER BY latency LIMIT 1 OFFSET ?"
_SUBJECT = "SELECT kind, key, name, services FROM subjects WHERE id = ?"


class Percentiles(msgspec.Struct, frozen=True):
    """The values that half, and 95 in a hundred, of a set do not exceed: nearest rank, so each is one of the set."""

    median: float
    p95: float


class Heals(msgspec.Struct, frozen=True):
    """How many heals there were, and how many did what they should."""

    total: int = 0
    ok: int = 0
    """After these the service was ready again."""
    helped: int = 0
    """Of these, those after which the next run that looked at the service left it well."""


class Figures(msgspec.Struct, frozen=True):
    """What is known of one service or check in the window; durations in seconds, moments in epoch seconds."""

    kind: Kind
    key: str
    name: str
    runs: int = 0
    """Runs that looked at it: that did not skip it."""
    passed: int = 0
    """Of these, those in which it did not fail for good."""
    skipped: int = 0
    watched: float = 0.0
    down: float = 0.0
    """Of the time that was watched."""
    failures: int = 0
    """Incidents: from a failure for good of what was not sick, until it is well at the end of a run."""
    down_since: float | None = None
    """When the incident began that is still open."""
    mttr: Percentiles | None = None
    """What it took to end an incident, from the first failed attempt on."""
    mtbf: float | None = None
    """The time in which it was well, for each failure."""
    latency: Percentiles | None = None
    heals: Heals | None = None
    """Of a service; a check has none."""
    timeline: list[Bucket] = []

    @property
    def uptime_of_checks(self) -> float | None:
        """The share of runs in which it did not fail for good, if there are any."""
        return self.passed / self.runs if self.runs else None

    @property
    def uptime_of_time(self) -> float | None:
        """The share of the watched time in which it was well, if there is any."""
        return (self.watched - self.down) / self.watched if self.watched else None


class Chapter(msgspec.Struct, frozen=True):
    """A service with the checks that may heal it, or the checks that heal nothing."""

    service: Figures | None
    checks: list[Figures]


def figures(database: sqlite3.Connection, *, since: float, now: float) -> list[Chapter]:
    """Return the figures of the `since` seconds before `now`: services by name, then the checks that heal nothing.

    A check that may heal several services stands below each of them.
    """
    window = {"begin": now - since, "now": now}
    with _laid_out(database, window):
        lines = _lines(database, window)
    services = {one.key: one for one, _ in lines if one.kind == "service"}
    heals = {service: Heals(*counts) for service, *counts in database.execute(_HEALS, window)}
    below: dict[str, list[Figures]] = defaultdict(list)
    for one, healed in lines:
        if one.kind == "check":
            for service in healed or [""]:
                below[service].append(one)
    chapters = [
        Chapter(_service(name, services.get(name), heals.get(name)), below[name])
        for name in sorted({*services, *heals, *below} - {""})
    ]
    return [*chapters, Chapter(None, below[""])] if below[""] else chapters


def helped(database: sqlite3.Connection, service: str, at: float) -> bool | None:
    """Return whether the first run since a moment that looked at a service left it well; None if there was none."""
    found = database.execute(_LOOK_AFTER.format(service="?", at="?"), (service, at)).fetchone()
    return None if found is None else bool(found[0])


def last_remediations(database: sqlite3.Connection, *, since: float, now: float, most: int) -> list[Remediation]:
    """Return the last remediations of the last `since` seconds, the newest first; what was done by hand is none."""
    # By name, since the tables of an older version have fewer columns.
    cursor = database.execute(
        "SELECT * FROM heals WHERE at BETWEEN ? AND ? AND origin != 'hand' ORDER BY at DESC, id DESC LIMIT ?",
        (now - since, now, most),
    )
    names = [column[0] for column in cursor.description]
    return [Remediation.from_stored(dict(zip(names, row, strict=True)), strict=False) for row in cursor]


def _service(name: str, found: Figures | None, heals: Heals | None) -> Figures:
    """Return the figures of a service with its heals, also of one that is only known from these, or from a check."""
    one = found or Figures("service", name, name, timeline=[Bucket()] * BUCKETS)
    return msgspec.structs.replace(one, heals=heals or Heals())


@contextmanager
def _laid_out(database: sqlite3.Connection, window: dict[str, float]) -> Iterator[None]:
    """Have the results of the window in temporary tables, in order."""
    values = {**window, "intervals": INTERVALS_VOUCHED, "seconds": SECONDS_VOUCHED}
    try:
        for statement in _LAYOUT:
            database.execute(statement, values)
        yield
    finally:
        for table in _TABLES:
            database.execute(f"DROP TABLE IF EXISTS temp.{table}")


def _lines(database: sqlite3.Connection, window: dict[str, float]) -> list[tuple[Figures, list[str]]]:
    """Return the figures of all lines by key, each with the services that it may heal."""
    counts, skipped, incidents = (_by_line(database, query, window) for query in (_COUNTS, _SKIPPED, _INCIDENTS))
    times = timelines(database, **window)
    found = []
    for line in {**counts, **skipped}:
        count, incident = counts.get(line, {}), incidents.get(line, {})
        subject = count.get("subject") or skipped[line]["subject"]
        kind, key, name, services = database.execute(_SUBJECT, (subject,)).fetchone()
        timeline, failures = times.get(line, [Bucket()] * BUCKETS), incident.get("failures", 0)
        watched, down = sum(one.watched for one in timeline), sum(one.down for one in timeline)
        one = Figures(
            kind=kind,
            key=key,
            name=name,
            runs=count.get("runs", 0),
            passed=count.get("passed", 0),
            skipped=skipped.get(line, {}).get("skipped", 0),
            watched=watched,
            down=down,
            failures=failures,
            down_since=incident.get("down_since"),
            mttr=_percentiles(database, _REPAIR, line, incident.get("repairs", 0)),
            mtbf=(watched - down) / failures if failures else None,
            latency=_percentiles(database, _LATENCY, line, count.get("answers", 0)),
            timeline=timeline,
        )
        found.append((one, services.split()))
    return sorted(found, key=lambda pair: pair[0].key)


def _by_line(database: sqlite3.Connection, query: str, window: dict[str, float]) -> dict[int, dict[str, Any]]:
    """Return the rows of a query by their first column, each as a table of the others."""
    cursor = database.execute(query, window)
    columns = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(columns, row, strict=True)) for row in cursor}


def _percentiles(database: sqlite3.Connection, query: str, line: int, count: int) -> Percentiles | None:
    """Return the percentiles of `count` values, of which `query` returns that at an offset."""
    if not count:
        return None
    # The nearest rank is the smallest of which at least so many in a hundred are not above it.
    offsets = [-(-count * percent // 100) - 1 for percent in (50, 95)]
    return Percentiles(*(database.execute(query, (line, offset)).fetchone()[0] for offset in offsets))
