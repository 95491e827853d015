"""When it was well, when it was down and when nobody looked: the time of each line, bucket by bucket.

Reads what `figures` has laid out in the temporary table `entries`, and is the place that knows for how long a result
vouches.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict

import msgspec

# A monitor that let two of its checks pass is late; when it has let three pass it is gone, and what it saw is no news.
INTERVALS_VOUCHED = 3
# Where cron is to watch it comes every five minutes or oftener; twice that, since one run may be missed.
SECONDS_VOUCHED = 600.0
# What fits beside a name into a terminal of 80 columns.
BUCKETS = 60

_LAYOUT = "CREATE TEMP TABLE buckets (bucket INTEGER PRIMARY KEY, first REAL, last REAL)"
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
    database.execute(_LAYOUT)
    try:
        edges = [(number, begin + number * width, begin + (number + 1) * width) for number in range(BUCKETS)]
        database.executemany("INSERT INTO buckets VALUES (?, ?, ?)", edges)
        found: dict[int, list[Bucket]] = defaultdict(lambda: [Bucket()] * BUCKETS)
        for line, number, *seconds in database.execute(_BUCKETS, {"begin": begin, "now": now, "width": width}):
            found[line][number] = Bucket(*seconds)
    finally:
        database.execute("DROP TABLE temp.buckets")
    return found
