"""Decide what may be done to one service: its lock, its budget, its ladder, and who else was at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from remediation.healer import budget, targets
from remediation.healer.launch import reap
from remediation.healer.outcome import HealError, Outcome, Patient
from remediation.healer.steps import Steps
from remediation.journal.evidence import Archive
from remediation.journal.record import Heal, Origin
from remediation.primitives.file import LockTimeoutError
from remediation.project.memory import LastHeal, Memory, Store
from remediation.project.model import Service
from remediation.project.phrase import Phrase
from remediation.project.voice import Voice

# Beyond what a heal may take by its configuration, how long to wait for another healer.
_TO_SPARE = 5.0


class Healer:
    """Acts on services. Every public method takes the service's lock; several may run in threads."""

    def __init__(self, store: Store, voice: Voice, *, record: Callable[[Heal], None], origin: Origin) -> None:
        """Remember in `store`, tell by `voice`, and `record` each heal that ended as one that `origin` did."""
        self._store = store
        self._voice = voice
        self._record = record
        self._origin: Origin = origin
        self._steps = Steps(store, voice)
        self._archive = Archive(store.project)
        self.done: list[Heal] = []
        """What this healer did."""

    # By hand.

    def start(self, service: Service) -> None:
        """Start a service unless it is up; ends a stop by hand. HealError if it does not come up."""
        with self._held(service) as memory:
            self._begin_anew(service, memory)
            if not self._steps.already_up(service, memory):
                self._steps.stop_and_free(service, memory)
                self._steps.start(service, memory, service.start_command or service.restart_command)
                self._count(service, memory, _by_hand("start"))

    def stop(self, service: Service) -> None:
        """Stop a service and free its port; it stays stopped until started by hand. HealError if it lives on."""
        if service.healable and not service.command and not service.stop_command:
            raise HealError("no_stop", name=service.name)
        with self._held(service) as memory:
            if service.stop_command:
                self._voice.say("stopping", name=service.name)
                self._steps.run_stop(service, memory)
            else:
                if self._steps.lives(service, memory):
                    self._voice.say("stopping", name=service.name)
                self._steps.end(service, memory)
                self._steps.free(service, strict=False)
            memory.stopped_by_hand = True
            self._store.keep(service, memory)
            self._voice.say("stopped", name=service.name)

    def restart(self, service: Service) -> None:
        """Stop and start a service, whatever its state; ends a stop by hand. HealError if it does not come up."""
        with self._held(service) as memory:
            self._begin_anew(service, memory)
            self._steps.restart(service, memory)
            self._count(service, memory, _by_hand("restart"))

    def _begin_anew(self, service: Service, memory: Memory) -> None:
        """Forget a stop by hand and the budget: whoever starts a service by hand has looked at it."""
        memory.stopped_by_hand = False
        memory.restarts = []
        memory.delay = memory.not_before = 0.0
        self._store.keep(service, memory)

    def _count(
        self, service: Service, memory: Memory, done: LastHeal, patient: Patient | None = None, evidence: str = ""
    ) -> None:
        """Let those who wait for the lock know that they need not do the same, and record it."""
        memory.heals += 1
        memory.last_heal = done
        self._store.keep(service, memory)
        heal = Heal(
            service.name, done.at, self._origin, patient.cause if patient else "by hand", done.action, done.ok,
            done.reason,
            since=patient.since if patient else None,
            answered_at=done.at if done.ok else None,
            evidence=evidence,
        )  # fmt: skip
        self.done.append(heal)
        self._record(heal)

    # On behalf of the checks.

    def heal(self, patient: Patient) -> Outcome:
        """Climb one rung of the ladder, unless there is a reason not to."""
        try:
            with self._held(patient.service) as memory:
                return self._heal(patient, memory)
        except HealError as error:
            return self._refused(patient, error.phrase)

    @contextmanager
    def _held(self, service: Service) -> Iterator[Memory]:
        """Hold the service's lock, and lend what is remembered. HealError if nothing may or can be done."""
        if unreachable := targets.out_of_reach(service):
            raise unreachable
        limit = longest(service)
        try:
            with self._store.lock(service, timeout=limit):
                yield self._store.recall(service)
        except LockTimeoutError:
            raise HealError("busy", name=service.name, seconds=limit) from None
        except OSError as error:
            # What the operating system refuses us is no fault of the service.
            where, problem = error.filename or "OS", error.strerror or error
            raise HealError("surroundings", name=service.name, where=where, problem=problem) from None
        finally:
            reap()

    def _heal(self, patient: Patient, memory: Memory) -> Outcome:
        service, last = patient.service, memory.last_heal
        if memory.stopped_by_hand:
            # A monitor's check has just said so.
            return self._refused(patient, Phrase("by_hand", {"name": service.name}), quiet=self._origin == "monitor")
        if memory.heals != patient.seen and last:
            return self._healed_elsewhere(patient, last)
        if self._steps.adopt(service, memory):
            done = LastHeal(time.time(), "found its process again", ok=True)
            self._count(service, memory, done, patient)
            return Outcome(service.name, patient.cause, done.action, ok=True, seen=memory.heals, answered_at=done.at)
        if refusal := budget.refusal(service, memory):
            self._store.keep(service, memory)
            # To a monitor, the waiting that follows is no news at every check.
            quiet = self._origin == "monitor" and not refusal.first
            return self._refused(patient, refusal.why, quiet=quiet, gave_up=refusal.first)
        memory.restarts.append(time.time())
        self._store.keep(service, memory)
        evidence = self._evidence(patient, memory)
        rung = service.ladder[patient.rung]
        try:
            if rung.run:
                self._steps.try_running(service, memory, rung.run, rung.timeout)
            self._steps.restart(service, memory)
            reason = ""
        except HealError as error:
            reason = str(error)
            self._voice.tell(error.phrase)
        # Counted whether it helped or not: those who wait for the lock must not repeat it.
        done = LastHeal(time.time(), rung.action, not reason, reason)
        self._count(service, memory, done, patient, evidence)
        return Outcome(
            service.name, patient.cause, rung.action, not reason, reason, used_rung=True,
            seen=memory.heals, answered_at=done.at if done.ok else None, evidence=evidence,
        )  # fmt: skip

    def _evidence(self, patient: Patient, memory: Memory) -> str:
        """Keep what can be known of the service now, tell where, and return that; empty if there is nothing."""
        from remediation.healer.evidence import collect

        try:
            folder = collect(patient.service, memory, patient, archive=self._archive)
        except Exception as error:  # noqa: BLE001 - its cure is worth more than its history
            self._voice.say("no_evidence", name=patient.service.name, problem=error)
            return ""
        if folder is None:
            return ""
        where = self._store.project.relative(folder)
        self._voice.say("evidence", name=patient.service.name, folder=where)
        return where

    def _healed_elsewhere(self, patient: Patient, last: LastHeal) -> Outcome:
        name = patient.service.name
        if last.ok:
            self._voice.say("healed_elsewhere", name=name)
            reason = ""
        else:
            self._voice.say("failed_elsewhere", name=name, reason=last.reason)
            reason = f"another auto-heal just tried and failed: {last.reason}"
        return Outcome(
            name, patient.cause, f"{last.action} by another auto-heal", last.ok, reason, used_rung=True,
            answered_at=last.at if last.ok else None,
        )  # fmt: skip

    def _refused(self, patient: Patient, why: Phrase, *, quiet: bool = False, gave_up: bool = False) -> Outcome:
        if not quiet:
            self._voice.tell(why)
        return Outcome(
            patient.service.name, patient.cause, "", ok=False, reason=str(why), refused=True, gave_up=gave_up
        )


def _by_hand(action: str) -> LastHeal:
    return LastHeal(time.time(), f"{action} by hand", ok=True)


def longest(service: Service) -> float:
    """Return the seconds that another healer may need: every step at its limit, and some to spare."""
    runs = max(rung.timeout if rung.run else 0.0 for rung in service.ladder)
    # Its processes, the port's holders and a command left behind are stopped; it is started, and asked if it is up.
    return runs + service.evidence_timeout + 3 * service.stop_timeout + 2 * service.start_timeout + _TO_SPARE
