"""Fail a run of the tests if one was skipped without a known reason, so that a green run has proven everything."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest


class ExpectedSkips:
    """A plugin that compares the skipped tests with a list.

    A line of the list holds the pattern of a node id, a colon, and the beginning of the reason.
    """

    def __init__(self, file: Path) -> None:
        """Read the list. UsageError if it cannot be read."""
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise pytest.UsageError(f"--expected-skips: {file}: {error.strerror}") from None
        entries = [line.partition(": ") for line in lines if line.strip() and not line.startswith("#")]
        self._expected = [(pattern, reason.strip()) for pattern, _, reason in entries]
        self._unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a skip that is not in the list. An expected failure is not a skip."""
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = told.removeprefix("Skipped: ")
        if not any(
            fnmatchcase(report.nodeid, pattern) and reason.startswith(begin) for pattern, begin in self._expected
        ):
            self._unexpected.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run."""
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the skipped tests."""
        if self._unexpected:
            terminalreporter.section("skipped, and not in the list of expected skips", red=True)
            for line in self._unexpected:
                terminalreporter.line(line)
