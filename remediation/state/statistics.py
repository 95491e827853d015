"""Add up the history: uptime, failures, heals, repair times and latency of every service and check.

SQLite does all work that grows with the number of results. A skipped check is counted as skipped, and otherwise as if
it had not run. Only results in the window count: an incident that was open when the window began counts from its first
result in the window.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from remediation.state.records import CheckOutcome, Kind
from remediation.state.remediation import Remediation

# For how many intervals a monitor's result is valid: after two missed cycles a monitor is late, after three it is gone.
INTERVALS_VOUCHED = 3
# For how many seconds any other result is valid: cron is expected at least every five minutes, and may miss one run.
SECONDS_VOUCHED = 600.0
# This many fit next to a name in a terminal of 80 columns.
BUCKETS = 60

_BUCKETS_LAYOUT = "CREATE TEMP TABLE buckets (bucket INTEGER PRIMARY KEY, first REAL, last REAL)"
# A result is valid until the next one of its line, but not beyond `until`.
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
    """An equal part of the window: the seconds with a valid result, and of these the seconds of downtime."""

    watched: float = 0.0
    down: float = 0.0


def timelines(database: sqlite3.Connection, *, begin: float, now: float) -> dict[int, list[Bucket]]:
    """Return the buckets between two moments (epoch seconds) of every line that has entries."""
    width = (now - begin) / BUCKETS
    database.execute(_BUCKETS_LAYOUT)
    try:
        edges = [(number, begin + number * width, begin + (number + 1) * width) for number in range(BUCKETS)]
        database.executemany("INSERT INTO buckets VALUES (?, ?, ?)", edges)
        buckets: dict[int, list[Bucket]] = defaultdict(lambda: [Bucket()] * BUCKETS)
        for line, number, *seconds in database.execute(_BUCKETS, {"begin": begin, "now": now, "width": width}):
            buckets[line][number] = Bucket(*seconds)
    finally:
        database.execute("DROP TABLE temp.buckets")
    return buckets


def _has_outcome(outcome: CheckOutcome, table: str = "") -> str:
    """Return the SQL condition for an outcome: two nullable moments stand for it on disk."""
    failed, passed = ("NOT NULL" if present else "NULL" for present in (outcome.has_failed, outcome.is_well))
    return f"({table}failed_at IS {failed} AND {table}passed_at IS {passed})"


_IS_SKIPPED, _IS_PASSED, _IS_FAILED = map(
    _has_outcome, (CheckOutcome.SKIPPED, CheckOutcome.PASSED, CheckOutcome.FAILED)
)
_LAST_HAD_FAILED = _has_outcome(CheckOutcome.FAILED, "last.")
# A line is a service or a check, even if its docstring or marker changed over time; a run has one result of it. In
# `entries`, consecutive numbers of a line are consecutive in time.
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
    """,  # noqa: S608 - built from our own constants alone
    "CREATE INDEX temp.latencies ON entries (line, latency) WHERE latency IS NOT NULL",
    # An incident begins where a line starts to fail, and ends with the same result or a later one that passed.
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
# A line has the name and services of its last result: SQLite takes bare columns from the row of the maximum,
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
# The first run after the heal that checked the service. If it was healed once more meanwhile, the later heal helped.
_NEXT_RESULT = f"""
    SELECT NOT {_IS_FAILED} AND NOT EXISTS (
        SELECT 1 FROM heals AS later
        WHERE later.service = {{service}} AND later.at > {{at}} AND later.at <= runs.ended AND later.origin != 'hand'
    )
    FROM runs CROSS JOIN results ON results.run = runs.id
        AND subject IN (SELECT id FROM subjects WHERE kind = 'service' AND key = {{service}})
    WHERE ended >= {{at}} AND NOT {_IS_SKIPPED}
    ORDER BY ended, runs.id LIMIT 1
"""  # noqa: S608 - as above
_HAS_PASSED = """
    SELECT 1 FROM results JOIN subjects ON id = subject
    WHERE kind = 'service' AND key = ? AND passed_at IS NOT NULL LIMIT 1
"""
_HELPED = _NEXT_RESULT.format(service="heals.service", at="heals.at")
# An action by hand does not count as a heal.
_HEALS = f"""
    SELECT service, count(*), sum(ok), sum(ok AND coalesce(({_HELPED}), 0))
    FROM heals WHERE at BETWEEN :begin AND :now AND origin != 'hand' GROUP BY service
"""  # noqa: S608 - as above
_STEPS = f"""
    SELECT id, service, action, ok AND coalesce(({_HELPED}), 0), max(0, answered_at - since)
    FROM heals WHERE at BETWEEN :begin AND :now AND origin != 'hand' AND action != ''
"""  # noqa: S608 - as above
# In this order, for one scan of the results: SQLite would scan them once for each check.
_CHECKS_OF_HEALS = """
    SELECT DISTINCT heals.id, line
    FROM results CROSS JOIN heals ON heals.incident = results.incident
        CROSS JOIN subjects ON subjects.id = results.subject CROSS JOIN lines ON lines.subject = results.subject
    WHERE run >= (SELECT min(id) FROM runs WHERE ended >= :begin) AND results.incident IS NOT NULL AND kind = 'check'
"""
_REPAIR = "SELECT repair FROM incidents WHERE line = ? AND repair IS NOT NULL ORDER BY repair LIMIT 1 OFFSET ?"
_LATENCY = "SELECT latency FROM entries WHERE line = ? AND latency IS NOT NULL ORDER BY latency LIMIT 1 OFFSET ?"
_SUBJECT = "SELECT kind, key, name, services FROM subjects WHERE id = ?"


