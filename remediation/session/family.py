"""End a process with all that it started, but for services: these are meant to outlive it."""

from __future__ import annotations

import signal

from remediation.primitives.mark import value_of
from remediation.primitives.process import Identity, descendants, terminate
from remediation.project.memory import Store
from remediation.project.model import MARK, Project

# After SIGKILL, how long the family is waited for, in seconds.
_TIMEOUT = 1.0


def end_family(pid: int, project: Project) -> None:
    """End a child of ours that was not waited for yet, so that its PID is still its own, and its descendants.

    Services are known by their mark, or by what is remembered of them if they have emptied their environment.
    """
    store = Store(project)
    services = {store.proven_process(service) for service in project.services.values()}
    if root := Identity.of(pid):
        terminate(
            lambda: [one for one in descendants([root]) if value_of(MARK, one.pid) is None and one not in services],
            signum=signal.SIGKILL,
            timeout=_TIMEOUT,
        )
