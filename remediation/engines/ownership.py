"""Ownership of processes: which belong to a service, which hold its port, and which of them we may not end."""

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
    """Return the only marked process without a marked ancestor; None if there is none, or more than one."""
    members = _marked(service, state)
    pids = {identity.pid for identity in members}
    topmost = [member for member in members if not _ancestors(member) & pids]
    return topmost[0] if len(topmost) == 1 else None


def _ancestors(identity: Identity) -> set[int]:
    import psutil

    try:
        return {parent.pid for parent in psutil.Process(identity.pid).parents()}
    except psutil.Error:
        return set()


def roots(service: Service, state: ServiceState) -> list[Identity]:
    """Return the processes that are proven to be the service's: the one in its state, and the marked ones."""
    processes = _marked(service, state)
    if state.identity and state.identity.alive and state.identity not in processes:
        processes.append(state.identity)
    return processes


def _marked(service: Service, state: ServiceState) -> list[Identity]:
    """Return the processes with the mark of the service or of its last start.

    The service's mark contains the path of its folder; the start's mark outlives a move of the folder.
    """
    processes = marked_by({SERVICE_MARK: service.mark} | ({START_MARK: state.start} if state.start else {}))
    # A process that removed its service mark has left the service.
    return [each for each in processes if (value_of(SERVICE_MARK, each.pid) or "").endswith(f":{service.name}")]


def family(service: Service, state: ServiceState) -> list[Identity]:
    """Return the service's processes and their descendants, except protected ones and those of other services."""
    own = roots(service, state)
    # If the folder has moved since the start, the processes bear a mark with the old path.
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
    """Return why the service cannot be ended, if one of its own processes is protected; None otherwise."""
    for root in roots(service, state):
        if protection := _protection(root.pid):
            return HealError("out_of_bounds", name=service.name, holder=describe(root.pid), why=_why(protection))
    return None


def holders(listeners: Iterable[Listener]) -> set[int | None]:
    """Return the PIDs that hold these sockets open; None stands for a holder that the kernel hides from us."""
    return {pid for listener in listeners for pid in ports.sharers(listener) or [None]}


def obstacle(service: Service, number: int, holders: Iterable[int | None]) -> HealError | None:
    """Return why we may not end one of the port's holders, or None if we may end all."""
    return next(filter(None, (_obstacle(service, number, pid) for pid in holders)), None)


def _obstacle(service: Service, number: int, pid: int | None) -> HealError | None:
    if pid is None:
        return foreign(service, number, pid, _why(Protection.OTHER_USER))
    if protection := _protection(pid):
        return foreign(service, number, pid, _why(protection))
    # We end our own processes before we free the port, so this listener is a stranger.
    if service.free_port != "user":
        return foreign(service, number, pid, Message("why_stranger", {"free_port": service.free_port}))
    return None


def foreign(service: Service, number: int, pid: int | None, why: Message) -> HealError:
    """Return the error for a port whose holder we may not end."""
    return ForeignPortError(name=service.name, port=number, pid=pid, why=why)


def _protection(pid: int) -> Protection | None:
    """Return why we may not end a process; None if we may, or if it is gone."""
    protection = protected(pid)
    return None if protection is Protection.NO_PROCESS else protection


def _why(protection: Protection) -> Message:
    return Message(f"why_{protection.name.lower()}", {})
