"""What a watch costs while all is well: a minute of each contestant's, a cycle of ours, and our rest."""

from __future__ import annotations

import math
import re
import shutil
import statistics
import time
from typing import NamedTuple

from ground import Ground
from meter import cpu, switches
from report import Row, Table, quotient
from stopwatch import DEADLINE, BenchError, Command, Pace
from watch import Watch, watches
from watchers import OTHERS, ours

# Until what is done once at the start is over.
_CALM_SECONDS = 3.0
_REST_SECONDS = 5.0
_NEVER = 3600.0
_SHORT_INTERVAL = 0.1
_MINUTE = 60.0
_LOOK_SECONDS = 0.001
_CYCLE = re.compile(r"Check #(\d+)")
# The same two requests as the old script's curls.
_TWO_CHECKS = ("health", "items")


def healthy_watch(place: Ground, pace: Pace) -> Table:
    """A minute of a watch over a service that is well, with a check a second."""
    table = Table("Watched: CPU of a healthy watch", ("a minute", "ours / it"))
    own = ours(checks=_TWO_CHECKS)
    with watches(place, (own, *OTHERS)) as (started, table.notes):
        time.sleep(min(pace.window, _CALM_SECONDS))
        began, before = time.perf_counter(), [cpu(watch.members()) for watch in started]
        time.sleep(pace.window)
        passed, after = time.perf_counter() - began, [cpu(watch.members()) for watch in started]
    used = [(late - early) * _MINUTE / passed for early, late in zip(before, after, strict=True)]
    runs = [place.pytest(place.health, "healthtests").finish().cpu for _ in range(pace.few)]
    rows = [(watch.watcher.name, value, watch.watcher.remark) for watch, value in zip(started, used, strict=True)]
    rows.append(("pytest healthtests, each second anew", statistics.median(runs) * _MINUTE, ""))
    table.rows = [Row(name, (f"{value:.2f} s", quotient(used[0], value)), remark) for name, value, remark in rows]
    return table


def cycle(place: Ground, pace: Pace) -> Table:
    """One healthy cycle with two checks, against the two curls that ask the same."""
    table = Table("Watched: CPU of a healthy cycle", ("mean", "/ two curls"))
    curls = statistics.fmean(_curls(place) for _ in range(pace.rounds)) if shutil.which("curl") else math.nan
    found = [("two curls", curls, "")]
    for name, checks, bound in (
        ("auto-heal monitor, two checks", _TWO_CHECKS, "at most 17 ms, where two curls cost that"),
        ("auto-heal monitor, and the process", (*_TWO_CHECKS, "process"), ""),
    ):
        with watches(place, [ours(interval=_SHORT_INTERVAL, checks=checks)]) as ((watch,), _):
            found.append((name, per_cycle(watch, pace.window / 2).cpu, bound))
    table.rows = [Row(name, (f"{value * 1000:.1f} ms", quotient(value, curls)), bound) for name, value, bound in found]
    return table


def rest(place: Ground, pace: Pace) -> Table:
    """Between two cycles nothing may run."""
    seconds = min(pace.window, _REST_SECONDS)
    table = Table(f"Watched: {seconds:g} s between two cycles", ("CPU", "switches"))
    with watches(place, [ours(interval=_NEVER)]) as ((watch,), _):
        time.sleep(min(pace.window, _CALM_SECONDS))
        members = watch.members()
        before = cpu(members), switches(members)
        time.sleep(seconds)
        used, woken = cpu(members) - before[0], switches(members) - before[1]
    name = f"auto-heal monitor, {len(members)} processes"
    table.rows = [Row(name, (f"{used * 1000:.1f} ms", str(woken)), "0 and 0")]
    return table


class Cycles(NamedTuple):
    """What cycles take, on average."""

    wall: float
    cpu: float


def per_cycle(watch: Watch, seconds: float) -> Cycles:
    """Return what a cycle of ours takes: whole cycles, for that many seconds or for one cycle at least."""
    first = _next_cycle(watch)
    began, used = time.perf_counter(), cpu(watch.members())
    time.sleep(seconds)
    count = _next_cycle(watch) - first
    return Cycles((time.perf_counter() - began) / count, (cpu(watch.members()) - used) / count)


def _next_cycle(watch: Watch) -> int:
    """Wait until a cycle begins and return its number."""
    before, end = _cycle(watch), time.perf_counter() + DEADLINE
    while (number := _cycle(watch)) == before:
        if time.perf_counter() > end:
            raise BenchError(f"no cycle within {DEADLINE:g}s:\n{watch.output.read_text()}")
        time.sleep(_LOOK_SECONDS)
    return number


def _cycle(watch: Watch) -> int:
    found = _CYCLE.findall(watch.output.read_text(encoding="utf-8", errors="replace"))
    return int(found[-1]) if found else 0


def _curls(place: Ground) -> float:
    """Return the CPU of the old script's two requests."""
    urls = (f"{place.url}/api/health", f"{place.url}/api/girls")
    script = "\n".join(f"curl -fsm 5 -o /dev/null {url}" for url in urls)
    # Without `exec` for the last one, so that both are children as in a loop.
    words = ["sh", "-c", f"{script}\ntrue"]
    return Command(words, cwd=place.root, env=place.environment(), output=place.root / "curls.txt").finish().cpu
