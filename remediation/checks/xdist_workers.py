"""The workers of pytest-xdist in a health run: each says how it is, one that hangs is ended, and xdist replaces it.

A worker is no fork: it and its supervisor share a folder, with a board, and for each worker a log and its stacks.
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
from remediation.checks.report_replay import keep_results
from remediation.supervision.attempt_log import AttemptLog, Begun, Collecting, ReportOutcome, read_log
from remediation.supervision.death import Death, read_stack, write_stacks_to
from remediation.supervision.handover import DeadAttempt, Handover
from remediation.supervision.heartbeat import GRACE, Heartbeats, Phase
from remediation.supervision.protocol import SupervisorLink
from remediation.supervision.protocol import Workers as Told
from remediation.supervision.worker_watch import End, slot_of
from remediation.system.exit_codes import INTERNAL_ERROR
from remediation.system.process import Identity

FOLDER = "auto_heal_folder"
_BROKEN = "auto_heal_broken"
_REPLACES = "auto_heal_replaces"
# With crashed and hung workers, xdist gives up after a few for each; here each attempt at a check may cost one.
_MOST_RESTARTS = "1000"
# How long the end of a worker may take to be known, in seconds.
_ENDED_WITHIN = 1.0
_LATER = "auto_heal_later"


class WorkerSide:
    """What a worker tells."""

    def __init__(self, config: pytest.Config, timeout: float) -> None:
        """Tell it in the folder that the controller has named; what is no check may take `timeout` seconds."""
        given = config.workerinput  # type: ignore[attr-defined]
        folder, name = Path(given[FOLDER]), given["workerid"]
        if given[_REPLACES]:
            keep_results(config)
        heartbeats, slot = Heartbeats(folder / "board"), slot_of(name)
        if me := Identity.of(os.getpid()):
            heartbeats.sign(slot, me.pid, me.born)
        heartbeats.take(slot, time.monotonic() + timeout + GRACE)
        # Between two checks it waits for others.
        self.heartbeat = HeartbeatPlugin(heartbeats, slot, timeout, waits=True)
        self.heartbeat.outside()
        self.log = AttemptLog(folder / f"{name}.log")
        self.known = Handover(broken=given[_BROKEN])
        self._stacks = (folder / f"{name}.stack").open("a+b", buffering=0)
        write_stacks_to(self._stacks)

    def pytest_sessionstart(self) -> None:
        """Leave a stack when it is asked for, or after a crash, also now that others have had their say in that."""
        write_stacks_to(self._stacks)


class ControllerSide:
    """The plugin of the controller: it tells workers where to tell, and learns why one crashed."""

    def __init__(self, config: pytest.Config, told: SupervisorLink, folder: Path, heartbeat: HeartbeatPlugin) -> None:
        """Share `folder` with all workers, and with the supervisor."""
        self._config = config
        self._heartbeat = heartbeat
        self._broken = dict(told.known.broken)
        self._has_lost = False
        self._told = told
        self._folder = folder / "workers"
        self._lost = 0
        self.problem: str | None = None
        """Why a worker could not go on, if that was the fault of no check."""
        if config.option.maxworkerrestart is None:
            config.option.maxworkerrestart = _MOST_RESTARTS

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Name the folder to a worker."""
        if not self._folder.exists():
            self._folder.mkdir()
            (self._folder / "board").touch()
            Heartbeats(self._folder / "board")
            self._told.channel.send(Told(os.fsencode(self._folder)))
        node.workerinput |= {FOLDER: str(self._folder), _BROKEN: self._broken, _REPLACES: self._has_lost}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Wait for workers, who have deadlines of their own."""
        self._heartbeat.hold()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """See whether a worker ended in the middle of a module, which the next one does without."""
        self._has_lost = self._has_lost or bool(error)
        records = read_log(self._folder / f"{node.gateway.id}.log")
        if not error:
            return
        death = self._death(node)
        if records and isinstance(records[-1], Collecting) and death.phase is Phase.COLLECT:
            known = Handover(broken=self._broken).after(records, death, self._config.rootpath)
            self._broken = known.broken if known else self._broken
            return
        has_begun = any(isinstance(one, Begun) for one in records)
        self._lost += not has_begun
        if death.hung_for is not None and not death.phase.of_check:
            self._give_up(death)
        elif not has_begun and self._lost > len(self._config.option.tx):
            # So would each that replaces it.
            self._give_up(death)

    def _give_up(self, death: Death) -> NoReturn:
        """End the session, since workers cannot do their work, and no check is at fault."""
        place = death.place(self._config.rootpath)
        self.problem = f"{place}: a worker {death.sentence}".removeprefix(": ")
        pytest.exit(self.problem, returncode=INTERNAL_ERROR)

    @pytest.hookimpl(optionalhook=True, wrapper=True, tryfirst=True)
    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> Generator[None, object, object]:
        """Make of xdist's report of a crash that of an attempt like others."""
        result = yield
        begun = self._last_attempt(report.node, crashitem)
        if begun is None:
            return result
        is_final = results.report_outcome(report) is ReportOutcome.FAILED
        dead = DeadAttempt(begun, self._death(report.node))
        reports = dead.reports(final=is_final)
        before, failed, after = _around(reports)
        for one in before:
            one.node = report.node
            self._config.hook.pytest_runtest_logreport(report=one)
        node = report.node
        vars(report).update(vars(failed))
        report.node = node
        setattr(report, _LATER, after)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, object, object]:
        """End an attempt that crashed as every attempt ends; what others do with a report may not take for ever."""
        self._heartbeat.outside()
        result = yield
        self._heartbeat.hold()
        for one in getattr(report, _LATER, ()):
            one.node = report.node
            self._config.hook.pytest_runtest_logreport(report=one)
        return result

    def _last_attempt(self, node: Any, nodeid: str) -> Begun | None:
        records = read_log(self._folder / f"{node.gateway.id}.log")
        found = [one for one in records if isinstance(one, Begun)]
        return found[-1] if found and found[-1].nodeid == nodeid else None

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
            return Death(heartbeats.read(slot).phase, _exit_code(node), None, stack)
        return Death(Phase(end.phase), 0, end.hung_for, stack)


def _exit_code(node: Any) -> int:
    """Return how the process of a worker ended, which execnet has no public way to tell."""
    popen = getattr(getattr(node.gateway, "_io", None), "popen", None)
    try:
        return int(popen.wait(_ENDED_WITHIN)) if popen else 1
    except Exception:  # noqa: BLE001 - whatever it is, it only makes a sentence less exact
        return 1


def _around(reports: list[pytest.TestReport]) -> tuple[list[Any], pytest.TestReport, list[Any]]:
    """Return the reports of an attempt before the one that failed, that one, and those after it."""
    at = next(number for number, one in enumerate(reports) if not one.passed)
    return reports[:at], reports[at], reports[at + 1 :]
