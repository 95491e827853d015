"""Lock grants: a command of a healer need not wait for the locks that this healer holds.

A rollback is typically `git checkout v1 && auto-heal restart api`. Without a grant, that auto-heal would wait for the
lock of the healer that waits for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from remediation.config.model import Service
from remediation.system import environment
from remediation.system.process import Identity, Protection, protected


def granted(services: Iterable[Service]) -> dict[str, str]:
    """Return the environment variables that grant a command the locks of these services, which we hold."""
    ourselves = Identity.of(os.getpid())
    if ourselves is None:
        return {}
    return {environment.HELD_LOCKS: json.dumps([ourselves.pid, ourselves.born, [service.mark for service in services]])}


def is_granted(service: Service) -> bool:
    """Return whether this process is, or descends from, a command of a healer that holds the lock of this service."""
    if not (text := environment.value(environment.HELD_LOCKS)):
        return False
    try:
        grant = json.loads(text)
    except (ValueError, RecursionError):
        return False
    match grant:
        case [int(pid), str(born), [*marks]] if service.mark in marks:
            return runs_us(Identity(pid, born))
    return False


def runs_us(identity: Identity) -> bool:
    """Return whether a process lives and is an ancestor of ours."""
    # PID 1 is the healer itself where a container runs nothing else.
    return identity.alive and protected(identity.pid) in {Protection.ANCESTOR, Protection.INIT}
