"""Since when a service has been sick, over all runs: so that every run counts the downtime of one incident alike.

An incident goes from the first failed attempt to the first run that leaves the service well.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from remediation.config.model import Project
from remediation.state.records import CheckOutcome, Run
from remediation.system import files

# No service can be called so, and have its memory there.
_NAME = ".incidents"


def began(project: Project) -> dict[str, float]:
    """Return when the incidents that are open began, in epoch seconds, by service; a corrupt file is an empty one."""
    try:
        found = msgspec.json.decode(_path(project).read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError):
        return {}
    return {name: moment for name, moment in found.items() if name in project.services}


def note(project: Project, run: Run) -> None:
    """Take in what a run says of each service. OSError if that cannot be kept."""
    known = began(project)
    found = dict(known)
    for one in run.results:
        if one.kind == "service" and one.outcome is CheckOutcome.FAILED and one.failed_at is not None:
            found[one.key] = min(one.failed_at, found.get(one.key, one.failed_at))
        elif one.kind == "service" and one.outcome.is_well:
            found.pop(one.key, None)
    _keep(project, known, found)


def close(project: Project, service: str) -> None:
    """End the incident of a service that somebody has brought back by hand. OSError if that cannot be kept."""
    known = began(project)
    _keep(project, known, {name: moment for name, moment in known.items() if name != service})


def _keep(project: Project, known: dict[str, float], found: dict[str, float]) -> None:
    if found != known:
        files.write(_path(project), msgspec.json.encode(found))


def _path(project: Project) -> Path:
    return project.state_folder / _NAME
