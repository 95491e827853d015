"""Limit the time to collect a module. One that takes longer fails with the place where it hangs; the others run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from remediation.checks.heartbeat_plugin import HeartbeatPlugin
from remediation.messages.message import seconds
from remediation.supervision.attempt_log import AttemptLog, Collecting
from remediation.supervision.death import is_own
from remediation.supervision.handover import Handover

# How soon the alarm repeats if a module has swallowed it, in seconds.
_ALARM_INTERVAL = 1.0


class Collection:
    """The plugin that limits the time for each module, and goes on without those that exceed it."""

    def __init__(
        self,
        config: pytest.Config,
        *,
        timeout: float,
        handover: Handover,
        heartbeat: HeartbeatPlugin | None,
        log: AttemptLog | None,
        report_problem: Callable[[str], None],
    ) -> None:
        """Give each module `timeout` seconds, and call `report_problem` for each that cannot be collected."""
        self._config = config
        self._timeout = timeout
        self._handover = handover
        self._heartbeat = heartbeat
        self._log = log
        self._report_problem = report_problem
        self._late = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Collect a module within the time limit."""
        if self._heartbeat:
            self._heartbeat.collects(self._timeout)
        if self._log:
            is_folder = isinstance(collector, (pytest.Session, pytest.Directory))
            self._log.note(Collecting(collector.nodeid, is_folder=is_folder))
        alarm = _Alarm(collector, self._timeout)
        with alarm.set():
            report = yield
        if self._heartbeat:
            self._heartbeat.outside()
        if alarm.problem or collector.nodeid in self._handover.broken:
            # Even if the module caught the alarm, its collection may be incomplete.
            problem = alarm.problem or self._handover.broken[collector.nodeid]
            report = pytest.CollectReport(collector.nodeid, "failed", problem, [])
            self._late += 1
            self._report_problem(problem.partition("\n")[0])
            if self._log:
                self._log.note(Collecting(collector.nodeid, problem))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Let pytest run the other modules if nothing else is wrong."""
        if self._late and self._late == session.testsfailed:
            self._config.option.continue_on_collection_errors = True


def place_of(frame: FrameType | None, root: Path) -> str:
    """Return the innermost frame below `root`, or else the innermost of all, as file:line."""
    place = ""
    while frame:
        file, line = frame.f_code.co_filename, frame.f_lineno
        place = place or f"{file}:{line}"
        if is_own(file, root):
            return f"{file.removeprefix(f'{root}/')}:{line}"
        frame = frame.f_back
    return place


class _Alarm:
    """Interrupts the import of a module, unless it hangs where signals have no effect."""

    def __init__(self, collector: pytest.Collector, timeout: float) -> None:
        self._collector = collector
        self._timeout = timeout
        self.problem = ""

    @contextmanager
    def set(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old_handler = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._timeout, _ALARM_INTERVAL)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old_handler)

    def _ring(self, _number: int, frame: FrameType | None) -> None:
        limit = f"collect_timeout ({seconds(self._timeout)}s)"
        place, module = place_of(frame, self._collector.config.rootpath), self._collector.nodeid
        self.problem = f"{place}: the import of {module} takes longer than {limit}"
        raise pytest.Collector.CollectError(self.problem)
