"""How long a fault lasts under a watch: ours and others side by side, from the fault until the service answers."""

from __future__ import annotations

from functools import partial

from ground import Ground
from report import Row, Table, excess, milliseconds, ratio, times
from stopwatch import Pace, Series, Time, alongside, race, walk
from watch import Watch, boot, watches
from watched import PATIENT, Fault, Service, hang, kill, suspend, take_port
from watchers import OLD_SCRIPT, OTHERS, PM2, SUPERVISORD, ours

_COLUMNS = ("median", "least")

# Of the case in which only the answers show the fault.
_TIMEOUT, _RETRIES, _DELAY, _INTERVAL = 1.0, 2, 0.5, 1.0
_HANG = f"timeout = {_TIMEOUT}\nretries = {_RETRIES}\nretry_delay = {_DELAY}"
_SLOW_ROUNDS = 2


def watched_kill(place: Ground, pace: Pace) -> Table:
    """`kill -9`, against all others and the service's own boot."""
    table = Table("Watched: from kill -9 until it answers", (*_COLUMNS, "over boot"))
    own, single = ours(), Service()
    alone = Series("service alone, until answered", lambda: boot(place, single))
    with watches(place, (own, *OTHERS)) as (started, table.notes):
        series = {watch.watcher: _series(watch, kill, pace) for watch in started}
        race((*series.values(), alone), rounds=pace.few)
    for one in series.values():
        *cells, _ = times(one, cap=pace.cap).cells
        over = milliseconds(one.median.wall - alone.median.wall, cap=pace.cap)
        table.rows.append(Row(one.name, (*cells, over), "at most 50 ms" if one is series[own] else ""))
    table.rows.append(times(alone))
    rivals = [alone, *(series[rival] for rival in (PM2, SUPERVISORD) if rival in series)]
    for rival in rivals:
        table.rows.append(ratio(f"ours / {rival.name}", series[own], (rival,), "" if rival is alone else "below 1"))
    return table


def watched_stop(place: Ground, pace: Pace) -> Table:
    """SIGSTOP, which leaves a process that takes connections and does nothing."""
    return _endured(place, pace, "Watched: from kill -STOP until it answers", suspend)


def watched_port(place: Ground, pace: Pace) -> Table:
    """A service killed, and another process of the same user on its port at once, which says nothing."""
    return _endured(place, pace, "Watched: port taken, until it answers", take_port)


def watched_hang(place: Ground, pace: Pace) -> Table:
    """A hang that only the answers show, against what the configuration asks to be waited for."""
    table = Table("Watched: from a hang until it answers", _COLUMNS)
    single = Service(PATIENT)
    alone = Series("service alone, until answered", lambda: boot(place, single))
    wanted = _RETRIES * _TIMEOUT + (_RETRIES - 1) * _DELAY + _INTERVAL / 2
    waits = Series("retries x timeout + delays + interval / 2", lambda: Time(wanted))
    own = ours(interval=_INTERVAL, top=_HANG)
    with watches(place, [own], service=lambda: Service(PATIENT)) as ((watch,), _):
        one = _series(watch, hang, pace)
        race((one, waits, alone), rounds=pace.few, warm=False)
    table.rows = [
        times(one, cap=pace.cap), times(waits), times(alone),
        ratio("ours / (all that + service)", one, (waits, alone), "about 1, with the phase of the interval"),
        excess("ours - (all that + service)", one, (waits, alone), "no fixed wait"),
    ]  # fmt: skip
    return table


def _endured(place: Ground, pace: Pace, question: str, fault: Fault) -> Table:
    """Race ours alone, since it takes little time, and then the others side by side, since they mostly wait."""
    table = Table(question, _COLUMNS)
    own = ours()
    with watches(place, (own, *OTHERS)) as (started, table.notes):
        series = {watch.watcher: _series(watch, fault, pace) for watch in started}
        race([series[own]], rounds=pace.few, warm=False)
        slow = [
            (series[watch.watcher], partial(watch.recovery, fault, cap=pace.cap))
            for watch in started
            if watch.watcher is not own
        ]
        alongside(slow, rounds=min(pace.few, _SLOW_ROUNDS))
    table.rows = [times(one, cap=pace.cap) for one in series.values()]
    table.rows += [ratio(f"ours / {one.name}", series[own], (one,), "") for one, _ in slow if one.arrived]
    return table


def _series(watch: Watch, fault: Fault, pace: Pace) -> Series:
    limit = _SLOW_ROUNDS if watch.watcher is OLD_SCRIPT else None
    return Series(watch.watcher.name, lambda: walk(watch.recovery(fault, cap=pace.cap)), limit)
