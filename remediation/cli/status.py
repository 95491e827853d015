"""`auto-heal status`: the state of the services, their uptime, and the effect of the last heal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from remediation.cli.service import selected
from remediation.config.load import load_project
from remediation.config.model import Project, Service
from remediation.engines import engine_of
from remediation.engines.engine import Condition, Engine
from remediation.engines.orphans import orphans
from remediation.messages.catalog import Language
from remediation.messages.formatting import aligned, whole
from remediation.messages.translation import translated_action
from remediation.messages.words import Words
from remediation.probes import readiness
from remediation.state import incidents
from remediation.state.incidents import OpenIncident
from remediation.state.remediation import Remediation
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity

_COLUMNS = ("SERVICE", "STATE", "PID", "UPTIME", "MEMORY", "PORT", "LAST HEAL")


class Status(msgspec.Struct, frozen=True):
    """The state of one service now; memory in bytes, uptime in seconds."""

    service: str
    state: str
    """up, not answering, suspended, down, stopped by hand; foreign: a process that we did not start answers;
    contested: two servers listen on its address; orphan: it runs, and is no longer in the configuration."""
    pid: int | None
    uptime: float | None
    memory: int | None
    port: int | None
    socket: str | None
    """The path of the Unix socket that its url names."""
    last_heal: Remediation | None
    helped: bool | None = None
    """Whether the service passed in the next run that checked it; None if there was no such run, or no heal."""

    @property
    def up(self) -> bool:
        """Whether the service is up."""
        return self.state == "up"


def status(names: Sequence[str], *, as_json: bool) -> int:
    """Print the state of services; return 0 if all are up, 1 if one is not."""
    project = load_project(Path.cwd())
    store, opened = Store(project), incidents.current(project)
    statuses = [examine(service, store) for service in selected(project, names)]
    if not names:
        statuses += [msgspec.structs.replace(examine(service, store), state="orphan") for service in orphans(store)]
    if as_json:
        print(json.dumps([_entry(status, opened.get(status.service), store) for status in statuses], indent=2))
    else:
        print("\n".join(table(statuses, project.language)))
        for name in ("", *(status.service for status in statuses)):
            if pause := store.paused(name):
                print(pause.message_of(name).render(project.language, named=False))
    return 0 if all(status.up for status in statuses if status.state != "orphan") else 1


def _entry(status: Status, incident: OpenIncident | None, store: Store) -> dict[str, Any]:
    """Return the status of a service, its open incident and whether it is paused, for programs."""
    return msgspec.structs.asdict(status) | {
        "last_heal": status.last_heal.brief() if status.last_heal else None,
        "incident": incident.id if incident else None,
        "paused": store.why_paused(status.service) is not None,
    }


def examine(service: Service, store: Store) -> Status:
    """Return the status of one service."""
    state, engine = store.recall(service), engine_of(service)
    identity = engine.main_process(state)
    uptime, used = _measure(identity) if identity else (None, None)
    return Status(
        service=service.name,
        state=_state(engine, state),
        pid=identity.pid if identity else None,
        uptime=uptime,
        memory=used,
        port=(service.address.port or None) if service.address else None,
        socket=service.address.socket if service.address else None,
        last_heal=state.last_heal,
        helped=_helped(store.project, service, state.last_heal),
    )


def _helped(project: Project, service: Service, heal: Remediation | None) -> bool | None:
    """Return whether a heal left the service healthy, by the history; None if the history does not show it."""
    if heal is None or not heal.ok:
        return None if heal is None else False
    from remediation.state.history import History, HistoryError
    from remediation.state.statistics import helped

    try:
        with History(project).reading() as database:
            return helped(database, service.name, heal.at)
    except HistoryError:
        return None


def _state(engine: Engine, state: ServiceState) -> str:
    condition = engine.condition(state)
    if condition is Condition.BY_HAND:
        return "stopped by hand"
    if condition in (Condition.SUSPENDED, Condition.DEAD):
        return "suspended" if condition is Condition.SUSPENDED else "down"
    if not readiness.answers(engine.service, timeout=engine.service.probe_timeout):
        return "not answering" if engine.main_process(state) else "down"
    # A foreign process may answer while ours does not listen at all.
    if not engine.owns_address(state):
        return "foreign"
    return "contested" if engine.rivals(state) else "up"


def _measure(identity: Identity) -> tuple[float | None, int | None]:
    import psutil

    try:
        process = psutil.Process(identity.pid)
        family = [process, *process.children(recursive=True)]
        uptime = max(0.0, time.time() - process.create_time())
    except psutil.Error:
        return None, None
    used = 0
    for member in family:
        try:
            used += member.memory_info().rss
        except psutil.Error:
            continue
    return round(uptime, 3), used


def table(statuses: Iterable[Status], language: Language) -> list[str]:
    """Return the statuses as the lines of a table for people."""
    words = Words(language)
    return aligned([tuple(map(words, _COLUMNS)), *(_row(status, words) for status in statuses)])


def _row(status: Status, words: Words) -> tuple[str, ...]:
    cells: tuple[Any, ...] = (
        status.service,
        words(status.state),
        status.pid,
        None if status.uptime is None else whole(int(status.uptime), words.language),
        None if status.memory is None else words("mebibytes", size=f"{status.memory / 2**20:.1f}"),
        status.port or status.socket,
        _last_heal(status, words),
    )
    return tuple("-" if cell is None else str(cell) for cell in cells)


def _last_heal(status: Status, words: Words) -> str:
    heal = status.last_heal
    if heal is None:
        return words("never")
    ago = whole(int(time.time() - heal.at), words.language)
    action = translated_action(heal.action, words.language)
    return words("last_heal", ago=ago, action=action, effect=words(_effect(status, heal)))


def _effect(status: Status, heal: Remediation) -> str:
    """Return the key of the effect of a heal: a service that answers again may still fail its checks."""
    if not heal.ok:
        return "in_vain"
    if status.helped is None:
        return "answered_again"
    return "helped" if status.helped else "did_not_help"
