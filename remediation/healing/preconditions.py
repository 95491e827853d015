"""Why a restart would come to nothing: looked up before anything is ended that could not be brought back."""

from __future__ import annotations

from remediation.config.model import Service
from remediation.healing import ownership
from remediation.healing.commands import unstartable
from remediation.healing.incident import HealError
from remediation.state.service_state import Memory
from remediation.system import ports


def hindrance(service: Service, memory: Memory) -> HealError | None:
    """Return why a service cannot be restarted now, as far as can be told without touching anything."""
    if not service.command:
        return unstartable(service, service.restart_command)
    return (
        ownership.untouchable(service, memory) or unstartable(service, service.command) or _held_port(service, memory)
    )


def _held_port(service: Service, memory: Memory) -> HealError | None:
    """Return why the port cannot be freed."""
    if service.address is None:
        return None
    number = service.address.port
    own = {member.pid for member in ownership.family(service, memory)}
    if ports.listens(own, number):
        # Whoever listens beside it is found when it has ended; all sockets take long to look through.
        return None
    strangers = [one for one in ports.listeners(number, service.address.host) if one.pid and one.pid not in own]
    # A socket that is nobody's may be that of a process which is just ending; the heal waits for it.
    return ownership.obstacle(service, number, sorted(pid for pid in ownership.holders(strangers) if pid))