# A reload or a hook that fails is followed by the next step in the same heal, so only the last of them can have helped.
_SEVERAL = re.compile(r"(?:^|(?<=, ))(reload|hook [^,]+), ")

# The history of an older version has no measurements.
_HAS_MEASUREMENTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'measurements'"
_MEASURED = """
    SELECT line, name, max(CASE WHEN age = 1 THEN unit END), max(CASE WHEN age = 1 THEN value END),
        max(CASE WHEN rank = (total * 50 + 99) / 100 THEN value END),
        max(CASE WHEN rank = (total * 95 + 99) / 100 THEN value END)
    FROM (
        SELECT line, name, unit, value, count(*) OVER (PARTITION BY line, name) AS total,
            row_number() OVER (PARTITION BY line, name ORDER BY value) AS rank,
            row_number() OVER (PARTITION BY line, name ORDER BY at DESC, run DESC) AS age
        FROM measurements JOIN results USING (run, subject) JOIN lines USING (subject)
        WHERE run >= (SELECT min(id) FROM runs WHERE ended >= :begin) AND at BETWEEN :begin AND :now
    )
    GROUP BY line, name
"""


class Percentiles(msgspec.Struct, frozen=True):
    """The 50th and 95th percentile of a set of values, by nearest rank, so that each is one of the values."""

    median: float
    p95: float


class Measured(msgspec.Struct, frozen=True):
    """What a check measured under one name: the last value, and the percentiles of all by nearest rank."""

    name: str
    unit: str
    last: float
    median: float
    p95: float


class Heals(msgspec.Struct, frozen=True):
    """The number of heals, and how many of them succeeded."""

    total: int = 0
    ok: int = 0
    """Heals after which the service was ready again."""
    helped: int = 0
    """Of these, the heals after which the service was healthy in the next run that checked it."""


class Step(msgspec.Struct, frozen=True):
    """How often a step of the ladder was taken, and how often it helped."""

    action: str
    total: int
    helped: int
    """As in `Heals`."""
    downtime: float | None
    """The median of the downtimes that it ended, in seconds; None if it never helped."""


class Figures(msgspec.Struct, frozen=True):
    """The statistics of one service or check in the window; durations in seconds, moments in epoch seconds."""

    kind: Kind
    key: str
    name: str
    runs: int = 0
    """Runs that checked it and did not skip it."""
    passed: int = 0
    """Of these, the runs in which it did not fail for good."""
    skipped: int = 0
    watched: float = 0.0
    """Seconds for which there is a valid result."""
    down: float = 0.0
    """Of the watched seconds, those of downtime."""
    failures: int = 0
    """Incidents; each lasts from a failure for good until a run ends with it healthy."""
    down_since: float | None = None
    """When the open incident began, if there is one."""
    mttr: Percentiles | None = None
    """Time to repair: from the first failed attempt to the end of an incident."""
    mtbf: float | None = None
    """Healthy time for each failure."""
    latency: Percentiles | None = None
    measurements: list[Measured] = []
    heals: Heals | None = None
    """The heals of a service; None for a check."""
    steps: list[Step] = []
    """The steps that were taken for it, the most frequent first; for a check, those of incidents in which it failed."""
    timeline: list[Bucket] = []

    @property
    def uptime_of_checks(self) -> float | None:
        """The share of runs in which it did not fail for good; None without runs."""
        return self.passed / self.runs if self.runs else None

    @property
    def uptime_of_time(self) -> float | None:
        """The share of the watched time in which it was healthy; None without watched time."""
        return (self.watched - self.down) / self.watched if self.watched else None


