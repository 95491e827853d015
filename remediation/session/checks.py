"""The checks of a health run: their retries and deadlines, their failed attempts, their report."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediation.healer import look
from remediation.primitives import file
from remediation.primitives.process import Identity
from remediation.project.catalogue import Level
from remediation.project.config import load_project
from remediation.project.memory import Store
from remediation.project.model import Project
from remediation.project.schema import ConfigError
from remediation.project.voice import Voice, terminal
from remediation.session import attempts
from remediation.session.attempts import Attempts
from remediation.session.handles import Services
from remediation.session.junit import RoundReport
from remediation.session.narrator import Narrator
from remediation.session.plugin import FOLDER
from remediation.session.run import (
    ATTEMPTS_NAME,
    ROUND_FOLDER,
    SELECTED_NAME,
    TERMINAL_FD,
    XML_NAME,
    HealthRun,
    Options,
    Round,
)

# Folders of runs under way are called so, with the PID of their pytest.
_RUN_PREFIX = "run-"

_SEEN = pytest.StashKey[dict[str, int]]()
_PROJECT = pytest.StashKey[tuple[Project, Store, dict[str, Any]]]()


def project_of(config: pytest.Config) -> tuple[Project, Store, dict[str, Any]]:
    """Return the project that governs this session, its store, and its HTTP sessions by service.

    Raises UsageError, which pytest shows as one line and exits with 4.
    """
    if _PROJECT not in config.stash:
        try:
            project = load_project(config.invocation_params.dir)
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[_PROJECT] = project, Store(project), {}
    return config.stash[_PROJECT]


def services_for(request: pytest.FixtureRequest) -> Services:
    """Return the services for one attempt at a check."""
    project, store, sessions = project_of(request.config)
    return Services(project, store, sessions=sessions, properties=request.node.user_properties)


class Checks:
    """The plugin that a health run registers: once in the session, and once in each worker of xdist."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the configuration. UsageError if it cannot be used."""
        self._config = config
        self._project, self._store, _ = project_of(config)
        self._worker = hasattr(config, "workerinput")
        self._later_round = os.environ.get(ROUND_FOLDER)
        self._heal = _heal_wanted(config)
        self._attempts = Attempts()
        self._labels: dict[str, str] = {}
        self._selected: list[str] = []
        if self._later_round:
            self._select_by_list_alone()
        fd = os.environ.get(TERMINAL_FD, "")
        self._terminal = terminal(int(fd)) if fd.isdigit() else None
        self._narrator = Narrator(self._voice(self._terminal))
        if not self._worker:
            self._prepare_report()

    def _voice(self, shown: Callable[[str, Level], None] | None) -> Voice:
        project = self._project
        named = len(project.services) > 1
        return Voice(language=project.language, log_file=project.log_file, named=named, terminal=shown)

    def _select_by_list_alone(self) -> None:
        """Turn off what selects by the results of the round before, which would make this one partial."""
        for option in ("lf", "failedfirst", "newfirst"):
            if hasattr(self._config.option, option):
                setattr(self._config.option, option, False)

    # The report.

    def _prepare_report(self) -> None:
        """Let pytest write its XML where only we read it; the user's path gets the merged one, atomically."""
        option = self._config.option
        if not hasattr(option, "xmlpath"):
            raise pytest.UsageError("auto-heal reads its verdict from junitxml; do not disable that plugin")
        folder = self._config.invocation_params.dir
        self._report = folder / option.xmlpath if option.xmlpath else self._project.report
        self._folder = Path(self._later_round) if self._later_round else self._own_folder()
        option.xmlpath = str(self._report)
        if not self._later_round:
            try:
                with suppress(FileNotFoundError):
                    self._report.unlink()
            except OSError as error:
                raise pytest.UsageError(f"the report {self._report} cannot be replaced: {error.strerror}") from None

    def _own_folder(self) -> Path:
        """Make a folder for the reports of the rounds, and remove those of runs that were killed."""
        memory = self._project.memory
        for left in memory.glob(f"{_RUN_PREFIX}*"):
            pid = left.name.removeprefix(_RUN_PREFIX).partition("-")[0]
            if pid.isdigit() and Identity.of(int(pid)) is None:
                shutil.rmtree(left, ignore_errors=True)
        try:
            memory.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{_RUN_PREFIX}{os.getpid()}-", dir=memory))
        except OSError as error:
            raise pytest.UsageError(f"the folder {memory} cannot be written: {error.strerror}") from None

    def _writes_to(self, path: Path) -> None:
        # pytest has no public way to say where its XML goes once it has begun.
        for plugin in self._config.pluginmanager.get_plugins():
            if type(plugin).__name__ == "LogXML":
                plugin.logfile = str(path)

    def pytest_sessionstart(self) -> None:
        """Redirect pytest's XML before it is written, and spare the collector what cannot be garbage.

        pytest ends a session with five collections of the whole heap; what was there before the first check
        is modules, and looking through them took a tenth of a healthy run.
        """
        gc.freeze()
        if not self._worker:
            self._writes_to(self._folder / XML_NAME)

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        """Let pytest name the path at which the user finds the report."""
        self._writes_to(self._report)

    def pytest_unconfigure(self) -> None:
        """Remove the rounds' own reports."""
        if not self._worker and not self._later_round:
            shutil.rmtree(self._folder, ignore_errors=True)

    def pytest_report_header(self) -> str:
        """Say which services are meant, and whether they would be healed."""
        names = ", ".join(self._project.services)
        return f"auto-heal: {names} ({self._project.source.name}), healing {'auto' if self._heal else 'off'}"

    # The items.

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist that it runs checks."""
        node.workerinput[FOLDER] = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give each check its retries and its deadline, unless it or the command line has its own.

        A later round keeps to what the first one selected.
        """
        if self._later_round:
            wanted = set(msgspec.json.decode((Path(self._later_round) / SELECTED_NAME).read_bytes(), type=list[str]))
            unwanted = [item for item in items if item.nodeid not in wanted]
            items[:] = [item for item in items if item.nodeid in wanted]
            self._config.hook.pytest_deselected(items=unwanted)
        for item in items:
            for name in _heals(item):
                if name not in self._project.services:
                    known = ", ".join(sorted(self._project.services))
                    raise pytest.UsageError(f"{item.nodeid}: heals({name!r}): no such service; there are {known}")
            self._add_retries(item)
            self._add_deadline(item)
            self._labels[item.nodeid] = attempts.label(item)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what was selected, for later rounds."""
        self._selected = [item.nodeid for item in session.items] or self._selected

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Remember what a worker of xdist selected; the controller itself collects nothing."""
        self._selected = list(ids)

    def _add_retries(self, item: pytest.Item) -> None:
        option, own = self._config.option, item.get_closest_marker("flaky")
        if not self._config.pluginmanager.hasplugin("rerunfailures"):
            return
        if own is None and option.reruns is not None:
            arguments = {"reruns": option.reruns, "reruns_delay": option.reruns_delay or 0}
        elif own is None:
            arguments = {"reruns": self._project.retries - 1, "reruns_delay": self._project.retry_delay}
        else:
            names = ("reruns", "reruns_delay")
            arguments = {"reruns": 1, "reruns_delay": 0} | dict(zip(names, own.args, strict=False)) | dict(own.kwargs)
        arguments.setdefault("condition", lambda: self._retry_can_help(item))
        item.add_marker(pytest.mark.flaky(**arguments), append=False)

    def _retry_can_help(self, item: pytest.Item) -> bool:
        """Return whether another attempt could pass: not if a process that it needs is known to be dead."""
        services = [self._project.services[name] for name in _heals(item)]
        return all(look.retry_can_help(service, self._store) for service in services)

    def _add_deadline(self, item: pytest.Item) -> None:
        if not self._config.pluginmanager.hasplugin("timeout"):
            return
        if item.get_closest_marker("timeout") is None and self._config.option.timeout is None:
            # Only the signal method lets the session go on to its end, and so to the heal. For each phase
            # on its own, because rerunfailures runs all attempts, with the delays, inside one protocol.
            marker = pytest.mark.timeout(self._project.timeout, method="signal", func_only=True)
            item.add_marker(marker)

    @contextmanager
    def _deadline(self, item: pytest.Item) -> Generator[None]:
        """Apply pytest-timeout to set-up and teardown of a check, where func_only leaves them without."""
        marker = item.get_closest_marker("timeout")
        if marker is None or not marker.kwargs.get("func_only"):
            yield
            return
        from pytest_timeout import Settings  # type: ignore[import-untyped]

        hook = self._config.hook
        hook.pytest_timeout_set_timer(item=item, settings=Settings(marker.args[0], "signal", True, False))
        try:
            yield
        finally:
            hook.pytest_timeout_cancel_timer(item=item)

    # The attempts.

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say that a check begins."""
        if nodeid in self._labels and not self._worker:
            self._narrator.begins(nodeid, self._labels[nodeid])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Note before an attempt how many heals there were, so that a later one is known to be newer."""
        item.stash[_SEEN] = {name: self._store.recall(self._project.services[name]).heals for name in _heals(item)}
        with self._deadline(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Apply the deadline."""
        with self._deadline(item):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Fail a check of a service that was stopped by hand, whatever it asks."""
        for name in _heals(item):
            if self._store.recall(self._project.services[name]).stopped_by_hand:
                reason = look.hopeless(self._project.services[name], self._store)
                pytest.fail(str(reason), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note on the report what only the item knows, and say if another attempt follows."""
        report = yield
        marker = item.get_closest_marker("flaky")
        reruns, delay = (marker.kwargs["reruns"], marker.kwargs["reruns_delay"]) if marker else (0, 0)
        noted = attempts.note(item, call, heals=item.stash.get(_SEEN, {}))
        setattr(report, attempts.NOTE, noted | {"attempts": reruns + 1, "delay": float(delay)})
        number = getattr(item, "execution_count", 1)
        if report.failed and not self._worker and number <= reruns and self._retry_can_help(item):
            self._narrator.retries(number, reruns + 1, float(delay))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a failed attempt, and say how a check ended."""
        if self._worker:
            return
        if failed := attempts.attempt(report):
            self._attempts.add(failed)
        self._narrator.reports(report)

    # The end.

    def finish(self, exitstatus: int) -> int:
        """End a round: a later one leaves its attempts behind, the first one goes on to heal and to decide."""
        if self._worker or self._config.option.collectonly:
            return exitstatus
        if self._later_round:
            file.write(self._folder / ATTEMPTS_NAME, msgspec.json.encode(self._attempts.all))
            return exitstatus
        option = self._config.option
        run = HealthRun(
            project=self._project,
            store=self._store,
            voice=self._voice(self._terminal or self._pytest_terminal()),
            options=Options(heal=self._heal, rounds=option.heal_rounds, fail_on_heal=option.fail_on_heal),
            command=list(self._config.invocation_params.args),
            folder=self._config.invocation_params.dir,
            report=self._report,
            prefix=option.junitprefix,
            selected=self._selected,
        )
        code = run.finish(Round(exitstatus, RoundReport(self._folder / XML_NAME, self._attempts.all)))
        if reporter := self._config.pluginmanager.get_plugin("terminalreporter"):
            rounds = "1 round" if len(run.rounds) == 1 else f"{len(run.rounds)} rounds"
            reporter.write_line(f"auto-heal: {run.verdict} after {rounds}, report in {self._report}")
        return code

    def _pytest_terminal(self) -> Callable[[str, Level], None] | None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return None
        colours = {Level.SUCCESS: {"green": True}, Level.WARN: {"yellow": True}, Level.ERROR: {"red": True}}
        return lambda text, level: reporter.write_line(text, **colours.get(level, {}))


def _heals(item: pytest.Item) -> list[str]:
    """Return the services that a failure of a check may heal."""
    return list(dict.fromkeys(name for marker in item.iter_markers("heals") for name in marker.args))


def _heal_wanted(config: pytest.Config) -> bool:
    wanted = config.getoption("heal") or os.environ.get("AUTO_HEAL") or "auto"
    if wanted not in ("auto", "off"):
        raise pytest.UsageError(f"environment: AUTO_HEAL is {wanted!r}; known values: auto, off")
    return wanted == "auto"
