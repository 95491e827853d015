"""What everything that is done to a service has in common: its lock, its evidence, and that it is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.engines.spawn import reap
from remediation.healing.actions import Actions
from remediation.healing.incident import Incident
from remediation.messages.message import Message
from remediation.state.event_log import EventLog
from remediation.state.evidence_store import Archive
from remediation.state.remediation import Origin, Remediation, RemediationResult
from remediation.state.service_state import ServiceState, Store
from remediation.system.files import LockLostError, LockTimeoutError

# Beyond what a heal may take by its configuration, how long to wait for another healer.
_TO_SPARE = 5.0


class RemediationContext:
    """Whoever takes care of services; several may be treated in threads."""

    def __init__(
        self, store: Store, event_log: EventLog, *, record: Callable[[Remediation], None], origin: Origin
    ) -> None:
        """Remember in `store`, tell by `event_log`, and `record` what was done as the work of `origin`."""
        self.store = store
        self.event_log = event_log
        self.origin: Origin = origin
        self.steps = Actions(store, event_log)
        self._record = record
        self._archive = Archive(store.project)

    @contextmanager
    def held(self, service: Service) -> Iterator[ServiceState]:
        """Hold the service's lock, and lend what is remembered. HealError if that is not to be had."""
        limit = longest(service)
        try:
            with explained(service), self.store.lock(service, timeout=limit):
                yield self.steps.recall(service)
        finally:
            reap()

    def count(self, service: Service, state: ServiceState, done: Remediation) -> Remediation:
        """Let those who wait for the lock know that they need not do the same, record it, and return it numbered."""
        state.heals += 1
        state.last_heal = done
        self.store.keep(service, state)
        self._record(done)
        return replace(done, number=state.heals)

    def evidence(self, incident: Incident, state: ServiceState) -> str:
        """Keep what can be known of the service now, tell where, and return that; empty if there is nothing."""
        from remediation.healing.diagnostics import collect

        try:
            folder = collect(incident.service, state, incident, archive=self._archive)
        except Exception as error:  # noqa: BLE001 - its cure is worth more than its history
            self.event_log.log("no_evidence", name=incident.service.name, problem=error)
            return ""
        if folder is None:
            return ""
        where = self.store.project.relative(folder)
        self.event_log.log("evidence", name=incident.service.name, folder=where)
        return where

    def spared(self, incident: Incident, state: ServiceState) -> Remediation | None:
        """Return what becomes of a service that is to be left alone, or None if it is not.

        That is one stopped by hand, and one that somebody else healed since it failed.
        """
        if state.stopped_by_hand:
            why = Message("by_hand", {"name": incident.service.name})
            # A monitor's check has just said so.
            return self.refused(incident, why, quiet=self.origin == "monitor")
        if state.heals != incident.seen and state.last_heal:
            done = self._healed_elsewhere(incident, state.last_heal)
            if state.rolled_back > incident.seen:
                return replace(done, rolled_back=True, rollback_problem=state.rollback_problem)
            return done
        return None

    def _healed_elsewhere(self, incident: Incident, last: Remediation) -> Remediation:
        name = incident.service.name
        if last.ok:
            self.event_log.log("healed_elsewhere", name=name)
            reason = ""
        else:
            self.event_log.log("failed_elsewhere", name=name, reason=last.reason)
            reason = f"another auto-heal just tried and failed: {last.reason}"
        result = RemediationResult.READY if last.ok else RemediationResult.FAILED
        return incident.remediation(self.origin, result, f"{last.action} by another auto-heal", reason, at=last.at)

    def refused(self, incident: Incident, why: Message, *, quiet: bool = False, gave_up: bool = False) -> Remediation:
        """Tell why nothing is done for a service, and return that."""
        if not quiet:
            self.event_log.log_message(why)
        result = RemediationResult.GAVE_UP if gave_up else RemediationResult.REFUSED
        return incident.remediation(self.origin, result, reason=str(why))


@contextmanager
def explained(service: Service) -> Iterator[None]:
    """Turn what the operating system refuses us, which is no fault of the service, into a HealError."""
    try:
        yield
    except LockLostError as error:
        raise HealError("lock_lost", name=service.name, lock=error.filename) from None
    except LockTimeoutError:
        raise HealError("busy", name=service.name, seconds=longest(service)) from None
    except OSError as error:
        where, problem = error.filename or "OS", error.strerror or error
        raise HealError("surroundings", name=service.name, where=where, problem=problem) from None


def longest(service: Service) -> float:
    """Return the seconds that another healer may need: every step at its limit, and some to spare."""
    runs = max(rung.timeout if rung.run else 0.0 for rung in service.ladder)
    if service.rollback:
        runs = max(runs, service.rollback.timeout)
    # Its processes, the port's holders and a command left behind are stopped; it is started, and asked if it is up.
    return runs + service.evidence_timeout + 3 * service.stop_timeout + 2 * service.start_timeout + _TO_SPARE