class Chapter(msgspec.Struct, frozen=True):
    """A service and the checks that may heal it, or the checks that heal nothing."""

    service: Figures | None
    checks: list[Figures]


def figures(
    database: sqlite3.Connection, *, since: float, now: float, with_measurements: bool = False
) -> list[Chapter]:
    """Return the figures of the `since` seconds before `now`: services by name, then the checks that heal nothing.

    A check that may heal several services appears under each of them. To add up the measurements, too, takes about
    half as long again.
    """
    window = {"begin": now - since, "now": now}
    with _laid_out(database, window):
        steps_by_service, steps_by_line = _steps(database, window)
        measured = _measured(database, window) if with_measurements else {}
        lines = _lines(database, window, steps_by_line, measured)
    services = {line.key: line for line, _ in lines if line.kind == "service"}
    heals = {service: Heals(*counts) for service, *counts in database.execute(_HEALS, window)}
    checks: dict[str, list[Figures]] = defaultdict(list)
    for line, healed in lines:
        if line.kind == "check":
            for service in healed or [""]:
                checks[service].append(line)
    chapters = [
        Chapter(_service(name, services.get(name), heals.get(name), steps_by_service.get(name, [])), checks[name])
        for name in sorted({*services, *heals, *checks} - {""})
    ]
    return [*chapters, Chapter(None, checks[""])] if checks[""] else chapters


def helped(database: sqlite3.Connection, service: str, at: float) -> bool | None:
    """Return whether a service was healthy in the first run since a moment that checked it; None without such a run."""
    query = _NEXT_RESULT.format(service=":service", at=":at")
    row = database.execute(query, {"service": service, "at": at}).fetchone()
    return None if row is None else bool(row[0])


def steps_of(database: sqlite3.Connection, *, now: float) -> dict[str, list[Step]]:
    """Return the steps that were ever taken for each service, as far as the history goes back."""
    return _counted(database.execute(_STEPS, {"begin": 0.0, "now": now}).fetchall())


def _steps(
    database: sqlite3.Connection, window: dict[str, float]
) -> tuple[dict[str, list[Step]], dict[int, list[Step]]]:
    """Return the steps taken for each service, and for each line of a check that failed in their incidents."""
    taken = database.execute(_STEPS, window).fetchall()
    by_id = {number: rest for number, *rest in taken}
    pairs = list[tuple[int, int]]()
    # The tables of an older version do not know incidents.
    with suppress(sqlite3.OperationalError):
        pairs = database.execute(_CHECKS_OF_HEALS, window).fetchall()
    of_checks = [(number, line, *by_id[number][1:]) for number, line in pairs if number in by_id]
    return _counted(taken), _counted(of_checks)


def _counted(taken: Iterable[tuple[Any, ...]]) -> dict[Any, list[Step]]:
    """Return the steps of each subject, from rows of a heal's number, subject, action, whether it helped, downtime."""
    by_subject: dict[Any, dict[str, list[tuple[bool, float | None]]]] = defaultdict(lambda: defaultdict(list))
    for _, subject, actions, has_helped, downtime in taken:
        *failed, action = _SEVERAL.split(actions)
        for step in filter(None, failed):
            by_subject[subject][step].append((False, None))
        by_subject[subject][action].append((bool(has_helped), downtime))
    return {
        subject: sorted(
            (_step(action, ends) for action, ends in actions.items()), key=lambda step: (-step.total, step.action)
        )
        for subject, actions in by_subject.items()
    }


