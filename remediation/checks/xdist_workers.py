"""The workers of pytest-xdist in a health run. Each sends heartbeats; a hung one is ended, and xdist replaces it.

A worker is not a fork. Workers and supervisor share a folder with the heartbeats, and a log and a stack per worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from remediation.checks import results
from remediation.checks.heartbeat_plugin import HeartbeatPlugin
from remediation.checks.pytest_internals import worker_exit_code
from remediation.checks.report_replay import keep_results
from remediation.supervision.attempt_log import AttemptLog, Begun, Collecting, ReportOutcome, read_log
from remediation.supervision.death import Death, read_stack, write_stacks_to
from remediation.supervision.handover import DeadAttempt, Handover
from remediation.supervision.heartbeat import GRACE, Heartbeats, Phase
from remediation.supervision.protocol import SupervisorLink, Workers
from remediation.supervision.worker_watch import End, slot_of
from remediation.system.exit_codes import INTERNAL_ERROR
from remediation.system.process import Identity

FOLDER = "auto_heal_folder"
_BROKEN = "auto_heal_broken"
_REPLACES = "auto_heal_replaces"
# By default, xdist gives up after a few crashed workers. Here, each attempt at a check may cost one.
_MOST_RESTARTS = "1000"
# How long to wait for the exit code of a worker, in seconds.
_EXIT_TIMEOUT = 1.0
_LATER = "auto_heal_later"


class WorkerSide:
    """The plugin of a worker. It writes heartbeats, a log and stacks into the shared folder."""

    def __init__(self, config: pytest.Config, timeout: float) -> None:
        """Use the folder that the controller has named; work outside checks may take `timeout` seconds."""
        given = config.workerinput  # type: ignore[attr-defined]
        folder, name = Path(given[FOLDER]), given["workerid"]
        if given[_REPLACES]:
            keep_results(config)
        heartbeats, slot = Heartbeats(folder / "board"), slot_of(name)
        if me := Identity.of(os.getpid()):
            heartbeats.sign(slot, me.pid, me.born)
        heartbeats.take(slot, time.monotonic() + timeout + GRACE)
        # Between two checks, a worker waits for the controller.
        self.heartbeat = HeartbeatPlugin(heartbeats, slot, timeout, waits=True)
        self.heartbeat.outside()
        self.log = AttemptLog(folder / f"{name}.log")
        self.handover = Handover(broken=given[_BROKEN])
        self._stacks = (folder / f"{name}.stack").open("a+b", buffering=0)
        write_stacks_to(self._stacks)

    def pytest_sessionstart(self) -> None:
        """Write a stack on request or after a crash, even if other plugins have changed that."""
        write_stacks_to(self._stacks)


class ControllerSide:
    """The plugin of the controller. It names the shared folder to workers, and finds out why one crashed."""

    def __init__(
        self, config: pytest.Config, supervisor: SupervisorLink, folder: Path, heartbeat: HeartbeatPlugin
    ) -> None:
        """Share `folder` with all workers, and with the supervisor."""
        self._config = config
        self._heartbeat = heartbeat
        self._collection = Handover(broken=dict(supervisor.known.broken))
        self._has_lost_worker = False
        self._supervisor = supervisor
        self._folder = folder / "workers"
        self._lost_before_checks = 0
        self.problem: str | None = None
        """Why the workers could not go on, if no check is to blame."""
        if config.option.maxworkerrestart is None:
            config.option.maxworkerrestart = _MOST_RESTARTS

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send the folder to a worker."""
        if not self._folder.exists():
            self._folder.mkdir()
            (self._folder / "board").touch()
            Heartbeats(self._folder / "board")
            self._supervisor.channel.send(Workers(os.fsencode(self._folder)))
        broken = self._collection.broken
        node.workerinput |= {FOLDER: str(self._folder), _BROKEN: broken, _REPLACES: self._has_lost_worker}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Wait for the workers, which have deadlines of their own."""
        self._heartbeat.hold()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Find out whether a worker ended during the import of a module, which the next worker then skips."""
        self._has_lost_worker = self._has_lost_worker or bool(error)
        records = read_log(self._folder / f"{node.gateway.id}.log")
        if not error:
            return
        death = self._death(node)
        if records and isinstance(records[-1], Collecting) and death.phase is Phase.COLLECT:
            if not self._collection.learn(records, death, self._config.rootpath):
                self._give_up(death)
            return
        has_begun = any(isinstance(record, Begun) for record in records)
        self._lost_before_checks += not has_begun
        if death.hung_for is not None and not death.phase.of_check:
            self._give_up(death)
        elif not has_begun and self._lost_before_checks > len(self._config.option.tx):
            # Every replacement would end in the same way.
            self._give_up(death)

    def _give_up(self, death: Death) -> NoReturn:
        """End the session because workers cannot work, and no check is to blame."""
        place = death.place(self._config.rootpath)
        self.problem = f"{place}: a worker {death.sentence}".removeprefix(": ")
        pytest.exit(self.problem, returncode=INTERNAL_ERROR)

    @pytest.hookimpl(optionalhook=True, wrapper=True, tryfirst=True)
    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> Generator[None, object, object]:
        """Turn xdist's report of a crash into the report of an ordinary failed attempt."""
        result = yield
        begun = self._last_attempt(report.node, crashitem)
        if begun is None:
            return result
        is_final = results.report_outcome(report) is ReportOutcome.FAILED
        attempt = DeadAttempt(begun, self._death(report.node))
        earlier, failed, later = _split(attempt.reports(final=is_final))
        for earlier_report in earlier:
            earlier_report.node = report.node
            self._config.hook.pytest_runtest_logreport(report=earlier_report)
        node = report.node
        vars(report).update(vars(failed))
        report.node = node
        setattr(report, _LATER, later)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, object, object]:
        """Add the remaining reports of a crashed attempt, and limit the time that plugins have for a report."""
        self._heartbeat.outside()
        result = yield
        self._heartbeat.hold()
        for later_report in getattr(report, _LATER, ()):
            later_report.node = report.node
            self._config.hook.pytest_runtest_logreport(report=later_report)
        return result

    def _last_attempt(self, node: Any, nodeid: str) -> Begun | None:
        records = read_log(self._folder / f"{node.gateway.id}.log")
        attempts = [record for record in records if isinstance(record, Begun)]
        return attempts[-1] if attempts and attempts[-1].nodeid == nodeid else None

    def _death(self, node: Any) -> Death:
        slot = slot_of(node.gateway.id)
        heartbeats = Heartbeats(self._folder / "board")
        pid, _ = heartbeats.signed(slot)
        stack = ""
        with suppress(OSError), (self._folder / f"{node.gateway.id}.stack").open("rb") as file:
            stack = read_stack(file.fileno())
        try:
            end = msgspec.json.decode((self._folder / f"{pid}.end").read_bytes(), type=End)
        except OSError:
            return Death(heartbeats.read(slot).phase, worker_exit_code(node, _EXIT_TIMEOUT), None, stack)
        return Death(Phase(end.phase), 0, end.hung_for, stack)


def _split(reports: list[pytest.TestReport]) -> tuple[list[Any], pytest.TestReport, list[Any]]:
    """Return the reports of an attempt before the failed one, the failed one, and those after it."""
    index = next(index for index, report in enumerate(reports) if not report.passed)
    return reports[:index], reports[index], reports[index + 1 :]
