"""The way back, seen from a run: who has to take it, what answers then, and what it may have swept away."""

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
    """Return whom a deployment has made sick and no heal has helped, having told what it broke."""
    incidents = run_state.to_roll_back()
    if not incidents:
        if back := [name for name, done in run_state.remediations.items() if any(one.rolled_back for one in done)]:
            event_log.log("back_already", names=", ".join(back))
        elif spared := run_state.to_roll_back(all_sick=True):
            event_log.log("no_rollback", names=_names(spared))
        return []
    for change in run_state.changes():
        event_log.log_message(change.message)
    return incidents


def roll_back_all(
    incidents: Iterable[Incident], remediator: Remediator, run_state: RunState, store: Store, event_log: EventLog
) -> list[Remediation]:
    """Roll all of them back, and with each all that share its command, by running it once."""
    groups: dict[object, list[Incident]] = {}
    for incident in incidents:
        groups.setdefault(_way(incident.service), []).append(incident)
    done: list[Remediation] = []
    for way, group in groups.items():
        together = group + _companions(way, group, store)
        try:
            with _kept(run_state.rounds):
                done += remediator.roll_back(together)
        except KeyboardInterrupt:
            event_log.log("back_interrupted", names=_names(together))
            raise
    return done


def _way(service: Service) -> tuple[object, ...]:
    return service.rollback, service.cwd


def _companions(way: object, group: list[Incident], store: Store) -> list[Incident]:
    """Return the services that are well and go back as well: else they would run what is not there any more."""
    from remediation.healing.incident import Incident

    sick = [incident.service.name for incident in group]
    found = []
    for service in store.project.services.values():
        state = store.recall(service)
        if _way(service) == way and service.name not in sick and not state.stopped_by_hand:
            cause = f"shares the rollback of {', '.join(sick)}"
            found.append(Incident(service, cause, group[0].since, state.heals))
    return found


def _names(incidents: Iterable[Incident]) -> str:
    return ", ".join(incident.service.name for incident in incidents)


@contextmanager
def _kept(rounds: Iterable[Round]) -> Iterator[None]:
    """Keep the reports of the rounds, which a rollback may sweep away with all that git does not know."""
    reports = {part.xml: part.xml.read_bytes() for one in rounds for part in one.parts}
    try:
        yield
    finally:
        for path, content in reports.items():
            if not path.exists():
                make_folder(path.parent)
                path.write_bytes(content)


def await_previous_versions(
    remediations: Iterable[Remediation], told: Deployment, known: Mapping[str, str], store: Store, event_log: EventLog
) -> Deployment:
    """Wait for the versions that were `known` before, and return what the next round has to expect.

    Whoever runs a service may take a while to bring the old one back.
    """
    from remediation.deployment import wait

    services = store.project.services
    back = [services[one.service] for one in remediations if one.rolled_back and not one.rollback_problem]
    after = told.back([service.name for service in back if service.version], known)
    wait.await_arrival(back, store, event_log, wait=told.wait, versions=after.versions)
    return after
