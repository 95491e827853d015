"""The findings of a round that a session takes over when another session has ended in the middle of it."""

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
    """An attempt at a check that its session did not survive."""

    begun: Begun
    death: Death
    is_news: bool = True
    """Whether no session has reported it yet."""

    @property
    def may_be_repeated(self) -> bool:
        """Whether another attempt may follow."""
        return self.begun.number + 1 < self.begun.attempts

    def reports(self, *, final: bool) -> list[pytest.TestReport]:
        """Return the reports that pytest would have made of it. They are `final` if no other attempt follows."""
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
    """The findings about one check."""

    parts: list[Reported | DeadAttempt] = field(default_factory=list)
    attempts: int = 0
    """How many attempts have ended."""
    is_over: bool = False


class Handover(Struct):
    """The findings of all previous sessions."""

    checks: dict[str, HandedOverCheck] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Why a module cannot be collected, by its node ID."""
    crashed: list[str] = field(default_factory=list)
    """The node IDs of modules and folders during whose collection a session crashed."""
    claimed: list[int] = field(default_factory=list)
    """The groups of checks that have begun, by index."""

    def after(self, records: Iterable[Record], death: Death | None, root: Path) -> Handover | None:
        """Return the findings after a session with these records; None if its `death` belongs to no check or module.

        `root` is the folder of the project.
        """
        handover = deepcopy(self)
        return handover if handover.learn(records, death, root) else None

    def learn(self, records: Iterable[Record], death: Death | None, root: Path) -> bool:
        """Add the log of a session and its death. Return whether another session can take over."""
        self._mark_as_reported()
        current, collecting = self._add(records)
        if death is None:
            return True
        if death.phase is Phase.COLLECT and collecting:
            return self._learn_of_collection(collecting, death, root)
        # If the session crashed while it waited for the next attempt, something that this one left behind crashed it.
        is_between = death.phase is Phase.OUTSIDE and death.hung_for is None
        if current is None or not (death.phase.of_check or is_between):
            return False
        dead = DeadAttempt(current, death)
        # The log alone cannot be trusted: a plugin that restarts checks by itself may number each attempt as the first.
        before = self.checks[current.nodeid].attempts if current.nodeid in self.checks else 0
        is_over = not dead.may_be_repeated or before + 1 >= current.attempts
        self._end_attempt(current.nodeid, [dead], is_over=is_over)
        return True

    def _learn_of_collection(self, collecting: Collecting, death: Death, root: Path) -> bool:
        """Add a death during the collection of a module or folder. Return whether another session can take over."""
        nodeid = collecting.nodeid
        if death.hung_for is None and nodeid not in self.crashed:
            # Whatever is out of memory may be killed at any moment: one crash is not yet the fault of the module.
            self.crashed.append(nodeid)
            return True
        if collecting.is_folder:
            return False
        self.broken[nodeid] = f"{death.place(root) or nodeid}: the import of {nodeid} {death.text}"
        return True

    def _mark_as_reported(self) -> None:
        """Mark all dead attempts as reported."""
        for check in self.checks.values():
            for part in check.parts:
                if isinstance(part, DeadAttempt):
                    part.is_news = False

    def _add(self, records: Iterable[Record]) -> tuple[Begun | None, Collecting | None]:
        """Add the log of a session. Return the attempt and the module that it had begun but not finished."""
        current: Begun | None = None
        reports: list[Reported] = []
        collecting: Collecting | None = None
        for record in records:
            match record:
                case Claimed(group):
                    self.claimed.append(group)
                case Collecting(nodeid, problem):
                    collecting = record
                    self.broken |= {nodeid: problem} if problem else {}
                case Begun():
                    current, reports = record, []
                case Reported(nodeid, when) if current and nodeid == current.nodeid:
                    reports.append(record)
                    if when == "teardown":
                        is_over = not any(report.outcome is ReportOutcome.REPEATED for report in reports)
                        self._end_attempt(nodeid, reports, is_over=is_over)
                        current = None
        return current, collecting

    def _end_attempt(self, nodeid: str, parts: Sequence[Reported | DeadAttempt], *, is_over: bool) -> None:
        check = self.checks.setdefault(nodeid, HandedOverCheck())
        check.parts += parts
        check.attempts += 1
        check.is_over = is_over
