"""Ownership of processes: which belong to a service, which hold its port, and which of them we may not end.

A process is the service's if we started it, if it descends from such a process, if it is in the session that we made
for it, or if it bears the service's mark. All else is not the service's, whatever it does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from msgspec import Struct

from remediation.config.model import Service
from remediation.engines.errors import ForeignPortError, HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState
from remediation.system import ports
from remediation.system.endpoints import Endpoint
from remediation.system.environment import SERVICE_MARK, START_MARK
from remediation.system.ports import Listener
from remediation.system.process import (
    Identity,
    Life,
    Protection,
    descendants,
    describe,
    has_terminal,
    marked_by,
    pids,
    protected,
    session_members,
    user_of,
    value_of,
)


def marked_root(service: Service, state: ServiceState) -> Identity | None:
    """Return the only process of the service that descends from no other; None if there is none, or more than one."""
    return _topmost(roots(service, state).own)


def successor(service: Service, state: ServiceState) -> Identity | None:
    """Return the process that a server has put in its own place; None if there is none.

    It is the only process of the service that descends from no other, and it has workers: what a killed server leaves
    behind are workers without a parent.
    """
    topmost, address = _topmost(roots(service, state).own), service.address
    if topmost is None or address is None or topmost.life is not Life.RUNNING:
        return None
    tree = descendants([topmost])
    return topmost if len(tree) > 1 and address.endpoint.listens({member.pid for member in tree}) else None


def _topmost(members: list[Identity]) -> Identity | None:
    """Return the only one of these processes that has no ancestor among them; None if there are several, or none."""
    pids = {identity.pid for identity in members}
    topmost = [member for member in members if not _ancestors(member) & pids]
    return topmost[0] if len(topmost) == 1 else None


def _ancestors(identity: Identity) -> set[int]:
    import psutil

    try:
        return {parent.pid for parent in psutil.Process(identity.pid).parents()}
    except psutil.Error:
        return set()


class Roots(Struct, frozen=True):
    """The processes from which those of a service descend."""

    own: list[Identity]
    spared: list[Identity]
    """Processes that bear the service's mark, but belong to a person: a shell, an editor, a debugger."""


def roots(service: Service, state: ServiceState) -> Roots:
    """Return the processes that are proven to be the service's, by its state, its session and its mark."""
    proven = session_members(state.session_leader) if state.session_leader else []
    if state.identity and state.identity.alive and state.identity not in proven:
        proven.append(state.identity)
    tree = set(descendants(proven))
    by_mark = [each for each in _marked(service, state) if each not in tree]
    spared = _of_persons(service, by_mark)
    return Roots(proven + [each for each in by_mark if each not in spared], spared)


def _of_persons(service: Service, by_mark: list[Identity]) -> list[Identity]:
    """Return the processes that a person works in, of those that are known by their mark alone.

    They have a controlling terminal, or an ancestor or descendant with one: a terminal multiplexer has none itself.
    Those that listen on the service's port are the service's nevertheless.
    """
    if not by_mark:
        return []
    with_terminal = [identity for pid in pids() if has_terminal(pid) and (identity := Identity.of(pid))]
    above = {pid for each in with_terminal for pid in (each.pid, *_ancestors(each))}
    persons = set(descendants(each for each in by_mark if each.pid in above))
    address = service.address
    return [each for each in by_mark if each in persons and not (address and address.endpoint.listens({each.pid}))]


def _marked(service: Service, state: ServiceState) -> list[Identity]:
    """Return the processes with the mark of the service or of its last start.

    The service's mark contains the path of its folder; the start's mark outlives a move of the folder.
    """
    # Only we, and who may read the state, know the mark of a start.
    marks = {SERVICE_MARK: service.mark} | ({START_MARK: state.start} if state.start else {})
    processes = marked_by(marks, secret=START_MARK)
    # A process that removed its service mark has left the service.
    return [each for each in processes if (value_of(SERVICE_MARK, each.pid) or "").endswith(f":{service.name}")]


def family(service: Service, state: ServiceState) -> list[Identity]:
    """Return the service's processes and their descendants, except protected ones and those of other services."""
    own, spared = (found := roots(service, state)).own, found.spared
    # If the folder has moved since the start, the processes bear a mark with the old path.
    marks = {None, service.mark, *(value_of(SERVICE_MARK, root.pid) for root in own)}
    return [
        member
        for member in descendants(own)
        if member not in spared and not protected(member.pid) and value_of(SERVICE_MARK, member.pid) in marks
    ]


def owns(endpoint: Endpoint, pid: int) -> bool:
    """Return whether the process, or one of its descendants, listens there."""
    if endpoint.listens({pid}):
        return True
    identity = Identity.of(pid)
    return identity is not None and endpoint.listens({member.pid for member in descendants([identity])})


def untouchable(service: Service, state: ServiceState) -> HealError | None:
    """Return why the service cannot be ended, if one of its own processes is protected; None otherwise."""
    for root in roots(service, state).own:
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
    if service.free_port == "never":
        return foreign(service, number, pid, Message("why_never", {}))
    if service.free_port != "user":
        return foreign(service, number, pid, Message("why_stranger", {"free_port": service.free_port}))
    # As root, we could end every user's process.
    if Identity.of(pid) and user_of(pid) not in (os.getuid(), service.user_id):
        return foreign(service, number, pid, _why(Protection.OTHER_USER))
    return None


def foreign(service: Service, number: int, pid: int | None, why: Message) -> HealError:
    """Return the error for a port or socket whose holder we may not end."""
    socket = service.address.socket if service.address else None
    return ForeignPortError(name=service.name, port=number, socket=socket, pid=pid, why=why)


def _protection(pid: int) -> Protection | None:
    """Return why we may not end a process; None if we may, or if it is gone."""
    protection = protected(pid)
    return None if protection is Protection.NO_PROCESS else protection


def _why(protection: Protection) -> Message:
    return Message(f"why_{protection.name.lower()}", {})
