"""Count the results of cycles, and report them to the log, the history and all other receivers."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from remediation.config.model import Project
from remediation.messages.message import first_line
from remediation.monitor.cycle import Cycle
from remediation.monitor.protocol import Over, Report
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.sinks import Sinks
from remediation.state import incidents
from remediation.state.history import History, HistoryError
from remediation.state.records import CheckOutcome, Run
from remediation.system.exit_codes import VERDICTS


class Totals(Struct):
    """The number of cycles, of cycles with a failure, and of successful heals."""

    checks: int = 0
    errors: int = 0
    heals: int = 0

    @property
    def successful(self) -> int:
        """The number of cycles without a failure."""
        return self.checks - self.errors

    @property
    def uptime(self) -> float:
        """The share of successful cycles, in percent."""
        return 100.0 * self.successful / self.checks if self.checks else 100.0


_BROKEN = "INTERNALERROR> "


class RunningStatistics:
    """The statistics of a running monitor."""

    def __init__(self, sinks: Sinks, service_status: ServiceStatus, log: Callable[..., None]) -> None:
        """Write to `log`, pass reports on to `sinks`, and keep `service_status` up to date."""
        self._sinks = sinks
        self._service_status = service_status
        self._log = log
        self.totals = Totals()
        self._project: Project | None = None
        self._history: History | None = None

    @property
    def status(self) -> str:
        """The statistics in a few words, and the services that are down."""
        totals, down = self.totals, self._service_status.down
        counts = {"check": totals.checks, "error": totals.errors, "heal": totals.heals}
        counted = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())
        return f"{counted}; down: {', '.join(down)}" if down else counted

    def enter(self, cycle: Cycle, over: Over, project: Project) -> None:
        """Count a cycle that has ended, report its result, and record it."""
        report = cycle.report
        problem = over.problem or ("" if over.code in VERDICTS else _last_line(over))
        if problem or report is None:
            self._log("cycle_broken", problem=problem or "it told nothing")
            run = Run(cycle.began, time.time(), "monitor", "incomplete", project.interval, [])
            remediations, gave_up = (report.remediations, report.gave_up) if report else ([], [])
            report = Report(cycle.number, over.code, run, remediations, gave_up)
        run = incidents.note(project, self._service_status.enter(cycle, report.run), self._log)
        report = msgspec.structs.replace(report, run=run)
        # An incomplete run does not contain the checks that it did not reach.
        whole = cycle.is_of_all and run.verdict != "incomplete"
        sick = bool(problem) or run.verdict not in ("healthy", "healed", "starting")
        self.totals.checks += 1
        self.totals.errors += run.verdict not in ("healthy", "starting") or any(
            result.outcome.has_failed for result in run.results
        )
        self.totals.heals += sum(remediation.ok for remediation in report.remediations)
        self._log_healthy(run, whole=whole)
        is_sick = sick or not self._service_status.is_healthy
        self._log("status_sick" if is_sick else f"status_{'starting' if run.verdict == 'starting' else 'healthy'}")
        self.log_statistics()
        self._record(run, project)
        problems = self._problems(run, problem) if is_sick else []
        self._sinks.observe(report, whole=whole, problems=problems)

    def _problems(self, run: Run, problem: str) -> list[str]:
        """Return what is wrong, a line for each failed check, or the services that are down by other signs."""
        failed = [
            f"{result.name}: {first_line(result.message or result.outcome.value)}"
            for result in run.results
            if result.kind == "check" and result.outcome is CheckOutcome.FAILED
        ]
        down = f"down: {', '.join(self._service_status.down)}" if self._service_status.down else run.verdict
        return [*filter(None, [problem]), *failed] or [down]

    def _log_healthy(self, run: Run, *, whole: bool) -> None:
        """Log that all services are healthy, or which are. The cycle itself has logged its failures."""
        if run.verdict != "healthy":
            return
        if whole and self._service_status.is_healthy:
            self._log("healthy")
            return
        services = [result.key for result in run.results if result.kind == "service"]
        if names := [name for name in services if self._service_status.is_up(name)]:
            self._log("one_healthy" if len(names) == 1 else "some_healthy", names=", ".join(names))

    def _record(self, run: Run, project: Project) -> None:
        if self._history is None or self._project is not project:
            self.close()
            self._project, self._history = project, History(project, stays_open=True)
        try:
            self._history.record_run(run)
        except HistoryError as error:
            self._log("no_history", problem=error)

    def close(self) -> None:
        """Close the history."""
        if self._history:
            self._history.close()

    def log_statistics(self) -> None:
        """Log the number of checks, errors and heals."""
        totals = self.totals
        self._log("statistics", checks=totals.checks, errors=totals.errors, heals=totals.heals)
        self._log("uptime", percent=f"{totals.uptime:.1f}", successful=totals.successful, checks=totals.checks)


def _last_line(over: Over) -> str:
    """Return the line of a broken cycle's output that explains it: the error of pytest itself, or the last line."""
    lines = over.output.strip().splitlines()
    reasons = [line.removeprefix(_BROKEN) for line in lines if line.startswith(_BROKEN)]
    # The lines of pytest's summary begin with "=".
    reasons = reasons or [line for line in lines if not line.startswith("=")] or lines
    return reasons[-1] if reasons else f"it ended with {over.code}"
