"""Take over from a session that ended in the middle of a check: replay its reports to pytest, and continue there."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

from remediation.checks.progress import ProgressReporter
from remediation.checks.pytest_internals import tear_down
from remediation.checks.report_replay import ReportReplay, keep_results
from remediation.checks.results import report_outcome
from remediation.checks.retries import Retries
from remediation.supervision.attempt_log import ReportOutcome
from remediation.supervision.handover import DeadAttempt, HandedOverCheck, Handover

_REPLAYED = "auto_heal_told"
# The reduction of pytest's verbosity during a replay; nobody passes as many `-v`.
_VERBOSITY_REDUCTION = 20


class Replay:
    """The plugin that replays the reports of earlier sessions instead of running their checks again."""

    def __init__(self, handover: Handover, retries: Retries, report_replay: ReportReplay) -> None:
        """Replay the reports of `handover`."""
        self._handover = handover
        self._retries = retries
        self._report_replay = report_replay
        self._verbosity_reduction = 0
        self.progress: ProgressReporter | None = None
        self.is_at_work = False
        """Whether the current report comes from an earlier session."""

    def take(self, handover: Handover, progress: ProgressReporter) -> None:
        """Replay the reports of `handover` from now on."""
        self._handover, self.progress = handover, progress

    @staticmethod
    def is_old(report: object) -> bool:
        """Return whether an earlier session has already shown a report."""
        return bool(getattr(report, _REPLAYED, False))

    def attempts(self, nodeid: str) -> int:
        """Return the number of attempts at a check in earlier sessions."""
        return self._handover.checks[nodeid].attempts if nodeid in self._handover.checks else 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Restore the verbosity: the earlier session has shown everything up to here."""
        if self._verbosity_reduction:
            session.config.option.verbose += self._verbosity_reduction
        self._verbosity_reduction = 0

    def reduce_output(self, config: pytest.Config, *, is_later_round: bool) -> None:
        """After an earlier session in this round, do not show the header again, and keep its results."""
        handover = self._handover
        if handover.checks or handover.crashed or (handover.broken and not is_later_round):
            keep_results(config)
            if hasattr(config.option, "verbose"):
                self._verbosity_reduction = _VERBOSITY_REDUCTION
                config.option.verbose -= self._verbosity_reduction

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Report a module that an earlier session could not collect, without importing it again."""
        if problem := self._handover.broken.get(collector.nodeid):
            return pytest.CollectReport(collector.nodeid, "failed", problem, [])
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Replay the reports of a check; run it only if attempts are left."""
        if (check := self._handover.checks.get(item.nodeid)) is None:
            return None
        is_over = check.is_over or not self._retries.retry_can_help(item)
        if self.progress:
            self.progress.has_begun(item.nodeid)
        self._report_replay.begin(item)
        self._replay(item, check, is_over=is_over)
        if is_over:
            self._report_replay.end(item)
            # Fixtures of this check alone were never set up here; those of the previous check may need a teardown.
            tear_down(item, nextitem)
            return True
        time.sleep(self._retries.retries(item)[1])
        return None

    def _replay(self, item: pytest.Item, check: HandedOverCheck, *, is_over: bool) -> None:
        # With more attempts than allowed, a plugin ran the check again at its report, and that ended the session.
        is_safe = check.attempts <= self._retries.retries(item)[0] + 1
        self.is_at_work = True
        try:
            for number, part in enumerate(check.parts):
                is_last = number + 1 == len(check.parts)
                if isinstance(part, DeadAttempt):
                    reports, is_new = part.reports(final=is_last and is_over), part.is_news
                else:
                    reports, is_new = [part.load()], False
                for report in reports:
                    setattr(report, _REPLAYED, not is_new)
                    if is_safe:
                        self._report_replay.replay(item, report)
                    is_repeated = report_outcome(report) is ReportOutcome.REPEATED
                    if is_new and is_repeated and self.progress:
                        self.progress.retries_after(report)
                    item.ihook.pytest_runtest_logreport(report=report)
        finally:
            self.is_at_work = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> Generator[None, Any, Any]:
        """Count the reports that an earlier session has shown, but do not show them again."""
        status = yield
        return (status[0], "", "") if self.is_at_work and self.is_old(report) else status
