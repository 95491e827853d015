"""How our watch grows with what it watches: a cycle over a crowd of services, and faults of ten of them at once."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cost_cases import Cycles, per_cycle
from ground import Ground
from report import Row, Table, milliseconds, quotient
from stopwatch import BenchError, Pace
from watch import Watch, watches
from watched import Service, hang
from watchers import Watcher, lay_out_ours

_IDLER = Path(__file__).with_name("idler.py")
# Shorter than any cycle: so one follows the other.
_NO_INTERVAL = 0.001
_INTERVAL = 1.0
_TEN = 10
_MOST_HANGS = 3
# Most of a boot is waiting, or ten boots at once would measure the number of CPUs.
_SLOW_BOOT = 0.5
_IMPATIENT = "timeout = 1\nretries = 2\nretry_delay = 0.5"
_LONGEST = 60.0
_SETTLE_SECONDS = 2.0
_POLL_SECONDS = 0.001

_CHECKS = """\
import pytest


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.heals(name)) for name in {names}])
def test_answers(services, name):
    assert services[name].get("/").status_code == 200
"""


def scaling(place: Ground, pace: Pace) -> Table:
    """A cycle over one service, over ten, over a hundred, one check each."""
    table = Table("Watched: a cycle, one check a service", ("wall", "CPU", "wall, each", "CPU, each"))
    found: list[tuple[int, Cycles]] = []
    for count in pace.crowds:
        with _crowd(place, count, interval=_NO_INTERVAL) as (watch, _):
            found.append((count, per_cycle(watch, pace.window / 4)))
    for count, each in found:
        shares = (each.wall, each.cpu, each.wall / count, each.cpu / count)
        cells = tuple(f"{share * 1000:.1f} ms" for share in shares)
        table.rows.append(Row(f"{count} service{'s' * (count > 1)}", cells))
    for (few, small), (many, large) in itertools.pairwise(found):
        cells = (quotient(large.wall, small.wall), quotient(large.cpu, small.cpu))
        table.rows.append(Row(f"{many} / {few}", cells))
    return table


def hung_crowd(place: Ground, pace: Pace) -> Table:
    """Ten services that answer nothing, and an eleventh that is killed meanwhile."""
    table = Table("Watched: ten hang, an eleventh is killed", ("median", "least"))
    with _crowd(place, _TEN + 1, interval=_INTERVAL) as (_, services):
        *ten, eleventh = services
        calm = [_until_well([eleventh]) for _ in range(pace.few)]
        meanwhile = []
        for _ in range(min(pace.few, _MOST_HANGS)):
            for service in ten:
                hang(service)
            # So that the cycle that meets them has begun.
            time.sleep(_INTERVAL)
            meanwhile.append(_until_well([eleventh], settle=False))
            _wait_for(ten)
    table.rows = [_row("the eleventh alone killed", calm), _row("while ten hang", meanwhile)]
    table.rows.append(_ratio("while ten hang / alone", meanwhile, calm, "about 1"))
    return table


def killed_crowd(place: Ground, pace: Pace) -> Table:
    """Ten services killed at once, against one."""
    table = Table("Watched: ten killed at once, or one", ("median", "least"))
    with _crowd(place, _TEN, interval=_INTERVAL, boot=_SLOW_BOOT) as (_, services):
        one = [_until_well(services[:1]) for _ in range(pace.few)]
        ten = [_until_well(services) for _ in range(pace.few)]
    table.rows = [_row("one, until it answers", one), _row("ten, until all answer", ten)]
    table.rows.append(_ratio("ten / one", ten, one, "at most 2"))
    table.notes.append(f"A boot waits {_SLOW_BOOT:g} s before it listens, so that the number of CPUs does not decide.")
    return table


@contextmanager
def _crowd(place: Ground, count: int, *, interval: float, boot: float = 0.0) -> Iterator[tuple[Watch, list[Service]]]:
    """Lend a watch of ours over so many services, all of them well."""
    more = {"SLOW": f"{boot:g}"}
    services = [Service(_IDLER, ("-I", "-S"), health="/", more=more) for _ in range(count)]
    names = {f"s{number}": service for number, service in enumerate(services)}
    checks = _CHECKS.format(names=list(names))

    def lay_out(folder: Path, _: Service) -> list[str]:
        return lay_out_ours(folder, names, interval=interval, top=_IMPATIENT, checks={"test_answers.py": checks})

    own = Watcher("auto-heal monitor", (), lay_out)
    with watches(place, [own], service=lambda: services[-1]) as ((watch,), _):
        _wait_for(services)
        time.sleep(_SETTLE_SECONDS)
        yield watch, services


def _until_well(services: list[Service], *, settle: bool = True) -> float:
    """Kill services, all at once, and return the seconds until all of them answer."""
    if settle:
        time.sleep(_SETTLE_SECONDS + random.uniform(0, 1))
    processes = [service.process() for service in services]
    began = time.perf_counter()
    for process in processes:
        process.kill()
    _wait_for(services)
    return time.perf_counter() - began


def _wait_for(services: list[Service]) -> None:
    end = time.perf_counter() + _LONGEST
    for service in services:
        while not service.answers():
            if time.perf_counter() > end:
                raise BenchError(f"the service on port {service.port} does not answer again within {_LONGEST:g}s")
            time.sleep(_POLL_SECONDS)


def _row(name: str, seconds: list[float]) -> Row:
    return Row(name, (milliseconds(statistics.median(seconds)), milliseconds(min(seconds))))


def _ratio(name: str, of: list[float], to: list[float], bound: str) -> Row:
    cells = (quotient(statistics.median(of), statistics.median(to)), quotient(min(of), min(to)))
    return Row(name, cells, bound)
