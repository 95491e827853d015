"""What becomes of a fault: fault by fault and watcher by watcher, made for real, each at a watch of its own."""

from __future__ import annotations

import math
import random
import shutil
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import faults as done
import psutil
from faults import DISK, Harm, Harming, Post, harmed, is_root
from ground import SERVER, Ground, lives
from report import Matrix, Row, milliseconds
from stopwatch import BenchError, Pace
from watched import PATIENT, Service
from watchers import MONIT, PM2, RUNIT, SUPERVISORD, SUPERVISORD_ALONE, Watcher, ours

# All that check do so once a second and wait one second for an answer; httpok can only do it in five.
_OURS = ours(top="timeout = 1\nretries = 2\nretry_delay = 0.5")
_CONTESTANTS = (SUPERVISORD_ALONE, SUPERVISORD, PM2, MONIT, RUNIT, _OURS)
_MOST_ROUNDS = 3
# Of the cap of a race: some give up only after half a minute.
_PATIENCE = 1.5
_SETTLE_SECONDS = 2.5
_JITTER_SECONDS = 1.0
# For how long others are not disturbed by a next fault.
_ALONE_SECONDS = 1.5
# After a heal, until what is left over is left for good, or what began anew has ended in vain.
_AFTER_SECONDS = 4.0
_LONG_AFTER_SECONDS = 10.0

# What most programs do: a line on standard output, and nobody who thinks of what it may raise.
_TALKER = """\
import sys

sys.path.insert(0, {folder!r})
import server

print("starting", flush=True)
server.main()
"""

