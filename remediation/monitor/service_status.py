"""How each service stands, as far as the monitor knows at this moment: all that it tells of them is taken from here.

A service is down from the moment at which that is known, be it by the death of its process, by a cycle that heals it,
or by a check that failed for good. It stays so until newer news show it well: what was seen before the last bad news,
in a cycle that began earlier, shows nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from remediation.state.records import CheckOutcome, Result, Run

if TYPE_CHECKING:
    from remediation.monitor.cycle import Cycle

Clock = Callable[[], float]


class Outage(msgspec.Struct):
    """A service is down."""

    since: float
    """In epoch seconds;"""
    began: float
    """the same on a clock that nobody sets."""
    latest: float
    """When the last bad news happened, in epoch seconds,"""
    number: int
    """the last cycle that had begun by then,"""
    by: int | None
    """and the cycle that told them, if one did."""
    cause: str
    entered: bool = False
    """Whether a run has told of it,"""
    told: bool = False
    """or people were told before one did."""


class ServiceStatus:
    """What is known of each service. It may be asked in any thread."""

    def __init__(self, services: Iterable[str], *, clock: Clock = time.time, steady: Clock = time.monotonic) -> None:
        """Know nothing yet of these services."""
        self._services = list(services)
        self._clock = clock
        self._steady = steady
        self._lock = threading.RLock()
        self._number = 0
        self._well: set[str] = set()
        self._troubles: dict[str, Outage] = {}
        self._healing: dict[str, set[int]] = {}
        self._failing: dict[str, list[str]] = {}
        self._in_doubt = False
        # Seconds of the troubles that are over, and the most that anybody was told.
        self._past: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def reload(self, services: Iterable[str]) -> None:
        """Forget the services that the configuration no longer has."""
        with self._lock:
            self._services = list(services)
            for name in {*self._well, *self._troubles, *self._past, *self._told} - set(self._services):
                self._well.discard(name)
                for known in (self._troubles, self._healing, self._past, self._told):
                    known.pop(name, None)

    # What there is to know.

    @property
    def down(self) -> list[str]:
        """The services that are down."""
        with self._lock:
            return sorted(self._troubles)

    @property
    def is_well(self) -> bool:
        """Whether nothing is known to be wrong with the project."""
        with self._lock:
            return not (self._troubles or self._failing or self._in_doubt)

    @property
    def troubles(self) -> dict[str, Outage]:
        """The services that are down, with what is known of that."""
        with self._lock:
            return dict(self._troubles)

    def is_up(self, name: str) -> bool | None:
        """Return whether a service is well; None if nobody has looked."""
        with self._lock:
            return False if name in self._troubles else True if name in self._well else None

    def downtime(self, name: str) -> float:
        """Return for how many seconds a service has been down in all, until now; never less than before."""
        with self._lock:
            total = self._past.get(name, 0.0)
            if trouble := self._troubles.get(name):
                total += self._steady() - trouble.began
            # That it is well again is known only a while after it is.
            self._told[name] = max(total, self._told.get(name, 0.0))
            return self._told[name]

    # What happens.

    def begins(self, number: int) -> None:
        """Note that a cycle begins."""
        self._number = number

    def died(self, name: str, before: float | None = None) -> None:
        """Note that the process of a service is found dead; it died before a moment, in epoch seconds, if not now."""
        with self._lock:
            now = self._clock()
            at = now if before is None else min(before, now)
            self._worsen(name, at, self._number, f"{name}: its process died")

    def stopped(self, name: str) -> None:
        """Note that somebody has stopped a service by hand."""
        with self._lock:
            cause = f"{name}: stopped by hand"
            if trouble := self._troubles.get(name):
                trouble.cause = trouble.cause if trouble.entered else cause
            elif name in self._well:
                self._worsen(name, self._clock(), self._number, cause)

    def failed(self, number: int, name: str, since: float, cause: str) -> None:
        """Note that a check of a service failed for good in a cycle that goes on, first at `since`."""
        with self._lock:
            self._worsen(name, since, number, cause, by=number)

    def heals(self, number: int, name: str, since: float, cause: str) -> None:
        """Note that a cycle begins to heal a service, whose first attempt failed at `since`, in epoch seconds."""
        with self._lock:
            self._healing.setdefault(name, set()).add(number)
            self._worsen(name, since, number, cause, by=number)

    def returned(self, name: str, at: float) -> None:
        """Note that somebody else has brought a service back, which was ready at a moment in epoch seconds."""
        with self._lock:
            trouble = self._troubles.get(name)
            if trouble and at >= trouble.latest and not self._healing.get(name) and not self._is_failing(name):
                self._end(name, at)
                self._well.add(name)

    def enter(self, cycle: Cycle, run: Run) -> Run:
        """Take in how a cycle ended, and return its run as it is to be told: trouble begins when it began."""
        with self._lock:
            for numbers in self._healing.values():
                numbers.discard(cycle.number)
            is_broken = run.verdict == "incomplete"
            whole = cycle.is_of_all and not is_broken
            if cycle.services is None:
                self._in_doubt = is_broken
            self._take_checks(run, whole=whole)
            told = [self._take(one, cycle) if one.kind == "service" else one for one in run.results]
            known = {one.key for one in told if one.kind == "service"}
            for name in self._services if whole else ():
                if name not in known:
                    self._end(name, self._clock())
                    self._well.discard(name)
            if is_broken:
                told += [
                    Result("service", name, name, [name], one.since, CheckOutcome.FAILED, one.since, message=one.cause)
                    for name, one in sorted(self._troubles.items())
                    if not one.entered and name not in known and cycle.checks(name)
                ]
            for result in told:
                if result.outcome.has_failed and (trouble := self._troubles.get(result.key)):
                    trouble.entered = trouble.told = True
            return msgspec.structs.replace(run, results=told)

    def _take_checks(self, run: Run, *, whole: bool) -> None:
        checks = [one for one in run.results if one.kind == "check"]
        for key in self._failing.keys() - {one.key for one in checks} if whole else ():
            del self._failing[key]
        for one in checks:
            if one.outcome is CheckOutcome.FAILED:
                self._failing[one.key] = one.services
            elif one.outcome.is_well:
                self._failing.pop(one.key, None)

    def _is_failing(self, name: str) -> bool:
        """Return whether a check of a service failed last time, though others may have passed since."""
        return any(name in services for services in self._failing.values())

    def _take(self, one: Result, cycle: Cycle) -> Result:
        """Take in what became of a service, and return it with the beginning of its trouble."""
        name = one.key
        is_news = one.passed_at is not None and self._is_news(name, one.passed_at, cycle)
        if one.failed_at is not None:
            cause, earliest = one.message or "", cycle.began_steady
            trouble = self._worsen(name, one.failed_at, cycle.number, cause, by=cycle.number, earliest=earliest)
            if not trouble.entered and trouble.since < one.failed_at:
                one = msgspec.structs.replace(one, at=min(one.at, trouble.since), failed_at=trouble.since)
        elif one.outcome is CheckOutcome.SKIPPED:
            self._well.discard(name)
        if one.passed_at is None:
            return one
        if not is_news or self._is_failing(name):
            # It was well, and is no longer; or only with some of its checks.
            outcome = CheckOutcome.FAILED if one.outcome.has_failed else CheckOutcome.SKIPPED
            return msgspec.structs.replace(one, outcome=outcome, passed_at=None)
        self._end(name, one.passed_at)
        if name in self._services:
            self._well.add(name)
        return one

    def _is_news(self, name: str, at: float, cycle: Cycle) -> bool:
        """Return whether what a cycle saw at a moment is newer than the last bad news of a service."""
        trouble = self._troubles.get(name)
        if trouble is None or cycle.number > trouble.number or trouble.by == cycle.number:
            return True
        return at >= trouble.latest

    def _worsen(
        self, name: str, at: float, number: int, cause: str, *, by: int | None = None, earliest: float = 0.0
    ) -> Outage:
        trouble = self._troubles.get(name)
        if trouble is None:
            trouble = Outage(at, self._moment(at, earliest), at, number, by, cause)
            if name in self._services:
                self._troubles[name] = trouble
        else:
            trouble.latest, trouble.number, trouble.by = max(trouble.latest, at), max(trouble.number, number), by
        return trouble

    def _end(self, name: str, at: float) -> None:
        """End the trouble of a service, if it is in any."""
        if trouble := self._troubles.pop(name, None):
            lasted = self._moment(at, trouble.began) - trouble.began
            self._past[name] = self._past.get(name, 0.0) + lasted

    def _moment(self, at: float, earliest: float) -> float:
        """Return a past moment on the clock that nobody sets, not before `earliest`, whatever was set meanwhile."""
        now = self._steady()
        return min(now, max(earliest, now - (self._clock() - at)))
