"""What every remediation shares: the service's lock, its evidence, and the counting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from msgspec.structs import replace

from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.engines.spawn import reap
from remediation.healing.actions import VALIDATE_SECONDS, Actions
from remediation.healing.hooks import HOOK_SECONDS, Hooks, NoHooks
from remediation.healing.incident import Incident
from remediation.messages.message import Message
from remediation.state.event_log import EventLog
from remediation.state.evidence_store import Archive
from remediation.state.remediation import Origin, Remediation, RemediationResult
from remediation.state.service_state import ServiceState, Store
from remediation.system.files import Folder, LockLostError, LockTimeoutError

# Seconds to wait for another healer beyond the longest heal that the configuration allows.
_LOCK_MARGIN = 5.0


class RemediationContext:
    """The store, the log and the history that remediations share; threads may share it, too."""

    def __init__(
        self,
        store: Store,
        event_log: EventLog,
        *,
        record: Callable[[Remediation], None],
        origin: Origin,
        hooks: Hooks | None = None,
    ) -> None:
        """Keep state in `store`, log to `event_log`, and `record` each remediation as the work of `origin`."""
        self.hooks: Hooks = hooks or NoHooks()
        self.store = store
        self.event_log = event_log
        self.origin: Origin = origin
        self.actions = Actions(store, event_log)
        self._record = record
        self._archive = Archive(store.project)

    @contextmanager
    def held(self, service: Service) -> Iterator[ServiceState]:
        """Hold the service's lock, and yield its state. HealError if we cannot get the lock."""
        limit = longest(service)
        try:
            with as_heal_errors(service), self.store.lock(service, timeout=limit):
                yield self.actions.recall(service)
        finally:
            reap()

    def count(self, service: Service, state: ServiceState, remediation: Remediation) -> Remediation:
        """Count and record a remediation, and return it with its number.

        The count tells processes that wait for the lock that they need not heal again.
        """
        state.heals += 1
        state.last_heal = remediation
        self.store.keep(service, state)
        self._record(remediation)
        return replace(remediation, number=state.heals)

    def evidence(self, incident: Incident, state: ServiceState) -> str:
        """Collect evidence about the service, and log and return the folder; empty if there is no evidence."""
        from remediation.healing.diagnostics import collect

        try:
            folder = collect(incident.service, state, incident, archive=self._archive)
        except Exception as error:  # noqa: BLE001 - failed diagnostics must never block a heal
            self.event_log.log("no_evidence", name=incident.service.name, problem=error)
            return ""
        if folder is None:
            return ""
        relative = self.store.project.relative(folder)
        self.event_log.log("evidence", name=incident.service.name, folder=relative)
        return relative

    def add_evidence(self, folder: str, name: str, content: str) -> None:
        """Write one more file into a folder of evidence; nothing if there is no such folder."""
        if folder:
            with suppress(OSError), Folder.at(self.store.project.root / folder) as opened:
                opened.write(name, content.encode(errors="backslashreplace"))

    def skipped(self, incident: Incident, state: ServiceState) -> Remediation | None:
        """Return the remediation of a service that must be left alone; None if we may act on it.

        We leave a service alone that was stopped by hand or is paused, or that another process healed since it failed.
        """
        if state.stopped_by_hand:
            why = Message("by_hand", {"name": incident.service.name})
            # A monitor's check has just logged it.
            return self.refuse(incident, why, quiet=self.origin == "monitor")
        if paused := self.store.why_paused(incident.service.name):
            return self.refuse(incident, paused)
        if state.heals != incident.seen and state.last_heal:
            remediation = self._healed_elsewhere(incident, state.last_heal)
            if state.rolled_back > incident.seen:
                return replace(remediation, rolled_back=True, rollback_problem=state.rollback_problem)
            return remediation
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

    def refuse(self, incident: Incident, why: Message, *, quiet: bool = False, gave_up: bool = False) -> Remediation:
        """Log why nothing is done for a service, unless `quiet`, and return it as a remediation."""
        if not quiet:
            self.event_log.log_message(why)
        result = RemediationResult.GAVE_UP if gave_up else RemediationResult.REFUSED
        return incident.remediation(self.origin, result, reason=str(why))


@contextmanager
def as_heal_errors(service: Service) -> Iterator[None]:
    """Turn errors of locks and of the operating system, which the service did not cause, into a HealError."""
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
    """Return the seconds that another healer may need: every step at its limit, and a margin."""
    runs = max(step.timeout if step.run or step.hook else 0.0 for step in service.ladder)
    if service.rollback:
        runs = max(runs, service.rollback.timeout)
    if service.validate_command:
        runs += VALIDATE_SECONDS
    # Three stops: its processes, the holders of its port, a command left behind. Three starts: tries within
    # start_timeout, launch, readiness.
    hooks = 2 * HOOK_SECONDS
    return runs + hooks + service.evidence_timeout + 3 * service.stop_timeout + 3 * service.start_timeout + _LOCK_MARGIN
