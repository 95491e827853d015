"""`auto-heal report`: the uptime of the services, their failures, and whether the heals helped."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from remediation.config.load import load_project
from remediation.messages.formatting import aligned, spoken
from remediation.messages.message import first_line, printable
from remediation.messages.translation import translated, translated_action
from remediation.messages.words import Words
from remediation.state import incidents
from remediation.state.event_log import colourful
from remediation.state.history import History, HistoryError
from remediation.state.remediation import Remediation
from remediation.state.statistics import BUCKETS, Bucket, Chapter, Figures, Percentiles, figures, last_remediations
from remediation.system.exit_codes import FAILED

STDOUT = 1

_Columns = Sequence[tuple[str, Callable[[Figures, Words], str]]]
# The label of a row and its figures; None for a heading.
_Rows = list[tuple[str, Figures | None]]

# Long labels are cut so that the numbers and the timeline do not wrap, but not below the shortest length.
_NUMBERS_WIDTH = 62
_SHORTEST_LABEL = 16
# So is a step with a long command.
_LONGEST_STEP = 34
# How many heals the page and the JSON show.
_HEALS_SHOWN, _MOST_HEALS = 5, 1_000
# The possible widths of the timeline: divisors of the number of buckets. The widest that fits is used.
_TIMELINE_WIDTHS = (60, 30, 20, 15, 12, 10)
# A bucket counts as down from this share on: a check that hung or had to wait for another one fails some moments after
# its round began.
_ALL_THE_TIME = 0.99


class _Drawing(NamedTuple):
    """The characters of the timeline; tall ones catch the eye."""

    up: str
    partly: str
    down: str
    unwatched: str
    cut: str


_FINE = _Drawing("▁", "▄", "█", "·", "…")
_PLAIN = _Drawing("_", "o", "#", ".", "~")
_COLOURS = {"up": "\033[32m", "partly": "\033[33m", "down": "\033[31m"}


def report(*, since: float, as_json: bool) -> int:
    """Print the figures of the last `since` seconds; return 0, or 1 if the history cannot be read."""
    project = load_project(Path.cwd())
    now = time.time()
    try:
        with History(project).reading() as database:
            chapters = figures(database, since=since, now=now, with_measurements=as_json)
            most = _MOST_HEALS if as_json else _HEALS_SHOWN
            last = last_remediations(database, since=since, now=now, most=most)
    except HistoryError as error:
        print(f"auto-heal: {translated(str(error), project.language)}", file=sys.stderr)
        return FAILED
    if as_json:
        heals = [heal.stored() | {"downtime": heal.downtime} for heal in last]
        opened = {key: incident.id for key, incident in incidents.current(project).items()}
        print(json.dumps(document(chapters, opened, since=since, now=now) | {"heals": heals}, indent=2))
    else:
        words = Words(project.language)
        print("\n".join([*page(chapters, words, since=since, now=now), *_last(last, words)]))
    return 0


def document(chapters: Sequence[Chapter], opened: Mapping[str, str], *, since: float, now: float) -> dict[str, Any]:
    """Return the figures for programs: the window, the services with their checks, and the checks without a service.

    `opened` has the ids of the open incidents.
    """
    services = [
        {
            **_entry(chapter.service),
            "incident": opened.get(chapter.service.key),
            "checks": [_entry(check) for check in chapter.checks],
        }
        for chapter in chapters
        if chapter.service
    ]
    checks = [_entry(check) for chapter in chapters if not chapter.service for check in chapter.checks]
    return {"since": since, "now": now, "services": services, "checks": checks}


def _entry(stats: Figures) -> dict[str, Any]:
    shares = {"uptime_of_checks": stats.uptime_of_checks, "uptime_of_time": stats.uptime_of_time}
    return {**msgspec.to_builtins(stats), **shares}


def page(chapters: Sequence[Chapter], words: Words, *, since: float, now: float) -> list[str]:
    """Return the figures for people, as lines that fit the terminal."""
    length = spoken(since, words.language)
    period = words("period", start=_moment(now - since), end=_moment(now), length=length)
    if not chapters:
        return [words("nothing", period=period)]
    width = shutil.get_terminal_size().columns
    drawing = _FINE if _can_print("".join(_FINE)) else _PLAIN
    rows = [
        (_shortened(label, max(_SHORTEST_LABEL, width - _NUMBERS_WIDTH), drawing.cut), stats)
        for label, stats in _rows(chapters, words)
    ]
    label_width = max(len(label) for label, _ in rows)
    columns = next((number for number in _TIMELINE_WIDTHS if label_width + 2 + number <= width), _TIMELINE_WIDTHS[-1])
    return [
        words("from", period=period),
        "",
        *_table(rows, [*_UPTIME, ("FAILURES", partial(_failures, now=now))], words),
        "",
        *(f"{label.ljust(label_width)}  {_timeline(stats, columns, drawing)}".rstrip() for label, stats in rows),
        f"{' ' * label_width}  {_legend(drawing, words, spoken(since / columns, words.language))}",
        "",
        *_table(rows, _REPAIRS, words),
        words("percentiles"),
        *_what_helped(rows, words, drawing.cut),
    ]


def _what_helped(rows: _Rows, words: Words, cut: str) -> list[str]:
    """Return a table of the steps that were taken for each service and check; nothing if none was."""
    cells = [("", *map(words, ("STEP", "HELPED", "MEDIAN DOWNTIME")))]
    for label, stats in rows:
        for number, step in enumerate(stats.steps if stats else []):
            action = printable(translated_action(step.action, words.language))
            time = "-" if step.downtime is None else spoken(step.downtime, words.language)
            helped = words("of_all", count=step.helped, total=step.total)
            cells.append(("" if number else label, _shortened(action, _LONGEST_STEP, cut), helped, time))
    return ["", *aligned(cells)] if len(cells) > 1 else []


def _last(remediations: Sequence[Remediation], words: Words) -> list[str]:
    """Return a few lines for each of the last remediations: the cause, the action, and the folder of the evidence."""
    lines = ["", words("LAST HEALS")] if remediations else []
    for heal in remediations:
        cause = _cause(heal, words)
        lines.append(f"{_moment(heal.at)}  {heal.service}: {printable(cause)}")
        lines.append(f"  {printable(translated_action(heal.action, words.language))}, {_effect(heal, words)}")
        if heal.evidence:
            lines.append(f"  {words('evidence_in', folder=heal.evidence)}")
    return lines


def _cause(heal: Remediation, words: Words) -> str:
    cause = first_line(heal.cause)
    # An action by hand has no failure as its cause; the field holds the action.
    translate = translated_action if heal.origin == "hand" else translated
    return translate(cause, words.language).removeprefix(f"{heal.service}: ")


def _effect(heal: Remediation, words: Words) -> str:
    if not heal.ok:
        return words("in_vain_because", reason=heal.reason)
    if heal.downtime is None:
        return words("done")
    return words("answered_after", time=spoken(heal.downtime, words.language))


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _rows(chapters: Sequence[Chapter], words: Words) -> _Rows:
    rows: _Rows = []
    for chapter in chapters:
        rows.append((chapter.service.key, chapter.service) if chapter.service else (words("no_service"), None))
        rows += [(f"  {printable(check.name)}", check) for check in chapter.checks]
    return rows


def _shortened(label: str, limit: int, cut: str) -> str:
    return label if len(label) <= limit else f"{label[: limit - 1]}{cut}"


def _table(rows: _Rows, columns: _Columns, words: Words) -> list[str]:
    cells = [("", *(words(title) for title, _ in columns))]
    cells += [(label, *((cell(stats, words) if stats else "") for _, cell in columns)) for label, stats in rows]
    return aligned(cells)


def percentage(share: float, decimals: int, words: Words | None = None) -> str:
    """Return a share in percent: 100% only for all of it, 0% only for nothing."""
    least = 10.0**-decimals
    percent = round(share * 100, decimals)
    if 0 < share < 1:
        percent = min(max(percent, least), 100 - least)
    return (words or Words("en"))("percent", percent=f"{percent:.{decimals}f}")


def _of_time(stats: Figures, words: Words) -> str:
    if (share := stats.uptime_of_time) is None:
        return "-"
    return words("of_time", share=percentage(share, 2, words), time=spoken(stats.watched, words.language))


def _of_checks(stats: Figures, words: Words) -> str:
    if (share := stats.uptime_of_checks) is None:
        return "-"
    return words("of_checks", share=percentage(share, 1, words), passed=stats.passed, runs=stats.runs)


def _failures(stats: Figures, words: Words, *, now: float) -> str:
    if stats.down_since is None:
        return str(stats.failures)
    return words("down_for", failures=stats.failures, time=spoken(now - stats.down_since, words.language))


def _heals(stats: Figures, words: Words) -> str:
    heals = stats.heals
    if not heals or not heals.total:
        return "-"
    return words("heals", total=heals.total, ok=heals.ok, helped=heals.helped)


def _mtbf(stats: Figures, words: Words) -> str:
    return "-" if stats.mtbf is None else spoken(stats.mtbf, words.language)


def _percentiles(percentiles: Percentiles | None, words: Words) -> str:
    if percentiles is None:
        return "-"
    return f"{spoken(percentiles.median, words.language)} ({spoken(percentiles.p95, words.language)})"


_UPTIME: _Columns = (("UPTIME OF TIME WATCHED", _of_time), ("UPTIME OF CHECKS", _of_checks))
_REPAIRS: _Columns = (
    ("HEALS", _heals),
    ("MTTR", lambda stats, words: _percentiles(stats.mttr, words)),
    ("MTBF", _mtbf),
    ("LATENCY", lambda stats, words: _percentiles(stats.latency, words)),
)


def _timeline(stats: Figures | None, columns: int, drawing: _Drawing) -> str:
    """Return the timeline of a service or check with this many characters."""
    if stats is None:
        return ""
    size = BUCKETS // columns
    states = [_state(stats.timeline[first : first + size]) for first in range(0, BUCKETS, size)]
    return "".join(_coloured(state, getattr(drawing, state) * len(list(run))) for state, run in groupby(states))


def _state(buckets: Sequence[Bucket]) -> str:
    watched, down = sum(bucket.watched for bucket in buckets), sum(bucket.down for bucket in buckets)
    if not watched:
        return "unwatched"
    if not down:
        return "up"
    return "down" if down >= watched * _ALL_THE_TIME else "partly"


def _legend(drawing: _Drawing, words: Words, time: str) -> str:
    keys = {"up": "well", "partly": "partly", "down": "all_down", "unwatched": "nobody"}
    # Colours are not a part of the texts.
    states = "  ".join(f"{_coloured(state, getattr(drawing, state))} {words(key)}" for state, key in keys.items())
    return f"{states}; {words('each', time=time)}"


def _coloured(state: str, text: str) -> str:
    return f"{_COLOURS[state]}{text}\033[0m" if state in _COLOURS and colourful(STDOUT) else text
