"""Count and tell how cycles end: to the terminal and the log, the history, and whoever else wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from remediation.journal.history import History, HistoryError
from remediation.journal.record import Run
from remediation.monitor.messages import Over, Report
from remediation.monitor.outputs import Outputs
from remediation.monitor.tally import Tally
from remediation.monitor.warm import WarmSession
from remediation.project.model import Project
from remediation.session.rounds import VERDICTS


@dataclass(slots=True)
class Cycle:
    """A cycle under way: of the checks of some services, or of all but those that others check at the moment."""

    number: int
    services: list[str] | None
    without: list[str]
    session: WarmSession
    began: float
    """In epoch seconds."""
    healing: dict[str, str] = field(default_factory=dict)
    """The services that it has begun to heal, with the causes."""
    report: Report | None = None

    def checks(self, service: str) -> bool:
        """Return whether it checks a service."""
        return service not in self.without and (self.services is None or service in self.services)


class Ledger:
    """The books of a monitor."""

    def __init__(self, outputs: Outputs, say: Callable[..., None]) -> None:
        """Tell by `say`, and hand on to `outputs`."""
        self._outputs = outputs
        self._say = say
        self.tally = Tally()
        self._project: Project | None = None
        self._history: History | None = None

    @property
    def status(self) -> str:
        """The statistics in a few words."""
        tally = self.tally
        return f"{tally.checks} checks, {tally.errors} errors, {tally.heals} heals"

    def enter(self, cycle: Cycle, over: Over, project: Project) -> None:
        """Count a cycle that has ended, tell how, and record it."""
        report = cycle.report
        problem = over.problem or ("" if over.code in VERDICTS else _last_line(over))
        if problem or report is None:
            self._say("cycle_broken", problem=problem or "it told nothing")
            run = Run(cycle.began, time.time(), "monitor", "incomplete", project.interval, [])
            heals, gave_up = (report.heals, report.gave_up) if report else ([], [])
            report = Report(cycle.number, over.code, run, heals, gave_up)
        # Of what it did not get to, it says nothing.
        whole = cycle.services is None and not cycle.without and report.run.verdict != "incomplete"
        sick = bool(problem) or report.run.verdict not in ("healthy", "healed")
        self.tally.checks += 1
        self.tally.errors += sick or any(one.failed_at is not None for one in report.run.results)
        self.tally.heals += sum(heal.ok for heal in report.heals)
        self._say("status_sick" if sick else "status_healthy")
        self.tell_statistics()
        self._record(report.run, project)
        self._outputs.observe(report, self.status, whole=whole)

    def _record(self, run: Run, project: Project) -> None:
        if self._history is None or self._project is not project:
            self.close()
            self._project, self._history = project, History(project, stays_open=True)
        try:
            self._history.record_run(run)
        except HistoryError as error:
            self._say("no_history", problem=error)

    def close(self) -> None:
        """Let go of the history."""
        if self._history:
            self._history.close()

    def tell_statistics(self) -> None:
        """Tell how many checks, errors and heals there were."""
        tally = self.tally
        self._say("statistics", checks=tally.checks, errors=tally.errors, heals=tally.heals)
        self._say("uptime", percent=f"{tally.uptime:.1f}", successful=tally.successful, checks=tally.checks)


def _last_line(over: Over) -> str:
    lines = over.output.strip().splitlines()
    return lines[-1] if lines else f"it ended with {over.code}"
