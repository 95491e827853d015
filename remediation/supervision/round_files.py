"""The folders in which runs leave what their rounds find, each named after the process that is waited for."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from remediation.system.process import Identity

XML_NAME = "round.xml"
FINDINGS_NAME = "findings.json"
SELECTED_NAME = "selected.json"
_PREFIX = "run-"


def make_run_folder(state_folder: Path, pid: int) -> Path:
    """Make a folder for the run that the process `pid` waits for. OSError as usual."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{pid}-", dir=state_folder))


def remove_run_folders(state_folder: Path, pid: int) -> None:
    """Remove the folders of the runs that the process `pid` waited for."""
    for folder in state_folder.glob(f"{_PREFIX}{pid}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def remove_folders_of_dead_runs(state_folder: Path) -> None:
    """Remove the folders of runs that were killed."""
    for pid in _pids(state_folder):
        if Identity.of(pid) is None:
            remove_run_folders(state_folder, pid)


def has_other_run(state_folder: Path, pid: int) -> bool:
    """Return whether a run of another process than `pid` is under way."""
    return any(other != pid and Identity.of(other) for other in _pids(state_folder))


def _pids(state_folder: Path) -> set[int]:
    found = (folder.name.removeprefix(_PREFIX).partition("-")[0] for folder in state_folder.glob(f"{_PREFIX}*"))
    return {int(pid) for pid in found if pid.isdigit()}
