"""What is known of the checks of a round when a session takes over from one that ended in the middle of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from remediation.supervision.attempt_log import NOTE, Begun, Claimed, Collecting, Record, Reported, ReportOutcome
from remediation.supervision.death import Death
from remediation.supervision.heartbeat import Phase

if TYPE_CHECKING:
    import pytest


class DeadAttempt(Struct):
    """An attempt at a check in the middle of which its session ended."""

    begun: Begun
    death: Death
    is_news: bool = True
    """Whether nobody has told of it yet."""

    @property
    def may_be_repeated(self) -> bool:
        """Whether another attempt may follow."""
        return self.begun.number + 1 < self.begun.attempts

    def reports(self, *, final: bool) -> list[pytest.TestReport]:
        """Return the reports that pytest would have made of it; `final` if no other attempt follows."""
        phases = ("setup", "call", "teardown")
        failed = {Phase.SETUP: "setup", Phase.TEARDOWN: "teardown"}.get(self.death.phase, "call")
        reached = ("setup", "teardown") if failed == "setup" else phases
        return [self._report(when, failed=when == failed, final=final) for when in reached]

    def _report(self, when: str, *, failed: bool, final: bool) -> pytest.TestReport:
        import pytest

        begun, now = self.begun, time.time()
        report = pytest.TestReport(
            nodeid=begun.nodeid, location=begun.location, keywords={}, outcome="failed" if failed else "passed",
            longrepr=self.death.text if failed else None, when=when,  # type: ignore[arg-type]
            start=begun.started, stop=now, duration=max(0.0, now - begun.started) if failed else 0.0,
        )  # fmt: skip
        report.rerun = begun.number  # type: ignore[attr-defined]
        note = {
            "check": begun.check, "number": begun.number, "heals": begun.heals, "services": begun.services,
            "latency": None, "type": self.death.kind if failed else "", "attempts": begun.attempts,
            "delay": begun.delay,
        }  # fmt: skip
        setattr(report, NOTE, note)
        if failed and not final:
            report.outcome = ReportOutcome.REPEATED.value  # type: ignore[assignment]
        return report


class HandedOverCheck(Struct):
    """What is known of one check."""

    parts: list[Reported | DeadAttempt] = field(default_factory=list)
    attempts: int = 0
    """How many there were."""
    is_over: bool = False


class Handover(Struct):
    """What the sessions before have found."""

    checks: dict[str, HandedOverCheck] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Why a module cannot be collected, by its node ID."""
    claimed: list[int] = field(default_factory=list)
    """The groups of checks that were begun, by index."""

    def after(self, records: Iterable[Record], death: Death | None, root: Path) -> Handover | None:
        """Return what is known after a session with these records; None if its `death` was in none of them.

        `root` is the folder of the project.
        """
        known = deepcopy(self)
        return known if known.learn(records, death, root) else None

    def learn(self, records: Iterable[Record], death: Death | None, root: Path) -> bool:
        """Take in what a session noted and how it ended; return whether another one can go on after that."""
        self._are_told()
        current, collecting = self._add(records)
        if death is None:
            return True
        if death.phase is Phase.COLLECT and collecting:
            place = death.place(root) or collecting
            self.broken[collecting] = f"{place}: the import of {collecting} {death.text}"
            return True
        # One that crashed while it waited for the next attempt did so by what this one left behind.
        is_between = death.phase is Phase.OUTSIDE and death.hung_for is None
        if current is None or not (death.phase.of_check or is_between):
            return False
        dead = DeadAttempt(current, death)
        # However often it says that it is the first: what begins checks by itself must not do so for ever.
        before = self.checks[current.nodeid].attempts if current.nodeid in self.checks else 0
        is_over = not dead.may_be_repeated or before + 1 >= current.attempts
        self._end_attempt(current.nodeid, [dead], is_over=is_over)
        return True

    def _are_told(self) -> None:
        """Note that nothing of it is news any more."""
        for check in self.checks.values():
            for part in check.parts:
                if isinstance(part, DeadAttempt):
                    part.is_news = False

    def _add(self, records: Iterable[Record]) -> tuple[Begun | None, str]:
        """Add what a session noted; return the attempt and the module in the middle of which its notes end."""
        current: Begun | None = None
        reports: list[Reported] = []
        collecting = ""
        for record in records:
            match record:
                case Claimed(group):
                    self.claimed.append(group)
                case Collecting(nodeid, problem):
                    collecting = nodeid
                    self.broken |= {nodeid: problem} if problem else {}
                case Begun():
                    current, reports = record, []
                case Reported(nodeid, when) if current and nodeid == current.nodeid:
                    reports.append(record)
                    if when == "teardown":
                        is_over = not any(one.outcome is ReportOutcome.REPEATED for one in reports)
                        self._end_attempt(nodeid, reports, is_over=is_over)
                        current = None
        return current, collecting

    def _end_attempt(self, nodeid: str, parts: Sequence[Reported | DeadAttempt], *, is_over: bool) -> None:
        check = self.checks.setdefault(nodeid, HandedOverCheck())
        check.parts += parts
        check.attempts += 1
        check.is_over = is_over
