"""Orphans of a project: services that left its configuration, or were renamed there, while they ran."""

from __future__ import annotations

from remediation.config.model import Service
from remediation.config.resolve import resolve_service
from remediation.config.schema import NAME
from remediation.engines.local import LocalEngine
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store
from remediation.system.files import matching
from remediation.system.process import introduce


def orphans(store: Store) -> list[Service]:
    """Return the services of which we remember a process that lives, and that the configuration no longer has.

    Their keys are gone, so they have no address, and are stopped with the default signal and times.
    """
    project = store.project
    names = sorted(path.stem for path in matching(project.state_folder, "*.json"))
    found = []
    for name in names:
        if name in project.services or not NAME.fullmatch(name):
            continue
        # What it was started by is unknown, and is not needed: an orphan is never started again.
        values = {"command": ["orphan"], "ready": "none"}
        service = resolve_service(name, values, project=project, where="")
        state = store.recall(service)
        if state.pid and LocalEngine(service).is_running(state):
            found.append(service)
    return found


def log_orphans(store: Store, event_log: EventLog) -> None:
    """Log which services run although they are no longer in the configuration."""
    for service in orphans(store):
        processes = LocalEngine(service).processes(store.recall(service))
        holder = ", ".join(introduce(process.pid) for process in processes)
        event_log.log("orphan", name=service.name, holder=holder)
