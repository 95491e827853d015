"""Roll back within a run: choose the services, wait for their previous versions, and restore removed reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from remediation.config.model import Service
from remediation.deployment.context import Deployment
from remediation.run.rounds import Round
from remediation.run.run_state import RunState
from remediation.state.event_log import EventLog
from remediation.state.remediation import Remediation
from remediation.state.service_state import Store
from remediation.system.files import make_folder

if TYPE_CHECKING:
    from remediation.healing.incident import Incident
    from remediation.healing.remediator import Remediator


def report_broken(run_state: RunState, event_log: EventLog) -> list[Incident]:
    """Return the incidents that a deployment caused and no heal resolved, and log what the deployment broke."""
    incidents = run_state.to_roll_back()
    if not incidents:
        rolled_back = [
            name
            for name, remediations in run_state.remediations.items()
            if any(remediation.rolled_back for remediation in remediations)
        ]
        if rolled_back:
            event_log.log("back_already", names=", ".join(rolled_back))
        elif without_rollback := run_state.to_roll_back(all_sick=True):
            event_log.log("no_rollback", names=_names(without_rollback))
        return []
    for change in run_state.changes():
        event_log.log_message(change.message)
    return incidents


def roll_back_all(
    incidents: Iterable[Incident], remediator: Remediator, run_state: RunState, store: Store, event_log: EventLog
) -> list[Remediation]:
    """Roll back all of them; each rollback command runs once for all services that share it."""
    groups: dict[object, list[Incident]] = {}
    for incident in incidents:
        groups.setdefault(_rollback_key(incident.service), []).append(incident)
    remediations: list[Remediation] = []
    for key, group in groups.items():
        together = group + _companions(key, group, store)
        try:
            with _preserved_reports(run_state.rounds):
                remediations += remediator.roll_back(together)
        except KeyboardInterrupt:
            event_log.log("back_interrupted", names=_names(together))
            raise
    return remediations


def _rollback_key(service: Service) -> tuple[object, ...]:
    return service.rollback, service.cwd


def _companions(key: object, group: list[Incident], store: Store) -> list[Incident]:
    """Return incidents for the healthy services that share the rollback.

    Without a restart, they would run code that the rollback has removed.
    """
    from remediation.healing.incident import Incident

    failing = [incident.service.name for incident in group]
    companions = []
    for service in store.project.services.values():
        state = store.recall(service)
        if _rollback_key(service) == key and service.name not in failing and not state.stopped_by_hand:
            cause = f"shares the rollback of {', '.join(failing)}"
            companions.append(Incident(service, cause, group[0].since, state.heals))
    return companions


def _names(incidents: Iterable[Incident]) -> str:
    return ", ".join(incident.service.name for incident in incidents)


@contextmanager
def _preserved_reports(rounds: Iterable[Round]) -> Iterator[None]:
    """Restore the reports of the rounds if a rollback removes them as untracked files."""
    reports = {part.xml: part.xml.read_bytes() for each in rounds for part in each.parts}
    try:
        yield
    finally:
        for path, content in reports.items():
            if not path.exists():
                make_folder(path.parent)
                path.write_bytes(content)


def await_previous_versions(
    remediations: Iterable[Remediation],
    deployment: Deployment,
    versions: Mapping[str, str],
    store: Store,
    event_log: EventLog,
) -> Deployment:
    """Wait for the previous `versions`, and return the deployment that the next round has to expect.

    An external engine may take a while to start the old version.
    """
    from remediation.deployment import wait

    services = store.project.services
    rolled_back = [services[each.service] for each in remediations if each.rolled_back and not each.rollback_problem]
    expected = deployment.back([service.name for service in rolled_back if service.version], versions)
    wait.await_arrival(rolled_back, store, event_log, wait=deployment.wait, versions=expected.versions)
    return expected