_VERSIONS = (
    ("supervisord", "--version"), ("pm2-runtime", "--version"), ("monit", "-V"), ("node", "--version"),
    ("dpkg-query", "-W", "-f", "runit ${Version}", "runit"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the table."""

    name: str
    harming: Harming
    service: Callable[[Ground], Service] = lambda _: Service()
    pid_file: bool = False
    """Whether it befalls only who keeps one."""
    root: bool = False
    again: bool = False
    """Whether to see, by a second crash, if the service is still watched."""


@dataclass(slots=True)
class Outcome:
    """What became of it: the seconds until it answered again, and what was wrong with that."""

    seconds: float
    flaws: list[str] = field(default_factory=list)
    then: float = math.nan
    """The seconds after a second crash."""


def _patient(**more: str) -> Callable[[Ground], Service]:
    return lambda _: Service(PATIENT, more=more)


def _talker(place: Ground) -> Service:
    script = place.root / "talker.py"
    script.write_text(_TALKER.format(folder=str(SERVER.parent)))
    return Service(script, log=f"{DISK}/api.log")


_FAULTS = (
    Fault("crash (`kill -9`)", done.kill),
    Fault("hang (`kill -STOP`)", done.suspended),
    Fault("hang that shows only in the answers", done.hung, _patient()),
    Fault("crash beside a deaf child", done.kill, _patient(CHILDREN="1", DEAF="1")),
    Fault("crash, and an orphaned child keeps the port", done.kill, _patient(HOLDERS="1")),
    Fault("crash, and a silent stranger takes the port", done.robbed),
    Fault("crash, and the PID file names no process", done.stale_pid_file, pid_file=True),
    Fault("crash, and the PID file names a bystander", done.reused_pid_file, pid_file=True),
    Fault("crash, log disk full", done.full_disk, lambda _: Service(log=f"{DISK}/api.log"), root=True),
    Fault("crash, log disk full, and the service dies of that", done.full_disk, _talker, root=True),
    Fault("crash of service and watcher", done.watcher_too, again=True),
    Fault("crash, and of the watcher half-way", done.watcher_half_way, again=True),
)


def faults(place: Ground, pace: Pace) -> Matrix:
    """Make every fault for every watcher on this machine."""
    present = [watcher for watcher in _CONTESTANTS if not watcher.missing]
    table = Matrix("fault", tuple(watcher.name for watcher in present))
    cap = pace.cap * _PATIENCE
    for fault in _FAULTS:
        rounds = [_round(place, fault, present, cap) for _ in range(min(pace.few, _MOST_ROUNDS))]
        cells = tuple(_verdict([one[watcher.name] for one in rounds], cap) for watcher in present)
        table.rows.append(Row(fault.name, cells))
        print(f"  {fault.name}: {', '.join(map(': '.join, zip(table.columns, cells, strict=True)))}", flush=True)
    table.notes = [f"{min(pace.few, _MOST_ROUNDS)} rounds. {'; '.join(_versions())}."]
    return table


def _round(place: Ground, fault: Fault, watchers: Iterable[Watcher], cap: float) -> dict[str, Outcome | str]:
    """Make a fault for each: one after another, but without waiting long for those that take long."""
    found: dict[str, Outcome | str] = {}
    posts: list[Post] = []

    def start(watcher: Watcher) -> None:
        try:
            posts.append(Post(place, watcher, fault.service(place)))
        except (BenchError, subprocess.CalledProcessError) as error:
            found[watcher.name] = str(error).splitlines()[0]

    def take(post: Post) -> None:
        try:
            found[post.watcher.name] = _outcome(post, fault, cap)
        except (BenchError, OSError, psutil.Error) as error:
            found[post.watcher.name] = str(error).splitlines()[0]

    able = []
    for watcher in watchers:
        if reason := _excused(watcher, fault):
            found[watcher.name] = reason
        else:
            able.append(watcher)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, able))
        time.sleep(_SETTLE_SECONDS)
        random.shuffle(posts)
        threads = [threading.Thread(target=take, args=(post,), daemon=True) for post in posts]
        for thread in threads:
            time.sleep(random.uniform(0, _JITTER_SECONDS))
            thread.start()
            thread.join(_ALONE_SECONDS)
        for thread in threads:
            thread.join()
    finally:
        for post in posts:
            post.end()
    return found


def _excused(watcher: Watcher, fault: Fault) -> str:
    if fault.pid_file and not watcher.pid_file:
        return "no PID file"
    return "not measured, needs root" if fault.root and not is_root() else ""


def _outcome(post: Post, fault: Fault, cap: float) -> Outcome:
    with harmed(post, fault.harming) as harm:
        outcome = Outcome(post.downtime(harm, cap=cap))
        if math.isfinite(outcome.seconds):
            time.sleep(_LONG_AFTER_SECONDS if fault.again else _AFTER_SECONDS)
        outcome.flaws += _flaws(post, harm)
        if math.isfinite(outcome.seconds) and fault.again:
            outcome.then = _after_second_crash(post, cap)
        if post.gave_up():
            outcome.flaws.append("gave up")
    return outcome


def _flaws(post: Post, harm: Harm) -> list[str]:
    flaws = []
    if left := sum(lives(child) for child in harm.children):
        flaws.append(f"left {left} process{'es' * (left > 1)}")
    if any(not lives(stranger) for stranger in harm.strangers):
        flaws.append("ended the stranger" if harm.victim in harm.strangers else "killed the bystander")
    if len(post.heads() - harm.children) > 1:
        # One that ends for want of the port is no second one.
        time.sleep(1.0)
        if len(post.heads() - harm.children) > 1:
            flaws.append("second server")
    return flaws


def _after_second_crash(post: Post, cap: float) -> float:
    listening = post.service.process()
    at = time.perf_counter()
    with suppress(psutil.NoSuchProcess):
        listening.kill()
    return post.downtime(Harm(at, listening), cap=cap)


def _verdict(outcomes: list[Outcome | str], cap: float) -> str:
    """Put the rounds together: the median, and each flaw that occurred."""
    real = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    if not real:
        return str(outcomes[0])
    seconds = statistics.median(outcome.seconds for outcome in real)
    parts = [_duration(seconds, cap)]
    healed = sum(math.isfinite(outcome.seconds) for outcome in real)
    if 0 < healed < len(real):
        parts.append(f"healed in {healed} of {len(real)}")
    if again := [outcome.then for outcome in real if not math.isnan(outcome.then)]:
        then = statistics.median(again)
        parts.append(
            f"after a second crash never within {cap:g} s" if math.isinf(then) else f"then {milliseconds(then)}"
        )
    flaws = Counter(flaw for outcome in real for flaw in outcome.flaws)
    parts += [flaw if count == len(real) else f"{flaw} in {count} of {len(real)}" for flaw, count in flaws.items()]
    return "; ".join(parts + sorted({str(outcome) for outcome in outcomes if not isinstance(outcome, Outcome)}))


def _duration(seconds: float, cap: float) -> str:
    return f"never within {cap:g} s" if math.isinf(seconds) else milliseconds(seconds)


def _versions() -> Iterable[str]:
    for program, *options in _VERSIONS:
        if shutil.which(program):
            run = subprocess.run([program, *options], capture_output=True, text=True)
            first = run.stdout.strip().splitlines()[-1] if program != "monit" else run.stdout.splitlines()[0]
            yield f"{first}" if program in {"monit", "dpkg-query"} else f"{program} {first}"
