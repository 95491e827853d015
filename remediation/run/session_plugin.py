"""The pytest plugin of a health run. It follows the checks from their selection to the end of the round."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import msgspec
import pytest
from auto_heal_command import conflict, other_package
from msgspec.structs import replace

from remediation.checks import FOLDER, results
from remediation.checks.client import project_of
from remediation.checks.collect_timeout import Collection
from remediation.checks.heartbeat_plugin import HeartbeatPlugin
from remediation.checks.import_hint import ImportHint
from remediation.checks.progress import ProgressReporter
from remediation.checks.pytest_internals import attempts_from
from remediation.checks.redact_reports import Redaction
from remediation.checks.replay import Replay
from remediation.checks.report_replay import ReportReplay
from remediation.checks.results import Attempts, Ends, Results, RoundFindings
from remediation.checks.retries import Retries, heals, is_debugged
from remediation.checks.selection import Selection
from remediation.checks.session_failure import SessionFailure
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.deployment import context
from remediation.deployment.context import Deployment
from remediation.engines import engine_of
from remediation.healing import backoff, liveness
from remediation.messages.catalog import Level
from remediation.run.health_run import Fork, Heals, HealthRun, Options
from remediation.run.report_files import Files, only_lists
from remediation.run.rounds import Part, Round, combine, read_round
from remediation.run.run_state import RunState
from remediation.state.event_log import EventLog, Terminal, terminal
from remediation.supervision import protocol
from remediation.supervision.attempt_log import NOTE, AttemptLog, Begun
from remediation.supervision.death import write_stacks_to
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import Phase
from remediation.supervision.protocol import Healing, SupervisorLink, Verdict
from remediation.supervision.round_files import FINDINGS_NAME
from remediation.system import environment, files
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, PASSED, VERDICTS

if TYPE_CHECKING:
    from remediation.checks.declared import DeclaredChecks
    from remediation.checks.xdist_workers import ControllerSide, WorkerSide
    from remediation.run.deploy_session import DeploySession
    from remediation.run.hooks import PytestHooks

_STDOUT = 1
# The names of the hooks that a project may have.
_HOOKS = ("auto_heal_before", "auto_heal_after", "auto_heal_step", "auto_heal_notify")
# How long a cycle of the monitor waits for a blocked terminal, in seconds.
_TERMINAL_TIMEOUT = 0.5
# How many heals each service had before the attempt.
_HEALS_BEFORE = pytest.StashKey[dict[str, int]]()
# The message of an earlier, failed attempt at the check.
_FAILURE = pytest.StashKey[str]()


class SessionPlugin:
    """The plugin that a health run registers: once in the session, and once in each worker of xdist."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the configuration. UsageError if it cannot be used."""
        self._config = config
        self._project, self._store, _ = project_of(config)
        self._later_round = environment.value(environment.ROUND_FOLDER)
        self._fork: Fork | None = None
        self._began = time.time()
        self._heal = _heal_wanted(config)
        self._attempts = Attempts()
        self._results = Results()
        self._environ = dict(os.environ)
        self._path = list(sys.path)
        self._claimed: set[str] = set()
        self._ends = Ends()
        self._log_to(_own_terminal())
        self._deploy_session = _deploy_session(config, self._project)
        deployment = self._deploy_session.deployment if self._deploy_session else None
        self._selection = Selection(config, self._project, deployment, self._later_round)
        self._retries = Retries(config, self._project, self._store)
        # None in a worker of xdist: it only runs checks, and its controller does the rest.
        self._files = None if hasattr(config, "workerinput") else Files(config, self._project, self._store.reserve)
        sampling = self._deploy_session.sampling if self._deploy_session else None
        self._failure = SessionFailure(config)
        self._declared = self._declared_checks(one_by_one=sampling is not None)
        plugins = [
            self._selection, self._retries, self._declared, self._files, sampling, Redaction(), self._failure,
            ImportHint(), *self._supervision_plugins(),
        ]  # fmt: skip
        for plugin in filter(None, plugins):
            config.pluginmanager.register(plugin, f"auto-heal-{type(plugin).__name__.lower()}")

    def _declared_checks(self, *, one_by_one: bool) -> DeclaredChecks | None:
        """Return the plugin of the declared checks; None if the project has none."""
        if not self._project.declares_checks:
            return None
        from remediation.checks.declared import DeclaredChecks

        declared = DeclaredChecks(self._config, self._project, self._retries, one_by_one=one_by_one)
        declared.evaluator.is_later_round = self._later_round is not None
        return declared

    def _supervision_plugins(self) -> list[object]:
        """Return the plugins that report this session's progress and take over from an earlier session."""
        config, self._supervisor = self._config, protocol.current
        timeout = self._project.collect_timeout
        worker: WorkerSide | None = None
        self._log: AttemptLog | None = None
        self._heartbeat: HeartbeatPlugin | None = None
        handover = Handover()
        self._controller: ControllerSide | None = None
        if hasattr(config, "workerinput"):
            from remediation.checks.xdist_workers import WorkerSide

            worker = WorkerSide(config, timeout)
            self._log, self._heartbeat, handover = worker.log, worker.heartbeat, worker.handover
        elif supervisor := self._supervisor:
            self._log, handover = supervisor.log, supervisor.known
            self._heartbeat = HeartbeatPlugin(supervisor.heartbeats, supervisor.slot, timeout)
            if self._files and getattr(config.option, "tx", None):
                from remediation.checks.xdist_workers import ControllerSide

                self._controller = ControllerSide(config, supervisor, self._files.folder, self._heartbeat)
        report_replay = ReportReplay(config)
        self._replay = Replay(handover, self._retries, report_replay)
        self._replay.progress = self._progress
        self._replay.reduce_output(config, is_later_round=self._later_round is not None)
        collection = Collection(
            config, timeout=timeout, handover=handover, heartbeat=self._heartbeat, log=self._log,
            report_problem=self._log_not_collected,
        )  # fmt: skip
        return [worker, self._controller, self._heartbeat, report_replay, self._replay, collection]

    def _log_not_collected(self, reason: str) -> None:
        if self._files and not self._later_round:
            self._event_log().log("not_collected", reason=reason)

    def _event_log(self) -> EventLog:
        return EventLog.of(self._project, terminal=self._terminal or self._pytest_terminal())

    def _log_to(self, own_terminal: Terminal | None) -> None:
        self._terminal = own_terminal
        self._progress = ProgressReporter(EventLog.of(self._project, terminal=own_terminal))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Write a stack after a crash, and continue the count of attempts."""
        if self._supervisor:
            write_stacks_to(self._supervisor.stacks)
            self._continue_counting()
        self._warn()

    def _warn(self) -> None:
        """Log who else may write what is run here, and before a plan, what runs and is no longer configured."""
        if self._files is None or self._later_round or only_lists(self._config):
            return
        for why in self._project.untrusted:
            self._event_log().log("untrusted", why=why)
        if self._heal == "plan":
            from remediation.engines.orphans import log_orphans

            log_orphans(self._store, self._event_log())

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Exclude what was loaded before the first check, mostly modules, from garbage collection.

        The collector has been off since the fork. pytest ends a session with five collections of the whole heap;
        they took a tenth of a healthy run.
        """
        try:
            result = yield
            if self._files and (path := other_package()):
                # pytest put the folder of a package of checks on the import path.
                raise pytest.UsageError(conflict(path))
            return result
        finally:
            gc.freeze()
            if self._supervisor:
                gc.enable()

    def _continue_counting(self) -> None:
        """Make rerunfailures count the attempts of earlier sessions."""
        attempts_from(self._config, self._replay.attempts)

    def pytest_report_header(self) -> str:
        """Name the services, and say whether the run may heal them."""
        from remediation.messages.words import Words

        words = Words(self._project.language)
        return words(
            "header",
            names=", ".join(self._project.services),
            source=self._project.source.name,
            heal=words(f"heal_{self._heal}"),
            debugged=words("debugged") if is_debugged() else "",
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist that it runs checks."""
        node.workerinput[FOLDER] = True

    def begin_anew(self, fork: Fork) -> Iterable[Service]:
        """Turn a fork of a session that has collected into a run, or a later round, of its own.

        Returns the services of the project.
        """
        if self._files is None:
            raise RuntimeError("a worker of xdist is not forked")
        self._fork, self._began = fork, time.time()
        self._log = fork.log
        if self._deploy_session:
            # Whatever the options say, a monitor does not accompany a deployment.
            self._config.pluginmanager.unregister(self._deploy_session.sampling)
            self._deploy_session = None
        self._later_round = str(fork.folder) if fork.later else None
        if self._declared:
            self._declared.evaluator.is_cycle, self._declared.evaluator.is_later_round = True, fork.later
        self._files.begin_anew(fork.folder, later=fork.later)
        self._selection.selected, self._claimed = fork.selected, set()
        # A blocked terminal must not delay a heal.
        self._log_to(_own_terminal(timeout=_TERMINAL_TIMEOUT))
        self._replay.take(fork.known, self._progress)
        self._continue_counting()
        return self._project.services.values()

    def is_starting(self, name: str) -> bool:
        """Return whether a service is in its start period."""
        return liveness.starting_until(self._project.services[name], self._store) is not None

    @property
    def folder(self) -> Path:
        """The folder for the findings of this process."""
        if self._files is None:
            raise RuntimeError("a worker of xdist leaves nothing")
        return self._files.folder

    def claim(self, items: Sequence[pytest.Item]) -> None:
        """Record in a fork that this process runs these checks of the round."""
        self._claimed |= {item.nodeid for item in items}
        if self._declared:
            self._declared.announce(items)

    def pytest_collection_finish(self) -> None:
        """Remember the import path, which now includes the folders of the checks. UsageError for a wrong hook."""
        self._path = list(sys.path)
        if self._files and self.hooks:
            try:
                self.hooks.require_valid()
            except ConfigError as error:
                raise pytest.UsageError(str(error)) from None

    @cached_property
    def hooks(self) -> PytestHooks | None:
        """The hooks of the project; None if no plugin has one."""
        plugins = self._config.pluginmanager.get_plugins()
        if not any(hasattr(plugin, name) for plugin in plugins for name in _HOOKS):
            return None
        from remediation.run.hooks import PytestHooks

        return PytestHooks(self._config.pluginmanager, self._log_of_hooks)

    def _log_of_hooks(self, key: str, **values: object) -> None:
        self._event_log().log(key, **values)

    # The attempts.

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Log that a check begins."""
        if nodeid in self._selection.labels and self._files:
            self._progress.begins(nodeid, self._selection.labels[nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note the number of heals before an attempt, so that a later heal is recognized as newer."""
        failed_services = set(heals(item)) & self._attempts.failed_services
        if failed_services and self._will_heal(failed_services):
            # Do not wait again for a service that will be healed anyway. The round after the heal runs all checks.
            pytest.skip(f"{', '.join(sorted(failed_services))} is already known to be sick")
        heals_before = {name: self._store.recall(self._project.services[name]).heals for name in heals(item)}
        item.stash[_HEALS_BEFORE] = heals_before
        if self._log:
            retries, delay = self._retries.retries(item)
            number = getattr(item, "execution_count", 1) - 1
            self._log.note(
                Begun(
                    item.nodeid, item.location, results.label(item), heals(item), heals_before, number, retries + 1,
                    delay, time.time(),
                )
            )  # fmt: skip

    def _will_heal(self, names: Iterable[str]) -> bool:
        """Return whether this cycle of the monitor will probably heal all these services."""
        if not self._fork or self._heal != "auto" or self._store.paused():
            return False
        services = [self._project.services[name] for name in names]
        states = [self._store.recall(service) for service in services]
        is_held_back = any(backoff.waits(state) or state.stopped_by_hand for state in states)
        is_held_back |= any(map(self.is_starting, names))
        is_held_back |= any(self._store.paused(service.name) is not None for service in services)
        return not is_held_back and all(engine_of(service).can_start for service in services)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Fail every check of a service that was stopped by hand."""
        for name in heals(item):
            if self._store.recall(self._project.services[name]).stopped_by_hand:
                reason = liveness.hopeless(self._project.services[name], self._store)
                pytest.fail(str(reason), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to the report what only the item knows, and log if another attempt follows."""
        report = yield
        sampling = self._deploy_session.sampling if self._deploy_session else None
        if sampling and sampling.is_sample(item):
            return report
        self._keep_failure(item, report)
        retries, delay = self._retries.retries(item)
        error = call.excinfo.value if call.excinfo else None
        # A check that uses something unconfigured proves nothing about a service.
        heals_nothing = isinstance(error, ConfigError) or getattr(error, "heals_nothing", False)
        heals_before = {} if heals_nothing else item.stash.get(_HEALS_BEFORE, {})
        note = results.note(
            item,
            call,
            heals=heals_before,
            services=heals(item),
            latency=sampling.latency(item) if sampling else None,
        )
        setattr(report, NOTE, note | {"attempts": retries + 1, "delay": delay})
        number = getattr(item, "execution_count", 1)
        if report.failed and number <= retries:
            if not self._retries.retry_can_help(item, error):
                self._retries.give_up(item)
            elif self._files:
                self._progress.retries(note["check"], number, retries + 1, delay)
        return report

    def _keep_failure(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Keep a failure if a retry is skipped: a skip proves nothing, neither within a round nor across rounds."""
        failure = item.stash.get(_FAILURE, "") or ("its process ended" if self._replay.attempts(item.nodeid) else "")
        if report.failed:
            item.stash[_FAILURE] = results.first_line(report)
        elif report.skipped and failure and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            report.outcome = "failed"
            report.longrepr = f"{reason.removeprefix('Skipped: ')}: skipped, after an attempt that failed: {failure}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a failed attempt, and log the outcome of a check."""
        if self._files is None:
            return
        # The reports of xdist's workers survive the end of a session, so they are not logged here.
        if self._log and not self._replay.is_at_work and not hasattr(report, "node"):
            self._log.report(report)
        if attempt := results.attempt(report):
            self._attempts.add(attempt)
        self._results.add(report)
        self._ends.add(report)
        if not self._replay.is_old(report):
            self._progress.reports(report)

    # The end.

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Undo what checks did to the environment, for plugins, services and the next round."""
        os.environ.clear()
        os.environ.update(self._environ)
        sys.path[:] = self._path

    def finish(self, exitstatus: int) -> int:
        """End a round: a later one writes down its findings, the first one heals and decides."""
        if self._files is None or only_lists(self._config):
            return exitstatus
        event_log = self._event_log()
        exitstatus = self._code(exitstatus, event_log)
        findings = RoundFindings(self._attempts.all, self._results.all)
        if self._later_round:
            files.write(self._files.folder / FINDINGS_NAME, msgspec.json.encode(findings))
            self._send_verdict(exitstatus)
            return exitstatus
        run = self._health_run(event_log, self._files.report)
        first = Round(exitstatus, [Part(self._files.xml, findings)])
        if self._fork:
            first = combine(first, read_round(*self._fork.others()))
        code = run.finish(first)
        if self._fork:
            self._fork.ended(run, code)
        elif code in VERDICTS:
            run.record()
            code = self._deploy_session.keep(run, code) if self._deploy_session else code
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter and not self._fork:
            reporter.write_line(self._summary(run, self._files.report, code))
        self._send_verdict(code)
        return code

    def _summary(self, run: HealthRun, report: Path, code: int) -> str:
        """Return the last line of pytest's own output."""
        from remediation.messages.words import Words

        words = Words(self._project.language)
        verdict = words(f"verdict_{run.verdict}" if code in VERDICTS else "no_verdict")
        key = "over_report" if report.exists() else "over"
        return words(key, verdict=verdict, rounds=len(run.run_state.rounds), report=report)

    def _send_verdict(self, code: int) -> None:
        """Send the verdict to the supervisor, which then limits its wait for other plugins."""
        if self._supervisor and self._files:
            self._supervisor.channel.send(Verdict(code, os.fsencode(self._files.report)))

    def _code(self, exitstatus: int, event_log: EventLog) -> int:
        """Return the round's corrected exit code, and log why if the round is incomplete."""
        is_short = self._stopped_at_failure()
        if exitstatus == INTERRUPTED and is_short:
            exitstatus = FAILED
        exitstatus = self._failure.code(exitstatus)
        if self._controller and self._controller.problem:
            event_log.log("incomplete", reason=self._controller.problem)
            return INTERNAL_ERROR
        expected = self._claimed if self._fork else self._selection.selected
        is_whole = exitstatus == PASSED or (exitstatus == FAILED and not is_short)
        if unfinished := self._ends.missing(expected if is_whole else ()):
            # For example pytest.exit(returncode=1) or a crashed worker: pytest's code and XML may not show it.
            event_log.log("incomplete", reason=f"the run broke off before the end of {', '.join(sorted(unfinished))}")
            return INTERNAL_ERROR
        if self._files and self._files.problem and exitstatus in (PASSED, FAILED):
            event_log.log("incomplete", reason=self._files.problem)
            return INTERNAL_ERROR
        if problem := self._failure.problem(exitstatus):
            event_log.log("incomplete", reason=problem)
            return INTERNAL_ERROR
        return exitstatus

    def _stopped_at_failure(self) -> bool:
        """Return whether -x, --maxfail or --stepwise has stopped pytest, which may report an interruption then."""
        option, failures = self._config.option, self._failure.failures
        by_stepwise = getattr(option, "stepwise", False) and failures > bool(option.stepwise_skip)
        return bool(by_stepwise) or 0 < (option.maxfail or 0) <= failures

    def _health_run(self, event_log: EventLog, report: Path) -> HealthRun:
        option = self._config.option
        fork, deploy_session = self._fork, self._deploy_session
        options = Options(
            heal=self._heal,
            rounds=option.heal_rounds,
            fail_on_heal=option.fail_on_heal,
            rollback=option.rollback,
            allow_unproven=option.allow_unproven,
        )
        if fork:
            options = replace(options, origin="monitor", interval=fork.interval, rollback=False)
        run = HealthRun(
            project=self._project, store=self._store, event_log=event_log, options=options,
            report=report, root=self._config.rootpath,
            run_state=RunState(
                self._project, deploy_session.baseline if deploy_session else None, option.junitprefix,
                rollback=options.rollback,
            ),
            again=lambda folder: self._again(folder, run.deployment),
            selected=self._selection.selected, deployment=deploy_session.deployment if deploy_session else None,
            began=self._began, hooks=lambda: self.hooks,
        )  # fmt: skip
        if fork:
            run.again, run.may_heal = fork.again, fork.may_heal
        elif supervisor := self._supervisor:
            run.may_heal = lambda _: self._begin_to_heal(supervisor)
        return run

    def _begin_to_heal(self, supervisor: SupervisorLink) -> bool:
        """Report that a heal begins, which has time limits of its own."""
        if self._heartbeat:
            self._heartbeat.hold(Phase.HEAL)
        supervisor.channel.send(Healing())
        return True

    def _again(self, folder: Path, deployment: Deployment | None) -> tuple[int, list[Path]]:
        """Let the supervisor run the suite once more; a rollback may have changed the expected versions."""
        if self._supervisor is None:
            raise OSError(
                "conftest.py lacks the hook pytest_cmdline_main; add it, or remove auto-heal's other hooks there"
            )
        return self._supervisor.again(folder, deployment)

    def _pytest_terminal(self) -> Callable[[str, Level], None] | None:
        manager = self._config.pluginmanager
        reporter = manager.get_plugin("terminalreporter")
        if reporter is None:
            # A plugin such as pytest-rich has replaced it, unless the user disabled the terminal.
            return None if manager.is_blocked("terminal") else terminal(_STDOUT)
        colours = {Level.SUCCESS: {"green": True}, Level.WARN: {"yellow": True}, Level.ERROR: {"red": True}}
        return lambda text, level: reporter.write_line(text, **colours.get(level, {}))


def _own_terminal(timeout: float | None = None) -> Terminal | None:
    fd = protocol.terminal_fd
    return None if fd is None else terminal(fd, patience=timeout)


def _deploy_session(config: pytest.Config, project: Project) -> DeploySession | None:
    """Return the deployment's part of a session, None for an ordinary session."""
    if not (config.getoption("rollback") or context.is_told()):
        return None
    from remediation.run.deploy_session import DeploySession

    return DeploySession.of(config, project)


def _heal_wanted(config: pytest.Config) -> Heals:
    if is_debugged():
        # A person stops and continues at will, so a failure is no reason to restart anything.
        return "off"
    wanted: str = config.getoption("heal") or os.environ.get("AUTO_HEAL") or "auto"
    if wanted not in get_args(Heals):
        raise pytest.UsageError(f"environment: AUTO_HEAL is {wanted!r}; known values: {', '.join(get_args(Heals))}")
    return cast("Heals", wanted)
