"""Open incidents over all runs: every run gives an incident the same id, and counts its downtime from the same moment.

An incident lasts from the first failed attempt to the first run that leaves the service healthy. A check that names no
service has incidents of its own, under its node ID.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from remediation.config.model import Project
from remediation.config.schema import NAME
from remediation.state.records import CheckOutcome, Result, Run
from remediation.system import files

# No service can have this name, so no state of a service has this path.
_NAME = ".incidents"
# Seconds to wait for other writers; each of them takes about a millisecond.
_LOCK_TIMEOUT = 1.0
# Checks that were renamed or removed never pass again. The oldest of them make room for new ones.
_MOST = 1_000


class OpenIncident(msgspec.Struct, frozen=True):
    """An incident that is not over. `began` is its first failed attempt, in epoch seconds."""

    id: str
    began: float


Open = dict[str, OpenIncident]


def current(project: Project) -> Open:
    """Return the open incidents by service or node ID; a corrupt file counts as empty."""
    try:
        stored = msgspec.json.decode(_path(project).read_bytes(), type=dict[str, OpenIncident | float])
    except (OSError, msgspec.MsgspecError):
        return {}
    found = {key: one if isinstance(one, OpenIncident) else _of_old(key, one) for key, one in stored.items()}
    return {key: one for key, one in found.items() if key in project.services or _is_check(key)}


def begin(project: Project, since: Mapping[str, float], log: Callable[..., None]) -> Open:
    """Open an incident for each service or check that has none, and log it; return all open incidents.

    `since` has the first failed attempt of each: an open incident may turn out to have begun earlier. If the incidents
    cannot be written, this run alone knows them.
    """
    before = current(project)
    if all(key in before and before[key].began <= moment for key, moment in since.items()):
        return before
    opened: Open = {}

    def change(found: Open) -> Open:
        nonlocal before
        before = found
        opened.update({key: OpenIncident(_new_id(), moment) for key, moment in since.items() if key not in found})
        known = {
            key: msgspec.structs.replace(one, began=min(one.began, since.get(key, one.began)))
            for key, one in found.items()
        }
        return known | opened

    after = _change(project, change)
    for key in opened:
        if not _is_check(key):
            log("incident", name=key, id=opened[key].id)
    return after


def note(project: Project, run: Run, log: Callable[..., None]) -> Run:
    """Open and close incidents by the results of a run; return it with the incident of each result."""
    since = {
        result.key: result.failed_at
        for result in run.results
        if result.has_incidents and result.outcome is CheckOutcome.FAILED and result.failed_at is not None
    }
    opened = begin(project, since, log)
    if not opened and not any(result.outcome.has_failed for result in run.results):
        return run
    # An incident that began and ended in this run may never have been written.
    opened = {
        result.key: OpenIncident(_new_id(), result.failed_at or run.began)
        for result in run.results
        if result.has_incidents and result.outcome is CheckOutcome.HEALED
    } | opened
    _close(project, [result.key for result in run.results if result.has_incidents and result.outcome.is_well])
    results = [msgspec.structs.replace(result, incident=_id_of(result, opened)) for result in run.results]
    return msgspec.structs.replace(run, results=results)


def close(project: Project, service: str) -> None:
    """Close the incident of a service that a user has brought back by hand."""
    _close(project, [service])


def _close(project: Project, keys: Iterable[str]) -> None:
    over = set(keys)
    if over & current(project).keys():
        _change(project, lambda found: {key: one for key, one in found.items() if key not in over})


def _id_of(result: Result, opened: Open) -> str:
    """Return the incident of a result: of one that failed, or that ends an incident."""
    if result.key in opened:
        return "" if result.outcome is CheckOutcome.SKIPPED else opened[result.key].id
    ids = [opened[name].id for name in result.services if name in opened]
    return ids[0] if ids and result.outcome.has_failed else ""


def _change(project: Project, change: Callable[[Open], Open]) -> Open:
    """Change the open incidents as the only writer; return them, even if they cannot be written."""
    lock = files.locked(_path(project).with_name(f"{_NAME}.lock"), timeout=_LOCK_TIMEOUT)
    after: Open | None = None
    # A lock that cannot be had is an OSError as well.
    with suppress(OSError), lock:
        after = change(current(project))
        files.write(_path(project), msgspec.json.encode(dict(sorted(after.items(), key=_rank)[-_MOST:])))
    return change(current(project)) if after is None else after


def _rank(item: tuple[str, OpenIncident]) -> tuple[bool, float]:
    """Rank the services last, and before them the checks that began to fail last."""
    return not _is_check(item[0]), item[1].began


def _new_id() -> str:
    """Return a new id: random, since several monitors and hosts give ids without asking one another."""
    return os.urandom(4).hex()


def _of_old(key: str, began: float) -> OpenIncident:
    """Return an incident that a version without ids has left open; every reader gives it the same id."""
    return OpenIncident(f"{zlib.crc32(f'{key} {began}'.encode()):08x}", began)


def _is_check(key: str) -> bool:
    return not NAME.fullmatch(key)


def _path(project: Project) -> Path:
    return project.state_folder / _NAME
