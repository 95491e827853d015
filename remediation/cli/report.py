"""`auto-heal report`: how the services fared, how often they failed, and whether the heals helped."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from remediation.config.load import load_project
from remediation.messages.formatting import aligned, spoken
from remediation.messages.message import first_line, printable
from remediation.state.event_log import colourful
from remediation.state.history import History, HistoryError
from remediation.state.remediation import Remediation
from remediation.state.statistics import BUCKETS, Bucket, Chapter, Figures, Percentiles, figures, last_remediations

STDOUT = 1
FAILED = 1

_Columns = Sequence[tuple[str, Callable[[Figures], str]]]
# A label of a table, and what stands beside it; None for a heading.
_Rows = list[tuple[str, Figures | None]]

# A label is cut rather than that the numbers or the timeline beside it wrap, but something of it must be left.
_NUMBERS_WIDTH = 62
_SHORTEST_LABEL = 16
# Of the heals, so many are shown to people, and to programs.
_HEALS_SHOWN, _MOST_HEALS = 5, 1_000
# The timeline has as many columns as there is room for, of those into which the buckets go without a rest.
_TIMELINE_WIDTHS = (60, 30, 20, 15, 12, 10)
# A check that hung, or stood behind another one, fails some moments after its round began.
_ALL_THE_TIME = 0.99


class _Drawing(NamedTuple):
    """The characters of the timeline; what is tall catches the eye."""

    well: str
    partly: str
    down: str
    nobody: str
    cut: str


_FINE = _Drawing("▁", "▄", "█", "·", "…")
_PLAIN = _Drawing("_", "o", "#", ".", "~")
_COLOURS = {"well": "\033[32m", "partly": "\033[33m", "down": "\033[31m"}


def report(*, since: float, as_json: bool) -> int:
    """Print the figures of the last `since` seconds; return 0, or 1 if there is no history that can be read."""
    project = load_project(Path.cwd())
    now = time.time()
    try:
        with History(project).reading() as database:
            chapters = figures(database, since=since, now=now)
            most = _MOST_HEALS if as_json else _HEALS_SHOWN
            last = last_remediations(database, since=since, now=now, most=most)
    except HistoryError as error:
        print(f"auto-heal: {error}", file=sys.stderr)
        return FAILED
    if as_json:
        heals = [one.stored() | {"downtime": one.downtime} for one in last]
        print(json.dumps(document(chapters, since=since, now=now) | {"heals": heals}, indent=2))
    else:
        print("\n".join([*page(chapters, since=since, now=now), *_last(last)]))
    return 0


def document(chapters: Sequence[Chapter], *, since: float, now: float) -> dict[str, Any]:
    """Return the figures for programs: the window, the services with their checks, the checks that heal nothing."""
    services = [
        {**_entry(chapter.service), "checks": [_entry(check) for check in chapter.checks]}
        for chapter in chapters
        if chapter.service
    ]
    checks = [_entry(check) for chapter in chapters if not chapter.service for check in chapter.checks]
    return {"since": since, "now": now, "services": services, "checks": checks}


def _entry(one: Figures) -> dict[str, Any]:
    shares = {"uptime_of_checks": one.uptime_of_checks, "uptime_of_time": one.uptime_of_time}
    return {**msgspec.to_builtins(one), **shares}


def page(chapters: Sequence[Chapter], *, since: float, now: float) -> list[str]:
    """Return the figures for people, as lines that fit the terminal."""
    period = f"{_moment(now - since)} to {_moment(now)} ({spoken(since)})"
    if not chapters:
        return [f"Nothing was checked from {period}."]
    width = shutil.get_terminal_size().columns
    drawing = _FINE if _can_print("".join(_FINE)) else _PLAIN
    rows = [
        (_shortened(label, max(_SHORTEST_LABEL, width - _NUMBERS_WIDTH), drawing.cut), one)
        for label, one in _rows(chapters)
    ]
    label_width = max(len(label) for label, _ in rows)
    columns = next((number for number in _TIMELINE_WIDTHS if label_width + 2 + number <= width), _TIMELINE_WIDTHS[-1])
    return [
        f"From {period}",
        "",
        *_table(rows, [*_UPTIME, ("FAILURES", lambda one: _failures(one, now))]),
        "",
        *(f"{label.ljust(label_width)}  {_timeline(one, columns, drawing)}".rstrip() for label, one in rows),
        f"{' ' * label_width}  {_legend(drawing)}; each {spoken(since / columns)}",
        "",
        *_table(rows, _REPAIRS),
        "MTTR and latency: median (95th percentile), nearest rank.",
    ]


def _last(remediations: Sequence[Remediation]) -> list[str]:
    """Return a few lines for each of the last remediations: why, what was done, and where the evidence is."""
    lines = ["", "LAST HEALS"] if remediations else []
    for one in remediations:
        helped = f"answered after {spoken(one.downtime)}" if one.downtime is not None else "done"
        how = helped if one.ok else f"in vain: {first_line(one.reason)}"
        cause = first_line(one.cause).removeprefix(f"{one.service}: ")
        lines.append(f"{_moment(one.at)}  {one.service}: {printable(cause)}")
        lines.append(f"  {printable(one.action)}, {printable(how)}")
        if one.evidence:
            lines.append(f"  evidence in {printable(one.evidence)}")
    return lines


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _rows(chapters: Sequence[Chapter]) -> _Rows:
    rows: _Rows = []
    for chapter in chapters:
        rows.append((chapter.service.key, chapter.service) if chapter.service else ("(no service)", None))
        rows += [(f"  {printable(check.name)}", check) for check in chapter.checks]
    return rows


def _shortened(label: str, limit: int, cut: str) -> str:
    return label if len(label) <= limit else f"{label[: limit - 1]}{cut}"


def _table(rows: _Rows, columns: _Columns) -> list[str]:
    cells = [("", *(title for title, _ in columns))]
    cells += [(label, *((cell(one) if one else "") for _, cell in columns)) for label, one in rows]
    return aligned(cells)


def percentage(share: float, decimals: int) -> str:
    """Return a share in percent: 100% only for all of it, 0% only for nothing."""
    least = 10.0**-decimals
    percent = round(share * 100, decimals)
    if 0 < share < 1:
        percent = min(max(percent, least), 100 - least)
    return f"{percent:.{decimals}f}%"


def _of_time(one: Figures) -> str:
    share = one.uptime_of_time
    return "-" if share is None else f"{percentage(share, 2)} of {spoken(one.watched)}"


def _of_checks(one: Figures) -> str:
    share = one.uptime_of_checks
    return "-" if share is None else f"{percentage(share, 1)} of checks ({one.passed}/{one.runs})"


def _failures(one: Figures, now: float) -> str:
    return f"{one.failures}{'' if one.down_since is None else f', down for {spoken(now - one.down_since)}'}"


def _heals(one: Figures) -> str:
    heals = one.heals
    return f"{heals.total}, {heals.ok} ok, {heals.helped} helped" if heals and heals.total else "-"


def _mtbf(one: Figures) -> str:
    return "-" if one.mtbf is None else spoken(one.mtbf)


def _percentiles(found: Percentiles | None) -> str:
    return "-" if found is None else f"{spoken(found.median)} ({spoken(found.p95)})"


_UPTIME: _Columns = (("UPTIME OF TIME WATCHED", _of_time), ("UPTIME OF CHECKS", _of_checks))
_REPAIRS: _Columns = (
    ("HEALS", _heals),
    ("MTTR", lambda one: _percentiles(one.mttr)),
    ("MTBF", _mtbf),
    ("LATENCY", lambda one: _percentiles(one.latency)),
)


def _timeline(one: Figures | None, columns: int, drawing: _Drawing) -> str:
    """Return the timeline of a service or check in so many characters."""
    if one is None:
        return ""
    size = BUCKETS // columns
    states = [_state(one.timeline[first : first + size]) for first in range(0, BUCKETS, size)]
    return "".join(_coloured(state, getattr(drawing, state) * len(list(run))) for state, run in groupby(states))


def _state(buckets: Sequence[Bucket]) -> str:
    watched, down = sum(one.watched for one in buckets), sum(one.down for one in buckets)
    if not watched:
        return "nobody"
    if not down:
        return "well"
    return "down" if down >= watched * _ALL_THE_TIME else "partly"


def _legend(drawing: _Drawing) -> str:
    texts = {"well": "well", "partly": "partly down", "down": "down", "nobody": "not watched"}
    return "  ".join(f"{_coloured(state, getattr(drawing, state))} {text}" for state, text in texts.items())


def _coloured(state: str, text: str) -> str:
    return f"{_COLOURS[state]}{text}\033[0m" if state in _COLOURS and colourful(STDOUT) else text
