"""Open incidents over all runs, so that every run counts the downtime of an incident from the same moment.

An incident lasts from the first failed attempt to the first run that leaves the service healthy.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from remediation.config.model import Project
from remediation.state.records import CheckOutcome, Run
from remediation.system import files

# No service can have this name, so no state of a service has this path.
_NAME = ".incidents"


def began(project: Project) -> dict[str, float]:
    """Return when the open incidents began, in epoch seconds, by service; a corrupt file counts as empty."""
    try:
        stored = msgspec.json.decode(_path(project).read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError):
        return {}
    return {name: moment for name, moment in stored.items() if name in project.services}


def note(project: Project, run: Run) -> None:
    """Open and close incidents by the results of a run. OSError if they cannot be written."""
    before = began(project)
    after = dict(before)
    for result in run.results:
        if result.kind == "service" and result.outcome is CheckOutcome.FAILED and result.failed_at is not None:
            after[result.key] = min(result.failed_at, after.get(result.key, result.failed_at))
        elif result.kind == "service" and result.outcome.is_well:
            after.pop(result.key, None)
    _write(project, before, after)


def close(project: Project, service: str) -> None:
    """Close the incident of a service that a user has brought back by hand. OSError if that cannot be written."""
    before = began(project)
    _write(project, before, {name: moment for name, moment in before.items() if name != service})


def _write(project: Project, before: dict[str, float], after: dict[str, float]) -> None:
    if after != before:
        files.write(_path(project), msgspec.json.encode(after))


def _path(project: Project) -> Path:
    return project.state_folder / _NAME
