"""End a process with all that it started, but for services and what these started: they are meant to outlive it."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from remediation.config.model import Project
from remediation.state.service_state import Store
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity, descendants, terminate, value_of

# After SIGKILL, how long the family is waited for, in seconds.
_TIMEOUT = 1.0


def end_family(pid: int, project: Project) -> None:
    """End a child of ours that was not waited for yet, so that its PID is still its own, and its descendants.

    Services are known by their mark, or by what is remembered of them if they have emptied their environment.
    """
    if root := Identity.of(pid):
        terminate(
            lambda: without_services(descendants([root]), project),
            signum=signal.SIGKILL,
            timeout=_TIMEOUT,
        )


def without_services(found: Iterable[Identity], project: Project) -> list[Identity]:
    """Return those of some processes that belong to no service: they are none, and no service has started them.

    What a service has started need not have its mark: PostgreSQL's processes overwrite it with their titles.
    """
    store, found = Store(project), list(found)
    proven = {store.proven_process(service) for service in project.services.values()}
    services = [one for one in found if one in proven or value_of(SERVICE_MARK, one.pid) is not None]
    spared = {*services, *descendants(services)}
    return [one for one in found if one not in spared]
