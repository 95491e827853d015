"""Declared checks as pytest items: the configuration is a file of checks, like a module of Python."""

from __future__ import annotations

import os
import queue
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remediation.checks import FOLDER
from remediation.checks.ahead import Ahead
from remediation.checks.client import project_of
from remediation.checks.errors import ServiceDown
from remediation.checks.evaluation import Attempt, Evaluator, Subject
from remediation.checks.results import MEASUREMENTS
from remediation.checks.retries import EXTRA_TIME, Retries
from remediation.config.load import OWN_FILE
from remediation.config.model import Project
from remediation.config.positions import lines_of_checks
from remediation.messages.message import english, seconds

# How much longer than its deadline an attempt may take until it counts as one that hangs in a library, in seconds.
_GRACE = 1.0
# Options with which the first failure may be the last check.
_ONE_BY_ONE = ("maxfail", "usepdb", "stepwise", "trace")


class DeclaredChecks:
    """The plugin that collects the declared checks of a project, and runs them ahead of pytest."""

    def __init__(self, config: pytest.Config, project: Project, retries: Retries, *, one_by_one: bool) -> None:
        """Run them `one_by_one` where pytest may end early, or measures how long each takes."""
        _, store, sessions = project_of(config)
        self._config = config
        self._project = project
        self._retries = retries
        option = config.option
        # xdist hands a worker its checks one by one.
        one_by_one |= hasattr(config, "workerinput") or any(getattr(option, name, None) for name in _ONE_BY_ONE)
        self.is_ahead = not one_by_one
        """Whether attempts are made before pytest asks for them."""
        self._timeout = float(getattr(option, "timeout", None) or project.timeout)
        self.evaluator = Evaluator(project, store, sessions=sessions, timeout=self._timeout)
        self.ahead = Ahead[DeclaredCheck, Attempt](
            lambda item: self.evaluator.attempt(item.subject),
            wants_another=self._wants_another,
            delay=lambda item: retries.retries(item)[1],
        )
        if self._is_asked_for():
            # Relative, because pytest takes no absolute path with a bracket.
            config.args.append(os.path.relpath(project.source, config.invocation_params.dir))

    def _is_asked_for(self) -> bool:
        """Return whether the folder of the checks is an argument, and the configuration is not."""
        folder, base = self._project.root / FOLDER, self._config.invocation_params.dir
        arguments = {(base / argument.partition("::")[0]).resolve() for argument in self._config.args}
        return folder in arguments and self._project.source.resolve() not in arguments

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect the configuration as a file of checks, if it is an argument."""
        if file_path.name != self._project.source.name or not parent.session.isinitpath(file_path):
            return None
        if file_path.resolve() != self._project.source.resolve():
            return None
        return Configuration.from_parent(parent, path=file_path, plugin=self, project=self._project)

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Announce the checks of this process."""
        self.announce(session.items)

    def announce(self, items: Iterable[pytest.Item]) -> None:
        """Announce the checks that this process is about to run."""
        self.ahead.announce(item for item in items if isinstance(item, DeclaredCheck) and item.is_ahead)

    def attempt(self, item: DeclaredCheck) -> Attempt:
        """Return the next attempt at a check. ServiceDown if there is none in time."""
        delay = self._retries.retries(item)[1] if item.is_ahead else 0.0
        longest = self._timeout + delay + _GRACE / 2
        try:
            return self.ahead.next(item, longest)
        except queue.Empty:
            what = f"{item.subject.service.name}: {item.subject.name}"
            raise ServiceDown(english("unfinished", what=what, seconds=seconds(self._timeout))) from None

    def _wants_another(self, item: DeclaredCheck, attempt: Attempt, number: int) -> bool:
        if attempt.error is None or isinstance(attempt.error, pytest.skip.Exception):
            return False
        return number <= self._retries.retries(item)[0] and self._retries.retry_can_help(item, attempt.error)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report when the attempt was made and how long it took, not how long pytest waited for it."""
        report = yield
        if isinstance(item, DeclaredCheck) and call.when == "call" and item.attempt:
            report.start, report.duration = item.attempt.began, item.attempt.took
            report.stop = report.start + report.duration
        return report


class Configuration(pytest.File):
    """The configuration, with a node for each service that has checks."""

    def __init__(self, *, plugin: DeclaredChecks, project: Project, **kwargs: Any) -> None:
        """Collect the checks of a project."""
        super().__init__(**kwargs)
        self._plugin = plugin
        self._project = project

    def collect(self) -> Iterator[ServiceChecks]:
        """Yield a node for each service that has checks."""
        path = () if self.path.name == OWN_FILE else ("tool", "auto-heal")
        lines = lines_of_checks(self.path.read_text(encoding="utf-8", errors="surrogateescape"), *path)
        for service in self._project.services.values():
            subjects = [Subject(service, check, name) for check, name in _named(service.checks)]
            places = lines.get(service.name, [])
            if subjects:
                yield ServiceChecks.from_parent(
                    self, name=service.name, subjects=subjects, lines=places, plugin=self._plugin,
                    is_only=len(self._project.services) == 1,
                )  # fmt: skip


def _named(checks: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Yield each check with a name that no other check of its service has."""
    counts = Counter[str]()
    for check in checks:
        counts[check.name] += 1
        number = counts[check.name]
        yield check, check.name if number == 1 else f"{check.name} ({number})"


class ServiceChecks(pytest.Collector):
    """The checks of one service."""

    def __init__(
        self, *, subjects: list[Subject], lines: list[int | None], plugin: DeclaredChecks, is_only: bool, **kwargs: Any
    ) -> None:
        """Take the line of each check, if the lines are known, and whether the project has no other service."""
        super().__init__(**kwargs)
        self._subjects = subjects
        self._lines = lines
        self._plugin = plugin
        self._is_only = is_only

    def collect(self) -> Iterator[DeclaredCheck]:
        """Yield the checks."""
        lines = self._lines if len(self._lines) == len(self._subjects) else [None] * len(self._subjects)
        for subject, line in zip(self._subjects, lines, strict=True):
            label = subject.name if self._is_only else f"{subject.service.name}: {subject.name}"
            yield DeclaredCheck.from_parent(
                self, name=subject.name, subject=subject, label=label, line=line, plugin=self._plugin
            )


class DeclaredCheck(pytest.Item):
    """One declared check."""

    def __init__(
        self, *, subject: Subject, label: str, line: int | None, plugin: DeclaredChecks, **kwargs: Any
    ) -> None:
        """Take the place in the file, from 1 on, if it is known."""
        super().__init__(**kwargs)
        self.subject = subject
        self.label = label
        """The readable name, which has the service if there are several."""
        self.attempt: Attempt | None = None
        # Python cannot switch threads while it matches, so a pattern that takes for ever would stop all checks.
        self.is_ahead = plugin.is_ahead and not subject.check.may_match_for_ever
        """Whether its attempts are made before pytest asks for them."""
        if self.is_ahead:
            self.stash[EXTRA_TIME] = _GRACE
        self._line = line
        self._plugin = plugin
        names = (subject.service.name,) if subject.check.heals is None else subject.check.heals
        if names:
            self.add_marker(pytest.mark.heals(*names))

    def runtest(self) -> None:
        """Take the next attempt, and fail as it did."""
        __tracebackhide__ = True
        self.attempt = None
        self.attempt = self._plugin.attempt(self)
        self.user_properties[:] = self.attempt.properties
        self.stash[MEASUREMENTS] = self.attempt.measurements
        if self.attempt.error:
            raise self.attempt.error

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the check's place in the configuration; pytest counts lines from 0."""
        return self.path, None if self._line is None else self._line - 1, self.label
