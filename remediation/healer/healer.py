"""Decide what may be done to one service: its lock, its budget, its ladder, and who else was at it."""

from __future__ import annotations

import time
from collections.abc import Callable

from remediation.healer.launch import reap
from remediation.healer.outcome import Outcome, Patient
from remediation.healer.steps import HealError, Steps
from remediation.primitives import port
from remediation.primitives.file import LockTimeoutError
from remediation.project.memory import LastHeal, Memory, Store
from remediation.project.model import Service
from remediation.project.phrase import Phrase
from remediation.project.voice import Voice

# Beyond what a heal may take by its configuration, how long to wait for another healer.
_PATIENCE = 5.0


class Healer:
    """Acts on services. Every public method takes the service's lock; several may run in threads."""

    def __init__(self, store: Store, voice: Voice) -> None:
        """Remember in `store`, tell by `voice`."""
        self._store = store
        self._voice = voice
        self._steps = Steps(store, voice)

    # By hand.

    def start(self, service: Service) -> None:
        """Start a service unless it is up; ends a stop by hand. HealError if it does not come up."""

        def act(memory: Memory) -> None:
            memory.stopped_by_hand = False
            self._store.keep(service, memory)
            if self._steps.already_up(service, memory):
                return
            self._steps.stop_and_free(service, memory)
            self._steps.start(service, memory, service.start_command or service.restart_command)

        self._by_hand(service, act)

    def stop(self, service: Service) -> None:
        """Stop a service and free its port; it stays stopped until started by hand. HealError if it lives on."""

        def act(memory: Memory) -> None:
            if not service.command and not service.stop_command:
                raise HealError("no_stop", name=service.name)
            memory.stopped_by_hand = True
            self._store.keep(service, memory)
            self._voice.say("stopping", name=service.name)
            if service.stop_command:
                self._steps.run(service, service.stop_command, service.stop_timeout + _PATIENCE)
            else:
                self._steps.end(service, memory)
                self._steps.free(service, strict=False)
            self._voice.say("stopped", name=service.name)

        self._by_hand(service, act)

    def restart(self, service: Service) -> None:
        """Stop and start a service, whatever its state; ends a stop by hand. HealError if it does not come up."""

        def act(memory: Memory) -> None:
            memory.stopped_by_hand = False
            self._store.keep(service, memory)
            self._steps.restart(service, memory)

        self._by_hand(service, act, counts=True)

    def _by_hand(self, service: Service, act: Callable[[Memory], None], *, counts: bool = False) -> None:
        """Act under the lock; what `counts` is a restart to those who wait for it, and need not do another."""
        self._refuse_distant(service)
        try:
            with self._store.lock(service, timeout=self._longest(service)):
                memory = self._store.recall(service)
                act(memory)
                if counts:
                    self._count(service, memory, LastHeal(time.time(), "restart by hand", ok=True))
        except LockTimeoutError:
            raise self._busy(service) from None
        except OSError as error:
            raise self._surroundings(service, error) from None
        finally:
            reap()

    def _count(self, service: Service, memory: Memory, done: LastHeal) -> None:
        memory.heals += 1
        memory.last_heal = done
        self._store.keep(service, memory)

    # On behalf of the checks.

    def heal(self, patient: Patient) -> Outcome:
        """Climb one rung of the ladder, unless there is a reason not to."""
        service = patient.service
        try:
            self._refuse_distant(service)
            with self._store.lock(service, timeout=self._longest(service)):
                return self._heal(patient, self._store.recall(service))
        except LockTimeoutError:
            return self._refused(patient, self._busy(service).phrase)
        except HealError as error:
            return self._refused(patient, error.phrase)
        except OSError as error:
            return self._refused(patient, self._surroundings(service, error).phrase)
        finally:
            reap()

    def _heal(self, patient: Patient, memory: Memory) -> Outcome:
        service, last = patient.service, memory.last_heal
        if memory.stopped_by_hand:
            return self._refused(patient, Phrase("by_hand", {"name": service.name}))
        if memory.heals != patient.seen and last:
            return self._healed_elsewhere(patient, last)
        budget = service.budget
        if memory.restarts_within(budget) >= budget.restarts:
            self._store.keep(service, memory)
            values = {"name": service.name, "restarts": budget.restarts, "window": budget.window}
            return self._refused(patient, Phrase("budget", values))
        memory.restarts.append(time.time())
        self._store.keep(service, memory)
        rung = service.ladder[patient.rung]
        try:
            if rung.run:
                self._steps.try_running(service, rung.run, rung.timeout)
            self._steps.restart(service, memory)
            reason = ""
        except HealError as error:
            reason = str(error)
            self._voice.tell(error.phrase)
        # Counted whether it helped or not: those who wait for the lock must not repeat it.
        done = LastHeal(time.time(), rung.action, not reason, reason)
        self._count(service, memory, done)
        return Outcome(
            service.name, patient.cause, rung.action, not reason, reason, used_rung=True,
            seen=memory.heals, answered_at=done.at if done.ok else None,
        )  # fmt: skip

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

    def _refused(self, patient: Patient, why: Phrase) -> Outcome:
        self._voice.tell(why)
        return Outcome(patient.service.name, patient.cause, "", ok=False, reason=str(why))

    @staticmethod
    def _refuse_distant(service: Service) -> None:
        if not service.healable:
            raise HealError("never_healed", name=service.name)
        if service.command and service.address and not port.is_local(service.address.host):
            raise HealError("not_here", name=service.name, url=service.address)

    @staticmethod
    def _surroundings(service: Service, error: OSError) -> HealError:
        """Return what the operating system refused us, which is no fault of the service."""
        where, problem = error.filename or "OS", error.strerror or error
        return HealError("surroundings", name=service.name, where=where, problem=problem)

    def _busy(self, service: Service) -> HealError:
        return HealError("busy", name=service.name, seconds=self._longest(service))

    @staticmethod
    def _longest(service: Service) -> float:
        """The seconds that another healer may need: every step at its limit, and some patience."""
        runs = max(rung.timeout if rung.run else 0.0 for rung in service.ladder)
        return runs + 3 * service.stop_timeout + service.start_timeout + _PATIENCE
