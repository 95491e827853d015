"""Forget what the history need not keep any longer, whatever the clock was set to meanwhile."""

from __future__ import annotations

import sqlite3
import time

from remediation.config.model import HistoryLimits

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
