"""Kill a process with all its descendants, except services and their descendants, which are meant to outlive it."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from remediation.config.model import Project
from remediation.state.service_state import Store
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity, descendants, of_this_user, terminate, value_of

# How long to wait for the end of the processes after SIGKILL, in seconds.
_TIMEOUT = 1.0


def end_family(pid: int, project: Project) -> None:
    """Kill a child whose exit status was not collected yet, so that its PID is still its own, and its descendants.

    A service is recognized by its mark or, if it has cleared its environment, by its stored identity.
    """
    if root := Identity.of(pid):
        terminate(
            lambda: without_services(descendants([root]), project),
            signum=signal.SIGKILL,
            timeout=_TIMEOUT,
        )


def without_services(processes: Iterable[Identity], project: Project) -> list[Identity]:
    """Return this user's processes that are neither services nor descendants of services.

    A descendant of a service may lack the service's mark: PostgreSQL's processes overwrite it with their titles.
    """
    store, processes = Store(project), list(processes)
    proven = {store.proven_process(service) for service in project.services.values()}
    services = [
        process for process in processes if process in proven or value_of(SERVICE_MARK, process.pid) is not None
    ]
    excluded = {*services, *descendants(services)}
    return of_this_user(process for process in processes if process not in excluded)
