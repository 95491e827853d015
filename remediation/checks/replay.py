"""Take over from a session that ended in the middle of a check: tell pytest what it had found, and go on from there."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

from remediation.checks.progress import ProgressReporter
from remediation.checks.report_replay import ReportReplay, keep_results
from remediation.checks.results import report_outcome
from remediation.checks.retries import Retries
from remediation.supervision.attempt_log import ReportOutcome
from remediation.supervision.handover import DeadAttempt, HandedOverCheck, Handover

_TOLD = "auto_heal_told"
# By how much less pytest says then; nobody asks for as much more.
_HUSH = 20


class Replay:
    """The plugin that hands in the reports of earlier sessions in place of checks that they have run."""

    def __init__(self, known: Handover, patience: Retries, retelling: ReportReplay) -> None:
        """Hand in what is `known`."""
        self._known = known
        self._patience = patience
        self._retelling = retelling
        self._hushed = 0
        self.progress: ProgressReporter | None = None
        self.is_at_work = False
        """Whether a report that comes is one of before."""

    def take(self, known: Handover, progress: ProgressReporter) -> None:
        """Hand in what is `known` now."""
        self._known, self.progress = known, progress

    @staticmethod
    def is_old(report: object) -> bool:
        """Return whether a report was told of by a session before."""
        return bool(getattr(report, _TOLD, False))

    def attempts(self, nodeid: str) -> int:
        """Return how many attempts at a check there were before."""
        return self._known.checks[nodeid].attempts if nodeid in self._known.checks else 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """From here on, be heard again: the session before has shown what comes until then."""
        if self._hushed:
            session.config.option.verbose += self._hushed
        self._hushed = 0

    def hush(self, config: pytest.Config, *, is_later_round: bool) -> None:
        """If there was a session before in this round, do not show its head again, and leave its results alone."""
        if self._known.checks or (self._known.broken and not is_later_round):
            keep_results(config)
            if hasattr(config.option, "verbose"):
                self._hushed = _HUSH
                config.option.verbose -= self._hushed

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Say why a module cannot be collected, if that is known; it is not imported again."""
        if problem := self._known.broken.get(collector.nodeid):
            return pytest.CollectReport(collector.nodeid, "failed", problem, [])
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Hand in what is known of a check; run it only if attempts are left."""
        if (check := self._known.checks.get(item.nodeid)) is None:
            return None
        is_over = check.is_over or not self._patience.retry_can_help(item)
        if self.progress:
            self.progress.has_begun(item.nodeid)
        self._retelling.begin(item)
        self._hand_in(item, check, is_over=is_over)
        if is_over:
            self._retelling.end(item)
            # Fixtures that only this check needed were never set up here; those of the check before may have to go.
            item.session._setupstate.teardown_exact(nextitem)  # noqa: SLF001 - there is no public way
            return True
        time.sleep(self._patience.retries(item)[1])
        return None

    def _hand_in(self, item: pytest.Item, check: HandedOverCheck, *, is_over: bool) -> None:
        # More attempts than there may be: to be told of it made somebody run the check again, which ended the session.
        is_safe = check.attempts <= self._patience.retries(item)[0] + 1
        self.is_at_work = True
        try:
            for number, part in enumerate(check.parts):
                is_last = number + 1 == len(check.parts)
                if isinstance(part, DeadAttempt):
                    reports, is_news = part.reports(final=is_last and is_over), part.is_news
                else:
                    reports, is_news = [part.load()], False
                for report in reports:
                    setattr(report, _TOLD, not is_news)
                    if is_safe:
                        self._retelling.tell(item, report)
                    is_repeated = report_outcome(report) is ReportOutcome.REPEATED
                    if is_news and is_repeated and self.progress:
                        self.progress.retries_after(report)
                    item.ihook.pytest_runtest_logreport(report=report)
        finally:
            self.is_at_work = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> Generator[None, Any, Any]:
        """Count what the session before has shown already, but do not show it again."""
        status = yield
        return (status[0], "", "") if self.is_at_work and self.is_old(report) else status
