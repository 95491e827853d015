"""The checks of a health run, from their selection to the end of the round: what heals, what failed, what follows."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import msgspec
import pytest
from msgspec.structs import replace

from remediation.checks import FOLDER, results
from remediation.checks.client import project_of
from remediation.checks.collect_timeout import Collection
from remediation.checks.heartbeat_plugin import HeartbeatPlugin
from remediation.checks.progress import ProgressReporter
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
from remediation.run.rounds import Part, Round, read_round, together
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
    from remediation.checks.xdist_workers import ControllerSide, WorkerSide
    from remediation.run.deploy_session import Beside

_STDOUT = 1
# How long a cycle of the monitor waits for a terminal that takes no lines, in seconds.
_PATIENCE = 0.5
_SEEN = pytest.StashKey[dict[str, int]]()
# What an earlier attempt at a check said.
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
        self._speak_to(_own_terminal())
        self._beside = _beside(config, self._project)
        beside = self._beside.deployment if self._beside else None
        self._selection = Selection(config, self._project, beside, self._later_round)
        self._patience = Retries(config, self._project, self._store)
        # None on a worker of xdist: it runs checks, and its controller does all the rest.
        self._files = None if hasattr(config, "workerinput") else Files(config, self._project, self._store.reserve)
        sampling = self._beside.sampling if self._beside else None
        self._failure = SessionFailure(config)
        plugins = [
            self._selection, self._patience, self._files, sampling, Redaction(), self._failure,
            *self._under_supervision(),
        ]  # fmt: skip
        for plugin in filter(None, plugins):
            config.pluginmanager.register(plugin, f"auto-heal-{type(plugin).__name__.lower()}")

    def _under_supervision(self) -> list[object]:
        """Return the plugins by which this session says how it is, and takes over from one before it."""
        config, self._told = self._config, protocol.current
        timeout = self._project.collect_timeout
        worker: WorkerSide | None = None
        self._log: AttemptLog | None = None
        self._heartbeat: HeartbeatPlugin | None = None
        known = Handover()
        self._controller: ControllerSide | None = None
        if hasattr(config, "workerinput"):
            from remediation.checks.xdist_workers import WorkerSide

            worker = WorkerSide(config, timeout)
            self._log, self._heartbeat, known = worker.log, worker.heartbeat, worker.known
        elif told := self._told:
            self._log, known = told.log, told.known
            self._heartbeat = HeartbeatPlugin(told.heartbeats, told.slot, timeout)
            if self._files and getattr(config.option, "tx", None):
                from remediation.checks.xdist_workers import ControllerSide

                self._controller = ControllerSide(config, told, self._files.folder, self._heartbeat)
        retelling = ReportReplay(config)
        self._replay = Replay(known, self._patience, retelling)
        self._replay.progress = self._progress
        self._replay.hush(config, is_later_round=self._later_round is not None)
        collection = Collection(
            config, timeout=timeout, known=known, heartbeat=self._heartbeat, log=self._log,
            tell=self._tell_not_collected,
        )  # fmt: skip
        return [worker, self._controller, self._heartbeat, retelling, self._replay, collection]

    def _tell_not_collected(self, reason: str) -> None:
        if self._files and not self._later_round:
            self._event_log().log("not_collected", reason=reason)

    def _event_log(self) -> EventLog:
        return EventLog.of(self._project, terminal=self._terminal or self._pytest_terminal())

    def _speak_to(self, shown: Terminal | None) -> None:
        self._terminal = shown
        self._progress = ProgressReporter(EventLog.of(self._project, terminal=shown))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Leave a stack after a crash, and count attempts from those of before."""
        if self._told:
            write_stacks_to(self._told.stacks)
            self._continue_counting()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Spare the garbage collector, which waits since the fork, what is there before the first check: modules.

        pytest ends a session with five collections of the whole heap; that took a tenth of a healthy run.
        """
        try:
            return (yield)
        finally:
            gc.freeze()
            if self._told:
                gc.enable()

    def _continue_counting(self) -> None:
        """Have rerunfailures count the attempts of sessions that are gone, as it does those of crashed workers."""
        if database := getattr(self._config, "failures_db", None):
            before = database.get_test_failures
            database.get_test_failures = lambda nodeid: self._replay.attempts(nodeid) or before(nodeid)

    def pytest_report_header(self) -> str:
        """Say which services are meant, and whether they would be healed."""
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
        """In a fork of a session that has collected: be a run, or a later round, of its own.

        Returns the services of the project.
        """
        if self._files is None:
            raise RuntimeError("a worker of xdist is not forked")
        self._fork, self._began = fork, time.time()
        self._log = fork.log
        if self._beside:
            # Whatever the options say: a monitor stands beside no deployment.
            self._config.pluginmanager.unregister(self._beside.sampling)
            self._beside = None
        self._later_round = str(fork.folder) if fork.later else None
        self._files.begin_anew(fork.folder, later=fork.later)
        self._selection.selected, self._claimed = fork.selected, set()
        # A terminal that takes no lines must not keep anybody from healing.
        self._speak_to(_own_terminal(patience=_PATIENCE))
        self._replay.take(fork.known, self._progress)
        self._continue_counting()
        return self._project.services.values()

    @property
    def folder(self) -> Path:
        """Where this process leaves what it finds."""
        if self._files is None:
            raise RuntimeError("a worker of xdist leaves nothing")
        return self._files.folder

    def claim(self, items: Iterable[pytest.Item]) -> None:
        """In a fork: be the one who runs these checks of the round."""
        self._claimed |= {item.nodeid for item in items}

    def pytest_collection_finish(self) -> None:
        """Remember where modules are found, now that those of the checks are."""
        self._path = list(sys.path)

    # The attempts.

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say that a check begins."""
        if nodeid in self._selection.labels and self._files:
            self._progress.begins(nodeid, self._selection.labels[nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note before an attempt how many heals there were, so that a later one is known to be newer."""
        if (sick := set(heals(item)) & self._attempts.failed_services) and self._is_to_heal(sick):
            # What is to be healed anyway is not waited for again; the round after the heal asks all.
            pytest.skip(f"{', '.join(sorted(sick))} is already known to be sick")
        seen = {name: self._store.recall(self._project.services[name]).heals for name in heals(item)}
        item.stash[_SEEN] = seen
        if self._log:
            retries, delay = self._patience.retries(item)
            number = getattr(item, "execution_count", 1) - 1
            self._log.note(
                Begun(
                    item.nodeid, item.location, results.label(item), heals(item), seen, number, retries + 1, delay,
                    time.time(),
                )
            )  # fmt: skip

    def _is_to_heal(self, names: Iterable[str]) -> bool:
        """Return whether a cycle of the monitor is about to heal services, as far as can be known yet."""
        if not self._fork or self._heal != "auto" or self._store.paused():
            return False
        services = [self._project.services[name] for name in names]
        memories = [self._store.recall(service) for service in services]
        held = any(backoff.waits(state) or state.stopped_by_hand for state in memories)
        return not held and all(engine_of(service).can_start for service in services)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Fail a check of a service that was stopped by hand, whatever it asks."""
        for name in heals(item):
            if self._store.recall(self._project.services[name]).stopped_by_hand:
                reason = liveness.hopeless(self._project.services[name], self._store)
                pytest.fail(str(reason), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note on the report what only the item knows, and say if another attempt follows."""
        report = yield
        sampling = self._beside.sampling if self._beside else None
        if sampling and sampling.is_sample(item):
            return report
        self._keep_failure(item, report)
        retries, delay = self._patience.retries(item)
        error = call.excinfo.value if call.excinfo else None
        # A check that asks for what is not configured says nothing of any service.
        heals_now = {} if isinstance(error, ConfigError) else item.stash.get(_SEEN, {})
        noted = results.note(
            item,
            call,
            heals=heals_now,
            services=heals(item),
            latency=sampling.latency(item) if sampling else None,
        )
        setattr(report, NOTE, noted | {"attempts": retries + 1, "delay": delay})
        number = getattr(item, "execution_count", 1)
        if report.failed and number <= retries:
            pointless = isinstance(error, ConfigError) or getattr(error, "hopeless", False)
            if pointless or not self._patience.retry_can_help(item):
                self._patience.give_up(item)
            elif self._files:
                self._progress.retries(noted["check"], number, retries + 1, delay)
        return report

    def _keep_failure(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Let a failed attempt stand that a skip follows: a skip proves nothing, within a round as across rounds."""
        before = item.stash.get(_FAILURE, "") or ("its process ended" if self._replay.attempts(item.nodeid) else "")
        if report.failed:
            item.stash[_FAILURE] = results.first_line(report)
        elif report.skipped and before and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            report.outcome = "failed"
            report.longrepr = f"{reason.removeprefix('Skipped: ')}: skipped, after an attempt that failed: {before}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a failed attempt, and say how a check ended."""
        if self._files is None:
            return
        # What a worker of xdist has found is not lost with a session.
        if self._log and not self._replay.is_at_work and not hasattr(report, "node"):
            self._log.report(report)
        if failed := results.attempt(report):
            self._attempts.add(failed)
        self._results.add(report)
        self._ends.add(report)
        if not self._replay.is_old(report):
            self._progress.reports(report)

    # The end.

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Undo what checks did to the environment: it reaches neither plugins, nor the service, nor the next round."""
        os.environ.clear()
        os.environ.update(self._environ)
        sys.path[:] = self._path

    def finish(self, exitstatus: int) -> int:
        """End a round: a later one leaves its attempts behind, the first one goes on to heal and to decide."""
        if self._files is None or only_lists(self._config):
            return exitstatus
        event_log = self._event_log()
        exitstatus = self._code(exitstatus, event_log)
        findings = RoundFindings(self._attempts.all, self._results.all)
        if self._later_round:
            files.write(self._files.folder / FINDINGS_NAME, msgspec.json.encode(findings))
            self._tell_verdict(exitstatus)
            return exitstatus
        run = self._health_run(event_log, self._files.report)
        first = Round(exitstatus, [Part(self._files.xml, findings)])
        if self._fork:
            first = together(first, read_round(*self._fork.others()))
        code = run.finish(first)
        if self._fork:
            self._fork.ended(run, code)
        elif code in VERDICTS:
            run.record()
            code = self._beside.keep(run, code) if self._beside else code
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter and not self._fork:
            reporter.write_line(self._summary(run, self._files.report, code))
        self._tell_verdict(code)
        return code

    def _summary(self, run: HealthRun, report: Path, code: int) -> str:
        """Return the last line of pytest's own output."""
        from remediation.messages.words import Words

        words = Words(self._project.language)
        verdict = words(f"verdict_{run.verdict}" if code in VERDICTS else "no_verdict")
        key = "over_report" if report.exists() else "over"
        return words(key, verdict=verdict, rounds=len(run.run_state.rounds), report=report)

    def _tell_verdict(self, code: int) -> None:
        """Let the supervisor wait no longer than it has to for what other plugins do from here on."""
        if self._told and self._files:
            self._told.channel.send(Verdict(code, os.fsencode(self._files.report)))

    def _code(self, exitstatus: int, event_log: EventLog) -> int:
        """Return what the exit code of the round means, and say so if there is no telling."""
        if exitstatus == INTERRUPTED and self._stopped_at_failure():
            exitstatus = FAILED
        exitstatus = self._failure.code(exitstatus)
        if self._controller and self._controller.problem:
            event_log.log("incomplete", reason=self._controller.problem)
            return INTERNAL_ERROR
        expected = self._claimed if self._fork else self._selection.selected
        if broken := self._ends.missing(expected if exitstatus == PASSED else ()):
            # pytest.exit(returncode=0), say, or a crashed worker: neither pytest's code nor its XML surely tells.
            event_log.log("incomplete", reason=f"the run broke off before the end of {', '.join(sorted(broken))}")
            return INTERNAL_ERROR
        if self._files and self._files.problem and exitstatus in (PASSED, FAILED):
            event_log.log("incomplete", reason=self._files.problem)
            return INTERNAL_ERROR
        if problem := self._failure.problem(exitstatus):
            event_log.log("incomplete", reason=problem)
            return INTERNAL_ERROR
        return exitstatus

    def _stopped_at_failure(self) -> bool:
        """Return whether pytest was told to, which it calls an interruption: --stepwise, and -x with workers."""
        option, failures = self._config.option, self._attempts.failures
        steps = getattr(option, "stepwise", False) and failures > bool(option.stepwise_skip)
        return bool(steps) or 0 < (option.maxfail or 0) <= failures

    def _health_run(self, event_log: EventLog, report: Path) -> HealthRun:
        option = self._config.option
        fork, beside = self._fork, self._beside
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
                self._project, beside.baseline if beside else None, option.junitprefix, rollback=options.rollback
            ),
            again=lambda folder: self._again(folder, run.deployment),
            selected=self._selection.selected, deployment=beside.deployment if beside else None, began=self._began,
        )  # fmt: skip
        if fork:
            run.again, run.may_heal = fork.again, fork.may_heal
        elif told := self._told:
            run.may_heal = lambda _: self._begin_to_heal(told)
        return run

    def _begin_to_heal(self, told: SupervisorLink) -> bool:
        """Say that a heal begins, which has time limits of its own."""
        if self._heartbeat:
            self._heartbeat.hold(Phase.HEAL)
        told.channel.send(Healing())
        return True

    def _again(self, folder: Path, told: Deployment | None) -> tuple[int, list[Path]]:
        """Have the supervisor run the suite once more; a rollback may have changed which versions are expected."""
        if self._told is None:
            raise OSError("conftest.py lacks the hook pytest_cmdline_main; `auto-heal init` writes it")
        return self._told.again(folder, told)

    def _pytest_terminal(self) -> Callable[[str, Level], None] | None:
        manager = self._config.pluginmanager
        reporter = manager.get_plugin("terminalreporter")
        if reporter is None:
            # One like pytest-rich's has taken its place, unless the terminal is unwanted.
            return None if manager.is_blocked("terminal") else terminal(_STDOUT)
        colours = {Level.SUCCESS: {"green": True}, Level.WARN: {"yellow": True}, Level.ERROR: {"red": True}}
        return lambda text, level: reporter.write_line(text, **colours.get(level, {}))


def _own_terminal(patience: float | None = None) -> Terminal | None:
    fd = protocol.terminal_fd
    return None if fd is None else terminal(fd, patience=patience)


def _beside(config: pytest.Config, project: Project) -> Beside | None:
    """Return what a session beside a deployment has besides, None for an ordinary one."""
    if not (config.getoption("rollback") or context.is_told()):
        return None
    from remediation.run.deploy_session import Beside

    return Beside.of(config, project)


def _heal_wanted(config: pytest.Config) -> Heals:
    if is_debugged():
        # A person stops and goes on as they like: what fails then is no reason to restart anything.
        return "off"
    wanted: str = config.getoption("heal") or os.environ.get("AUTO_HEAL") or "auto"
    if wanted not in get_args(Heals):
        raise pytest.UsageError(f"environment: AUTO_HEAL is {wanted!r}; known values: {', '.join(get_args(Heals))}")
    return cast("Heals", wanted)
