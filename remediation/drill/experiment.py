"""The drill: injects one fault after another, has a real check heal each, and restores everything at the end."""

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
from remediation.drill.faults import INJECTORS, NEEDS_RESTART, Scene
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

# The assumed duration of a heal until one was measured, in seconds.
_FIRST_SPAN = 0.2
# If a healer ends before it can be killed, the next attempt waits half as long.
_KILLS = 3
# How often the drill polls whether a heal has begun, in seconds.
_POLL_SECONDS = 0.002
# How much longer than one probe a service may take to answer us after its checks passed, in seconds.
_MARGIN = 2.0
_SUCCESS = (PASSED, HEALED)


def plan(services: Sequence[Service], faults: Sequence[str], *, rounds: int, seed: int) -> list[Trial]:
    """Return every fault of every service, once per round, each round in another order."""
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    trials: list[Trial] = []
    for number in range(1, rounds + 1):
        trials_of_round = [Trial(fault, service, number) for service in services for fault in faults]
        rng.shuffle(trials_of_round)
        trials += trials_of_round
    return trials


class Drill:
    """One drill of a project's services."""

    def __init__(
        self, project: Project, event_log: EventLog, *, folder: Path, interrupts: Interrupts, seed: int
    ) -> None:
        """Log to `event_log`, and keep temporary files in `folder`."""
        self._project = project
        self._event_log = event_log
        self._folder = folder
        self._interrupts = interrupts
        self._seed = seed
        self._rng = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._store = Store(project)
        # What the drill itself starts and stops is logged. It is not a heal, so the history does not record it.
        self._remediator = Remediator(self._store, EventLog.of(project), record=lambda _: None, origin="hand")
        self._steady_state = SteadyState(project, self._store, self._remediator)
        self._checker = Checker(project, folder, interrupts)
        self._span = _FIRST_SPAN

    def run(self, ready: Sequence[Service], trials: Sequence[Trial], *, rounds: int) -> DrillResults:
        """Make the services in `ready` ready, run the trials, and restore everything.

        RefusedError if no drill is possible now; everything is restored then too.
        """
        results = DrillResults(self._seed, rounds, list(trials))
        try:
            self._begin(ready)
            for number, trial in enumerate(trials, 1):
                self._event_log.log(
                    "drill_trial", number=number, total=len(trials), fault=trial.fault, service=trial.service.name
                )
                result = FaultResult(trial)
                results.all.append(result)
                self._run_trial(result)
        except InterruptedDrillError:
            results.interrupted = True
            # An interrupted trial has no result.
            results.all = [result for result in results.all if result.ended]
            self._event_log.log("drill_interrupted")
        except NotBackError as error:
            results.not_back.append(error.message)
        finally:
            results.not_back += self._steady_state.put_back()
            for problem in results.not_back:
                self._event_log.log_message(problem)
        return results

    def _begin(self, ready: Sequence[Service]) -> None:
        if paused := next(filter(None, (self._store.why_paused(service.name) for service in ready)), None):
            raise RefusedError("drill_paused", pause=paused)
        self._steady_state.prepare(ready)
        self._interrupts.raise_if_asked()
        self._event_log.log("drill_looks")
        checked = self._checker.check_only()
        if checked.code != PASSED:
            raise RefusedError("drill_sick", code=_code(checked), last=_last_line(checked.output))

    def _run_trial(self, result: FaultResult) -> None:
        service, began = result.trial.service, time.monotonic()
        try:
            with Bystanders(service, self._project) as bystanders:
                self._make_and_heal(result, bystanders)
                result.harmed = bystanders.harmed()
        except HelperError as error:
            result.skipped = Message("drill_helper", {"problem": error})
        result.left += [
            Message("drill_left", {"holder": describe(process.pid)}) for process in left_over(self._project)
        ]
        result.seconds, result.ended = time.monotonic() - began, True
        if not result.skipped and not result.problems and result.trial.fault != NEEDS_RESTART:
            self._steady_state.clear_suspect(service)
        self._log_result(result)
        try:
            self._steady_state.restore(service)
        except HealError as error:
            raise NotBackError("drill_not_back", problem=error.message) from None

    def _make_and_heal(self, result: FaultResult, bystanders: Bystanders) -> None:
        """Inject the fault and have it healed; skip a fault that cannot be injected."""
        service = result.trial.service
        try:
            with ExitStack() as stack:
                scene = Scene(
                    self._project, service, self._store, self._remediator, bystanders, self._rng, self._folder, stack
                )  # fmt: skip
                for attempt in range(_KILLS):
                    if self._inject_and_heal(result, scene, attempt):
                        return
                result.note = Message("drill_no_kill", {"name": service.name})
        except (SkipError, HealError) as error:
            result.skipped = error.message
        except LockTimeoutError:
            result.skipped = Message("busy", {"name": service.name, "seconds": longest(service)})

    def _inject_and_heal(self, result: FaultResult, scene: Scene, attempt: int) -> bool:
        """Return whether the trial is complete. It is not if the healer ended before the drill could kill it."""
        injected = self._inject(result, scene)
        service = scene.service
        observer = Observer(service, self._store, injected, owns_port=self._steady_state.owns_port(service))
        try:
            self._heal(result, scene, injected, attempt)
            result.downtime = observer.downtime(service.probe_timeout + _MARGIN) if result.healed else None
        finally:
            observer.end()
        if result.healed and result.downtime is None:
            result.healed = False
            result.wrong.append(Message("drill_not_up", {"name": service.name}))
        result.left = strays(service, self._store, injected.victims) if result.healed else []
        return not injected.healer_dies or result.note is not None or bool(result.problems)

    def _inject(self, result: FaultResult, scene: Scene) -> InjectedFault:
        self._interrupts.raise_if_asked()
        self._steady_state.mark_suspect(scene.service)
        injected = INJECTORS[result.trial.fault](scene)
        result.detected, result.note = False, injected.note
        result.heals = self._store.recall(scene.service).heals
        return injected

    def _heal(self, result: FaultResult, scene: Scene, injected: InjectedFault, attempt: int) -> None:
        self._steady_state.forget_restarts()
        if injected.healer_dies:
            self._heal_twice(result, attempt)
        elif injected.stranger is not None:
            self._refuse_and_heal(result, scene, injected.stranger)
        else:
            self._judge(result, self._check(result))

    def _refuse_and_heal(self, result: FaultResult, scene: Scene, stranger: int) -> None:
        """Have the heal refused because of a stranger, and the service healed once the stranger is gone."""
        checked = self._check(result)
        if not result.detected:
            self._judge(result, checked)
            return
        if checked.code != FAILED or self._store.recall(scene.service).port_holder != stranger:
            result.wrong.append(Message("drill_not_refused", {"holder": describe(stranger)}))
        # End the stranger, as its owner would.
        scene.stack.close()
        self._steady_state.forget_restarts()
        self._judge(result, self._check(result))
        result.refused = not result.wrong

    def _heal_twice(self, result: FaultResult, attempt: int) -> None:
        """Have one healer killed, and the next one heal."""
        moment = self._rng.random() * self._span / 2**attempt
        checked = self._check(result, moment=moment)
        if checked.killed:
            result.note = Message("drill_kill", {"after": round(moment, 3)})
            # The healer had detected the fault, or its heal would not have begun.
            result.detected = True
            self._steady_state.forget_restarts()
            checked = self._check(result)
        self._judge(result, checked)

    def _check(self, result: FaultResult, *, moment: float | None = None) -> Checked:
        """Check and heal; with a `moment`, kill the healer that many seconds after its heal began."""
        service = result.trial.service

        def kill(child: Popen[bytes]) -> bool:
            if moment is None:
                return False
            # The restart budget was cleared, so the first counted restart marks the beginning of the heal.
            while not self._store.recall(service).restarts:
                if child.poll() is not None:
                    return False
                self._interrupts.sleep(_POLL_SECONDS)
            self._interrupts.sleep(moment)
            if child.poll() is not None:
                return False
            end_family(child.pid, self._project)
            return True

        checked = self._checker.heal(kill)
        result.output += checked.output
        state = self._store.recall(service)
        # Another healer may have detected it first.
        result.detected = result.detected or service.name in checked.causes or state.heals > result.heals
        if checked.code in _SUCCESS and state.restarts and state.last_heal:
            self._span = max(0.0, state.last_heal.at - state.restarts[-1]) or self._span
        return checked

    def _judge(self, result: FaultResult, checked: Checked) -> None:
        service = result.trial.service
        succeeded = checked.code in _SUCCESS
        # A fault that was not detected was not healed either.
        result.healed = succeeded and result.detected
        if not succeeded:
            reason = checked.actions.get(service.name) or _last_line(checked.output)
            result.wrong.append(Message("drill_unhealed", {"code": _code(checked), "reason": reason}))
        elif result.healed and (problem := self._store.pid_file_problem(service)):
            result.wrong.append(Message("drill_pid_file", {"problem": problem}))

    def _log_result(self, result: FaultResult) -> None:
        fault, downtime = result.trial.fault, round(result.downtime or 0.0, 3)
        if result.skipped:
            self._event_log.log("drill_skipped", fault=fault, reason=result.skipped)
        elif result.refused:
            self._event_log.log("drill_refused", fault=fault, downtime=downtime)
        elif not result.problems:
            self._event_log.log("drill_healed", fault=fault, downtime=downtime)
        for problem in result.problems:
            self._event_log.log("drill_problem", fault=fault, problem=problem)


def _code(checked: Checked) -> object:
    return Message("drill_late", {}) if checked.code is None else checked.code


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "-")
