"""The current status of each service, as the monitor knows it. Everything that the monitor reports comes from here.

A service is down as soon as its process is found dead, a cycle begins to heal it, or one of its checks fails for good.
It is up again when a newer result shows it. A result from a cycle that began before the last failure does not count.
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
    """The time during which a service is down."""

    since: float
    """When it began, in epoch seconds."""
    began: float
    """The same moment on the monotonic clock."""
    latest: float
    """When the service last failed, in epoch seconds."""
    number: int
    """The last cycle that had begun by then."""
    by: int | None
    """The cycle that saw the last failure; None if no cycle did."""
    cause: str
    recorded: bool = False
    """Whether a run contains it."""
    reported: bool = False
    """Whether it was reported, by a run or before one."""
    is_start: bool = False
    """Whether the service is down because it is started for the first time, which is no downtime."""


class ServiceStatus:
    """The status of each service. Safe to read from any thread."""

    def __init__(self, services: Iterable[str], *, clock: Clock = time.time, steady: Clock = time.monotonic) -> None:
        """Begin without a status for any of these services."""
        self._services = list(services)
        self._clock = clock
        self._monotonic = steady
        self._lock = threading.RLock()
        self._number = 0
        self._up: set[str] = set()
        self._outages: dict[str, Outage] = {}
        self._healing: dict[str, set[int]] = {}
        self._failing: dict[str, list[str]] = {}
        self._in_doubt = False
        # In seconds: the outages that are over, and the highest downtime that was reported.
        self._past: dict[str, float] = {}
        self._reported: dict[str, float] = {}

    def reload(self, services: Iterable[str]) -> None:
        """Forget the services that the configuration no longer has."""
        with self._lock:
            self._services = list(services)
            for name in {*self._up, *self._outages, *self._past, *self._reported} - set(self._services):
                self._up.discard(name)
                for by_name in (self._outages, self._healing, self._past, self._reported):
                    by_name.pop(name, None)

    # Queries.

    @property
    def down(self) -> list[str]:
        """The services that are down."""
        with self._lock:
            return sorted(self._outages)

    @property
    def is_healthy(self) -> bool:
        """Whether no service is down, no check fails, and the last full run was complete."""
        with self._lock:
            return not (self._outages or self._failing or self._in_doubt)

    @property
    def outages(self) -> dict[str, Outage]:
        """The current outages, by service."""
        with self._lock:
            return dict(self._outages)

    def is_up(self, name: str) -> bool | None:
        """Return whether a service is up; None if no run has checked it."""
        with self._lock:
            return False if name in self._outages else True if name in self._up else None

    def is_healing(self, name: str) -> bool:
        """Return whether a cycle heals a service now."""
        with self._lock:
            return bool(self._healing.get(name))

    def downtime(self, name: str) -> float:
        """Return the total downtime of a service until now, in seconds. The value never decreases."""
        with self._lock:
            total = self._past.get(name, 0.0)
            if (outage := self._outages.get(name)) and not outage.is_start:
                total += self._monotonic() - outage.began
            # We learn of a recovery only after it, and then the total is smaller.
            self._reported[name] = max(total, self._reported.get(name, 0.0))
            return self._reported[name]

    # Events.

    def begins(self, number: int) -> None:
        """Note that a cycle begins."""
        self._number = number

    def died(self, name: str, before: float | None = None) -> None:
        """Note that the process of a service died: now, or `before` a moment in epoch seconds."""
        with self._lock:
            now = self._clock()
            at = now if before is None else min(before, now)
            self._worsen(name, at, self._number, f"{name}: its process died")

    def stopped(self, name: str) -> None:
        """Note that a user has stopped a service by hand."""
        with self._lock:
            cause = f"{name}: stopped by hand"
            if outage := self._outages.get(name):
                outage.cause = outage.cause if outage.recorded else cause
            elif name in self._up:
                self._worsen(name, self._clock(), self._number, cause)

    def failed(self, number: int, name: str, since: float, cause: str, *, starting: bool = False) -> None:
        """Note that a check of a service failed for good in a running cycle, first at `since`, in epoch seconds."""
        with self._lock:
            self._worsen(name, since, number, cause, by=number, starting=starting)

    def heals(self, number: int, name: str, since: float, cause: str, *, starting: bool = False) -> None:
        """Note that a cycle begins to heal a service. Its first failed attempt was at `since`, in epoch seconds."""
        with self._lock:
            self._healing.setdefault(name, set()).add(number)
            self._worsen(name, since, number, cause, by=number, starting=starting)

    def returned(self, name: str, at: float) -> None:
        """Note that another process has restored a service, ready since `at`, in epoch seconds."""
        with self._lock:
            outage = self._outages.get(name)
            if outage and at >= outage.latest and not self._healing.get(name) and not self._is_failing(name):
                self._end(name, at)
                self._up.add(name)

    def enter(self, cycle: Cycle, run: Run) -> Run:
        """Add the run of a cycle that ended. Return the run with the true start of each outage."""
        with self._lock:
            for numbers in self._healing.values():
                numbers.discard(cycle.number)
            is_broken = run.verdict == "incomplete"
            whole = cycle.is_of_all and not is_broken
            if cycle.services is None:
                self._in_doubt = is_broken
            self._add_checks(run, whole=whole)
            results = [
                self._add_service(result, cycle) if result.kind == "service" else result for result in run.results
            ]
            checked = {result.key for result in results if result.kind == "service"}
            for name in self._services if whole else ():
                if name not in checked:
                    self._end(name, self._clock())
                    self._up.discard(name)
            if is_broken:
                results += [
                    _failed_result(name, outage)
                    for name, outage in sorted(self._outages.items())
                    if not outage.recorded and name not in checked and cycle.checks(name)
                ]
            for result in results:
                if result.outcome.has_failed and (outage := self._outages.get(result.key)):
                    outage.recorded = outage.reported = True
            return msgspec.structs.replace(run, results=results)

    def _add_checks(self, run: Run, *, whole: bool) -> None:
        checks = [result for result in run.results if result.kind == "check"]
        for key in self._failing.keys() - {check.key for check in checks} if whole else ():
            del self._failing[key]
        for check in checks:
            if check.outcome is CheckOutcome.FAILED:
                self._failing[check.key] = check.services
            elif check.outcome.is_well:
                self._failing.pop(check.key, None)

    def _is_failing(self, name: str) -> bool:
        """Return whether a check of a service failed when it last ran, even if other checks have passed since."""
        return any(name in services for services in self._failing.values())

    def _add_service(self, result: Result, cycle: Cycle) -> Result:
        """Add the result of a service. Return it with the true start of its outage."""
        name = result.key
        is_news = result.passed_at is not None and self._is_news(name, result.passed_at, cycle)
        if result.failed_at is not None:
            cause, earliest = result.message or "", cycle.began_steady
            outage = self._worsen(name, result.failed_at, cycle.number, cause, by=cycle.number, earliest=earliest)
            if not outage.recorded and outage.since < result.failed_at:
                result = msgspec.structs.replace(result, at=min(result.at, outage.since), failed_at=outage.since)
        elif result.outcome is CheckOutcome.SKIPPED:
            self._up.discard(name)
        if result.passed_at is None:
            return result
        if not is_news or self._is_failing(name):
            # It has failed again since, or only some of its checks have passed.
            outcome = CheckOutcome.FAILED if result.outcome.has_failed else CheckOutcome.SKIPPED
            return msgspec.structs.replace(result, outcome=outcome, passed_at=None)
        self._end(name, result.passed_at)
        if name in self._services:
            self._up.add(name)
        return result

    def _is_news(self, name: str, at: float, cycle: Cycle) -> bool:
        """Return whether a cycle's result from the moment `at` is newer than the last failure of a service."""
        outage = self._outages.get(name)
        if outage is None or cycle.number > outage.number or outage.by == cycle.number:
            return True
        return at >= outage.latest

    def _worsen(
        self, name: str, at: float, number: int, cause: str, *, by: int | None = None, earliest: float = 0.0,
        starting: bool = False,
    ) -> Outage:  # fmt: skip
        outage = self._outages.get(name)
        if outage is None:
            outage = Outage(at, self._moment(at, earliest), at, number, by, cause, is_start=starting)
            if name in self._services:
                self._outages[name] = outage
        else:
            outage.latest, outage.number, outage.by = max(outage.latest, at), max(outage.number, number), by
            outage.is_start &= starting
        return outage

    def _end(self, name: str, at: float) -> None:
        """End the outage of a service, if it has one."""
        if (outage := self._outages.pop(name, None)) and not outage.is_start:
            lasted = self._moment(at, outage.began) - outage.began
            self._past[name] = self._past.get(name, 0.0) + lasted

    def _moment(self, at: float, earliest: float) -> float:
        """Convert a past moment to the monotonic clock. It is never before `earliest`, even if the clock was set."""
        now = self._monotonic()
        return min(now, max(earliest, now - (self._clock() - at)))


def _failed_result(name: str, outage: Outage) -> Result:
    """Return the result of a service that is down and that an incomplete run did not reach."""
    since = outage.since
    return Result("service", name, name, [name], since, CheckOutcome.FAILED, since, message=outage.cause)
