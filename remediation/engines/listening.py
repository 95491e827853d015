"""Where a server listens that is not reached at the address of its service."""

from __future__ import annotations

from remediation.config.model import Service
from remediation.system import ports
from remediation.system.process import Identity, descendants

# How many places to name: a server may have ports of its own for metrics or a debugger.
_NAMED = 3


def elsewhere(service: Service, main: Identity) -> str:
    """Return where a process and its descendants listen; empty if that is the service's address, or nowhere."""
    address = service.address
    if address is None:
        return ""
    tree = {member.pid for member in descendants([main])}
    if tree & {listener.pid for listener in address.endpoint.listeners()}:
        return ""
    places = ports.listening(tree)
    others = f" (+{len(places) - _NAMED})" if len(places) > _NAMED else ""
    return ", ".join(places[:_NAMED]) + others
