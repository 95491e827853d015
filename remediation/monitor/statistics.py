"""Count and tell how cycles end: to the terminal and the log, the history, and whoever else wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from remediation.config.model import Project
from remediation.monitor.cycle import Cycle
from remediation.monitor.protocol import Over, Report
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.sinks import Sinks
from remediation.state.history import History, HistoryError
from remediation.state.records import Run
from remediation.system.exit_codes import VERDICTS


class Totals(Struct):
    """How many checks there were, in how many of them something failed for good, and how many heals helped."""

    checks: int = 0
    errors: int = 0
    heals: int = 0

    @property
    def successful(self) -> int:
        """The checks in which nothing failed."""
        return self.checks - self.errors

    @property
    def uptime(self) -> float:
        """The share of successful checks, in percent."""
        return 100.0 * self.successful / self.checks if self.checks else 100.0


_BROKEN = "INTERNALERROR> "


class RunningStatistics:
    """The books of a monitor."""

    def __init__(self, sinks: Sinks, service_status: ServiceStatus, say: Callable[..., None]) -> None:
        """Tell by `say`, and hand on to `outputs`; what is known of the services is kept in `standing`."""
        self._sinks = sinks
        self._service_status = service_status
        self._say = say
        self.totals = Totals()
        self._project: Project | None = None
        self._history: History | None = None

    @property
    def status(self) -> str:
        """The statistics in a few words, and who is down."""
        totals, down = self.totals, self._service_status.down
        counts = {"check": totals.checks, "error": totals.errors, "heal": totals.heals}
        counted = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())
        return f"{counted}; down: {', '.join(down)}" if down else counted

    def enter(self, cycle: Cycle, over: Over, project: Project) -> None:
        """Count a cycle that has ended, tell how, and record it."""
        report = cycle.report
        problem = over.problem or ("" if over.code in VERDICTS else _last_line(over))
        if problem or report is None:
            self._say("cycle_broken", problem=problem or "it told nothing")
            run = Run(cycle.began, time.time(), "monitor", "incomplete", project.interval, [])
            remediations, gave_up = (report.remediations, report.gave_up) if report else ([], [])
            report = Report(cycle.number, over.code, run, remediations, gave_up)
        run = self._service_status.enter(cycle, report.run)
        report = msgspec.structs.replace(report, run=run)
        # Of what it did not get to, it says nothing.
        whole = cycle.is_of_all and run.verdict != "incomplete"
        sick = bool(problem) or run.verdict not in ("healthy", "healed")
        self.totals.checks += 1
        self.totals.errors += sick or any(one.outcome.has_failed for one in run.results)
        self.totals.heals += sum(one.ok for one in report.remediations)
        self._tell_verdict(run, whole=whole)
        self._say("status_sick" if sick or not self._service_status.is_well else "status_healthy")
        self.tell_statistics()
        self._record(run, project)
        self._sinks.observe(report, whole=whole)

    def _tell_verdict(self, run: Run, *, whole: bool) -> None:
        """Tell that nothing was wrong: with all, or else with whom. What was wrong, the cycle has told."""
        if run.verdict != "healthy":
            return
        if whole and self._service_status.is_well:
            self._say("healthy")
        elif well := [one.key for one in run.results if one.kind == "service" and self._service_status.is_up(one.key)]:
            self._say("one_healthy" if len(well) == 1 else "some_healthy", names=", ".join(well))

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
        totals = self.totals
        self._say("statistics", checks=totals.checks, errors=totals.errors, heals=totals.heals)
        self._say("uptime", percent=f"{totals.uptime:.1f}", successful=totals.successful, checks=totals.checks)


def _last_line(over: Over) -> str:
    """Return the line of what a broken cycle printed that says why: of an error of pytest itself, or the last."""
    lines = over.output.strip().splitlines()
    told = [line.removeprefix(_BROKEN) for line in lines if line.startswith(_BROKEN)]
    # Below that, pytest counts what it has run.
    told = told or [line for line in lines if not line.startswith("=")] or lines
    return told[-1] if told else f"it ended with {over.code}"