def _step(action: str, ends: list[tuple[bool, float | None]]) -> Step:
    downtimes = sorted(downtime for has_helped, downtime in ends if has_helped and downtime is not None)
    # Nearest rank, as for all percentiles.
    median = downtimes[(len(downtimes) - 1) // 2] if downtimes else None
    return Step(action, len(ends), sum(has_helped for has_helped, _ in ends), median)


def has_passed(database: sqlite3.Connection, service: str) -> bool:
    """Return whether any run found a service healthy."""
    return database.execute(_HAS_PASSED, (service,)).fetchone() is not None


def last_remediations(database: sqlite3.Connection, *, since: float, now: float, most: int) -> list[Remediation]:
    """Return the last `most` remediations in the `since` seconds before `now`, newest first, without those by hand."""
    # Read the columns by name, since the tables of an older version have fewer.
    cursor = database.execute(
        "SELECT * FROM heals WHERE at BETWEEN ? AND ? AND origin != 'hand' ORDER BY at DESC, id DESC LIMIT ?",
        (now - since, now, most),
    )
    names = [column[0] for column in cursor.description]
    return [Remediation.from_stored(dict(zip(names, row, strict=True)), strict=False) for row in cursor]


def _service(name: str, results: Figures | None, heals: Heals | None, steps: list[Step]) -> Figures:
    """Return the figures of a service with its heals, even if it has no results of its own."""
    service = results or Figures("service", name, name, timeline=[Bucket()] * BUCKETS)
    return msgspec.structs.replace(service, heals=heals or Heals(), steps=steps)


@contextmanager
def _laid_out(database: sqlite3.Connection, window: dict[str, float]) -> Iterator[None]:
    """Provide the results of the window in temporary tables, in order of time."""
    values = {**window, "intervals": INTERVALS_VOUCHED, "seconds": SECONDS_VOUCHED}
    try:
        for statement in _LAYOUT:
            database.execute(statement, values)
        yield
    finally:
        for table in _TABLES:
            database.execute(f"DROP TABLE IF EXISTS temp.{table}")


def _lines(
    database: sqlite3.Connection,
    window: dict[str, float],
    steps: dict[int, list[Step]],
    measured: dict[int, list[Measured]],
) -> list[tuple[Figures, list[str]]]:
    """Return the figures of all lines by key, each with the services that it may heal."""
    counts, skipped, incidents = (_by_line(database, query, window) for query in (_COUNTS, _SKIPPED, _INCIDENTS))
    times = timelines(database, **window)
    lines = []
    for line in {**counts, **skipped}:
        count, incident = counts.get(line, {}), incidents.get(line, {})
        subject = count.get("subject") or skipped[line]["subject"]
        kind, key, name, services = database.execute(_SUBJECT, (subject,)).fetchone()
        timeline, failures = times.get(line, [Bucket()] * BUCKETS), incident.get("failures", 0)
        watched, down = sum(bucket.watched for bucket in timeline), sum(bucket.down for bucket in timeline)
        line_figures = Figures(
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
            measurements=measured.get(line, []),
            timeline=timeline,
            steps=steps.get(line, []),
        )
        lines.append((line_figures, services.split()))
    return sorted(lines, key=lambda pair: pair[0].key)


def _measured(database: sqlite3.Connection, window: dict[str, float]) -> dict[int, list[Measured]]:
    """Return what each line measured, by name."""
    measured: dict[int, list[Measured]] = defaultdict(list)
    if database.execute(_HAS_MEASUREMENTS).fetchone():
        for line, *values in database.execute(_MEASURED, window):
            measured[line].append(Measured(*values))
    return measured


def _by_line(database: sqlite3.Connection, query: str, window: dict[str, float]) -> dict[int, dict[str, Any]]:
    """Return the rows of a query by their first column, each as a dict of all columns."""
    cursor = database.execute(query, window)
    columns = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(columns, row, strict=True)) for row in cursor}


def _percentiles(database: sqlite3.Connection, query: str, line: int, count: int) -> Percentiles | None:
    """Return the percentiles of `count` values; `query` returns the value at an offset in their order."""
    if not count:
        return None
    # Nearest rank: the smallest value that at least `percent` in a hundred values do not exceed.
    offsets = [-(-count * percent // 100) - 1 for percent in (50, 95)]
    return Percentiles(*(database.execute(query, (line, offset)).fetchone()[0] for offset in offsets))
