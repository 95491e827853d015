"""The folders in which runs leave the findings of their rounds, each named after the process that its caller awaits."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from remediation.system.files import matching
from remediation.system.process import Identity

XML_NAME = "round.xml"
FINDINGS_NAME = "findings.json"
SELECTED_NAME = "selected.json"
_PREFIX = "run-"


def make_run_folder(state_folder: Path, pid: int) -> Path:
    """Create a folder for a run. `pid` is the process that its caller waits for. Raises OSError."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{pid}-", dir=state_folder))


def remove_run_folders(state_folder: Path, pid: int) -> None:
    """Remove the folders of the runs of the process `pid`."""
    for folder in matching(state_folder, f"{_PREFIX}{pid}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def remove_folders_of_dead_runs(state_folder: Path) -> None:
    """Remove the folders of runs that were killed."""
    for pid in _pids(state_folder):
        if Identity.of(pid) is None:
            remove_run_folders(state_folder, pid)


def has_other_run(state_folder: Path, pid: int) -> bool:
    """Return whether a run of a process other than `pid` is under way."""
    return any(other != pid and Identity.of(other) for other in _pids(state_folder))


def _pids(state_folder: Path) -> set[int]:
    names = (folder.name.removeprefix(_PREFIX).partition("-")[0] for folder in matching(state_folder, f"{_PREFIX}*"))
    return {int(pid) for pid in names if pid.isdigit()}
