"""The drill: one fault after another, each healed by a real check, and all put back at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen

from remediation.config.model import Project, Service
from remediation.drill.bystanders import Bystanders
from remediation.drill.checker import Checked, Checker
from remediation.drill.faults import MAKE, RENEWED, Scene
from remediation.drill.helper import HelperError, left_over
from remediation.drill.interrupt import Interrupts
from remediation.drill.observer import Observer, strays
from remediation.drill.results import (
    DrillResults,
    FaultResult,
    InjectedFault,
    InterruptedDrillError,
    NotBackError,
    RefusedError,
    SkipError,
    Trial,
)
from remediation.drill.steady_state import SteadyState
from remediation.engines.errors import HealError
from remediation.healing.context import longest
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store
from remediation.supervision.family import end_family
from remediation.system.exit_codes import FAILED, HEALED, PASSED
from remediation.system.files import LockTimeoutError
from remediation.system.process import describe

# How long a heal is thought to take as long as none was seen, in seconds.
_FIRST_SPAN = 0.2
# A healer that ended before it could be killed is tried again, with half the patience.
_KILLS = 3
# How often it is looked whether a heal has begun, in seconds.
_POLL_SECONDS = 0.002
# What a service may take to answer us, beyond what one probe may, after the checks have seen it well.
_TO_SPARE = 2.0
_WELL = (PASSED, HEALED)


def plan(services: Sequence[Service], faults: Sequence[str], *, rounds: int, seed: int) -> list[Trial]:
    """Return every fault of every service, once a round, each round in another order."""
    rng = random.Random(seed)  # noqa: S311 - an order, and no secret
    trials: list[Trial] = []
    for number in range(1, rounds + 1):
        one = [Trial(fault, service, number) for service in services for fault in faults]
        rng.shuffle(one)
        trials += one
    return trials


class Drill:
    """One drill of a project's services."""

    def __init__(
        self, project: Project, event_log: EventLog, *, folder: Path, attention: Interrupts, seed: int
    ) -> None:
        """Tell by `event_log`, and use `folder` for what need not stay."""
        self._project = project
        self._event_log = event_log
        self._folder = folder
        self._attention = attention
        self._seed = seed
        self._rng = random.Random(seed)  # noqa: S311 - moments, and no secret
        self._store = Store(project)
        # What the drill itself starts and stops is in the log, and no heal of which the history should tell.
        self._remediator = Remediator(self._store, EventLog.of(project), record=lambda _: None, origin="hand")
        self._ground = SteadyState(project, self._store, self._remediator)
        self._checker = Checker(project, folder, attention)
        self._span = _FIRST_SPAN

    def run(self, ready: Sequence[Service], trials: Sequence[Trial], *, rounds: int) -> DrillResults:
        """Make `ready` what is needed, go through the trials, and put everything back.

        RefusedError if there can be no drill now; everything is put back then too.
        """
        found = DrillResults(self._seed, rounds, list(trials))
        try:
            self._begin(ready)
            for number, trial in enumerate(trials, 1):
                self._event_log.log(
                    "drill_trial", number=number, total=len(trials), fault=trial.fault, service=trial.service.name
                )
                finding = FaultResult(trial)
                found.all.append(finding)
                self._try(finding)
        except InterruptedDrillError:
            found.interrupted = True
            # What was broken off has no result.
            found.all = [finding for finding in found.all if finding.ended]
            self._event_log.log("drill_interrupted")
        except NotBackError as error:
            found.not_back.append(error.message)
        finally:
            found.not_back += self._ground.put_back()
            for problem in found.not_back:
                self._event_log.log_message(problem)
        return found

    def _begin(self, ready: Sequence[Service]) -> None:
        if pause := self._store.paused():
            raise RefusedError("drill_paused", pause=pause.message)
        self._ground.prepare(ready)
        self._attention.heed()
        self._event_log.log("drill_looks")
        looked = self._checker.look()
        if looked.code != PASSED:
            raise RefusedError("drill_sick", code=_code(looked), last=_last_line(looked.output))

    def _try(self, finding: FaultResult) -> None:
        service, began = finding.trial.service, time.monotonic()
        try:
            with Bystanders(service, self._project) as herd:
                self._go_through(finding, herd)
                finding.harmed = herd.harmed()
        except HelperError as error:
            finding.skipped = Message("drill_helper", {"problem": error})
        finding.left += [Message("drill_left", {"holder": describe(one.pid)}) for one in left_over(self._project)]
        finding.seconds, finding.ended = time.monotonic() - began, True
        if not finding.skipped and not finding.problems and finding.trial.fault != RENEWED:
            self._ground.trust(service)
        self._tell(finding)
        try:
            self._ground.mend(service)
        except HealError as error:
            raise NotBackError("drill_not_back", problem=error.message) from None

    def _go_through(self, finding: FaultResult, herd: Bystanders) -> None:
        """Make the fault and have it healed; a fault that cannot be made is skipped."""
        service = finding.trial.service
        try:
            with ExitStack() as stack:
                scene = Scene(
                    self._project, service, self._store, self._remediator, herd, self._rng, self._folder, stack
                )  # fmt: skip
                for attempt in range(_KILLS):
                    if self._strike_and_heal(finding, scene, attempt):
                        return
                finding.note = Message("drill_no_kill", {"name": service.name})
        except (SkipError, HealError) as error:
            finding.skipped = error.message
        except LockTimeoutError:
            finding.skipped = Message("busy", {"name": service.name, "seconds": longest(service)})

    def _strike_and_heal(self, finding: FaultResult, scene: Scene, attempt: int) -> bool:
        """Return whether that was all: not if a healer was to be killed, and ended well before it could be."""
        struck = self._strike(finding, scene)
        service = scene.service
        watch = Observer(service, self._store, struck, owns_port=self._ground.owns_port(service))
        try:
            self._heal(finding, scene, struck, attempt)
            finding.downtime = watch.downtime(service.probe_timeout + _TO_SPARE) if finding.healed else None
        finally:
            watch.end()
        if finding.healed and finding.downtime is None:
            finding.healed = False
            finding.wrong.append(Message("drill_not_up", {"name": service.name}))
        finding.left = strays(service, self._store, struck.victims) if finding.healed else []
        return not struck.healer_dies or finding.note is not None or bool(finding.problems)

    def _strike(self, finding: FaultResult, scene: Scene) -> InjectedFault:
        self._attention.heed()
        self._ground.doubt(scene.service)
        struck = MAKE[finding.trial.fault](scene)
        finding.detected, finding.note = False, struck.note
        finding.heals = self._store.recall(scene.service).heals
        return struck

    def _heal(self, finding: FaultResult, scene: Scene, struck: InjectedFault, attempt: int) -> None:
        self._ground.forget_restarts()
        if struck.healer_dies:
            self._heal_twice(finding, attempt)
        elif struck.stranger is not None:
            self._refuse_and_heal(finding, scene, struck.stranger)
        else:
            self._judge(finding, self._check(finding))

    def _refuse_and_heal(self, finding: FaultResult, scene: Scene, stranger: int) -> None:
        """Have the heal refused because of a stranger, and the service healed once he is gone."""
        checked = self._check(finding)
        if not finding.detected:
            self._judge(finding, checked)
            return
        if checked.code != FAILED or self._store.recall(scene.service).port_holder != stranger:
            finding.wrong.append(Message("drill_not_refused", {"holder": describe(stranger)}))
        # The stranger goes, as its owner would see to it.
        scene.stack.close()
        self._ground.forget_restarts()
        self._judge(finding, self._check(finding))
        finding.refused = not finding.wrong

    def _heal_twice(self, finding: FaultResult, attempt: int) -> None:
        """Have one healer killed, and the next one heal."""
        moment = self._rng.random() * self._span / 2**attempt
        checked = self._check(finding, moment=moment)
        if checked.killed:
            finding.note = Message("drill_kill", {"after": round(moment, 3)})
            # It had seen that there is something to heal, or it would not have begun.
            finding.detected = True
            self._ground.forget_restarts()
            checked = self._check(finding)
        self._judge(finding, checked)

    def _check(self, finding: FaultResult, *, moment: float | None = None) -> Checked:
        """Check and heal; with a `moment`, kill the healer so many seconds after its heal began."""
        service = finding.trial.service

        def kill(child: Popen[bytes]) -> bool:
            if moment is None:
                return False
            # The budget was put aside: the first restart that is counted is the beginning of the heal.
            while not self._store.recall(service).restarts:
                if child.poll() is not None:
                    return False
                self._attention.sleep(_POLL_SECONDS)
            self._attention.sleep(moment)
            if child.poll() is not None:
                return False
            end_family(child.pid, self._project)
            return True

        checked = self._checker.heal(kill)
        finding.output += checked.output
        state = self._store.recall(service)
        # It can have been somebody else's check that noticed it first.
        finding.detected = finding.detected or service.name in checked.causes or state.heals > finding.heals
        if checked.code in _WELL and state.restarts and state.last_heal:
            self._span = max(0.0, state.last_heal.at - state.restarts[-1]) or self._span
        return checked

    def _judge(self, finding: FaultResult, checked: Checked) -> None:
        service = finding.trial.service
        well = checked.code in _WELL
        # Where nothing was noticed nothing was healed, and there is no more to say.
        finding.healed = well and finding.detected
        if not well:
            reason = checked.actions.get(service.name) or _last_line(checked.output)
            finding.wrong.append(Message("drill_unhealed", {"code": _code(checked), "reason": reason}))
        elif finding.healed and (problem := self._store.pid_file_problem(service)):
            finding.wrong.append(Message("drill_pid_file", {"problem": problem}))

    def _tell(self, finding: FaultResult) -> None:
        fault, downtime = finding.trial.fault, round(finding.downtime or 0.0, 3)
        if finding.skipped:
            self._event_log.log("drill_skipped", fault=fault, reason=finding.skipped)
        elif finding.refused:
            self._event_log.log("drill_refused", fault=fault, downtime=downtime)
        elif not finding.problems:
            self._event_log.log("drill_healed", fault=fault, downtime=downtime)
        for problem in finding.problems:
            self._event_log.log("drill_problem", fault=fault, problem=problem)


def _code(checked: Checked) -> object:
    return Message("drill_late", {}) if checked.code is None else checked.code


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "-")
