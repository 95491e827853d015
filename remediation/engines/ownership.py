"""Whose processes these are: the service's own, and whoever is on its port; and which of them may not be ended."""

from __future__ import annotations

from collections.abc import Iterable

from remediation.config.model import Service
from remediation.engines.errors import ForeignPortError, HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState
from remediation.system import ports
from remediation.system.environment import SERVICE_MARK, START_MARK
from remediation.system.ports import Listener
from remediation.system.process import Identity, Protection, descendants, describe, marked_by, protected, value_of


def marked_root(service: Service, state: ServiceState) -> Identity | None:
    """Return the one marked process that is no child of another; None if there is none, or more than one."""
    members = _marked(service, state)
    pids = {identity.pid for identity in members}
    found = [member for member in members if not _parents(member) & pids]
    return found[0] if len(found) == 1 else None


def _parents(identity: Identity) -> set[int]:
    import psutil

    try:
        return {parent.pid for parent in psutil.Process(identity.pid).parents()}
    except psutil.Error:
        return set()


def roots(service: Service, state: ServiceState) -> list[Identity]:
    """Return the processes that are provenly the service's: the one remembered, and the marked."""
    found = _marked(service, state)
    if state.identity and state.identity.alive and state.identity not in found:
        found.append(state.identity)
    return found


def _marked(service: Service, state: ServiceState) -> list[Identity]:
    """Return what bears the mark of the service, or of the last start of it: the one has its folder's path in it."""
    found = marked_by({SERVICE_MARK: service.mark} | ({START_MARK: state.start} if state.start else {}))
    # Whoever took the mark off does not want to be of the service any more.
    return [one for one in found if (value_of(SERVICE_MARK, one.pid) or "").endswith(f":{service.name}")]


def family(service: Service, state: ServiceState) -> list[Identity]:
    """Return the service's processes and their descendants, but for what is out of bounds or another service's."""
    own = roots(service, state)
    # Of a service that was started when its folder had another path, the mark is that of then.
    marks = {None, service.mark, *(value_of(SERVICE_MARK, root.pid) for root in own)}
    return [
        member
        for member in descendants(own)
        if not protected(member.pid) and value_of(SERVICE_MARK, member.pid) in marks
    ]


def owns_port(number: int, pid: int) -> bool:
    """Return whether the process, or one of its descendants, listens on a port."""
    if ports.listens({pid}, number):
        return True
    identity = Identity.of(pid)
    return identity is not None and ports.listens({member.pid for member in descendants([identity])}, number)


def untouchable(service: Service, state: ServiceState) -> HealError | None:
    """Return why the service cannot be ended, if one of its own processes is out of bounds."""
    for root in roots(service, state):
        if protection := _protection(root.pid):
            return HealError("out_of_bounds", name=service.name, holder=describe(root.pid), why=_why(protection))
    return None


def holders(listeners: Iterable[Listener]) -> set[int | None]:
    """Return all who hold these sockets open; None for one that the kernel does not tell us of."""
    return {pid for listener in listeners for pid in ports.sharers(listener) or [None]}


def obstacle(service: Service, number: int, holders: Iterable[int | None]) -> HealError | None:
    """Return why one of the port's holders may not be ended, or None if all may be."""
    return next(filter(None, (_obstacle(service, number, pid) for pid in holders)), None)


def _obstacle(service: Service, number: int, pid: int | None) -> HealError | None:
    if pid is None:
        return foreign(service, number, pid, _why(Protection.OTHER_USER))
    if protection := _protection(pid):
        return foreign(service, number, pid, _why(protection))
    # What is ours was ended before the port is freed; whoever listens now is a stranger.
    if service.free_port != "user":
        return foreign(service, number, pid, Message("why_stranger", {"free_port": service.free_port}))
    return None


def foreign(service: Service, number: int, pid: int | None, why: Message) -> HealError:
    """Return the error that a port is held by somebody who may not be ended."""
    return ForeignPortError(name=service.name, port=number, pid=pid, why=why)


def _protection(pid: int) -> Protection | None:
    """Return why a process may not be ended; that it is gone is no reason."""
    protection = protected(pid)
    return None if protection is Protection.NO_PROCESS else protection


def _why(protection: Protection) -> Message:
    return Message(f"why_{protection.name.lower()}", {})
