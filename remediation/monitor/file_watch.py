"""Detect edits of the checks or the configuration, so that the monitor reloads them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from remediation.checks import FOLDER
from remediation.config.load import OWN_FILE, SHARED_FILE

Stamp = tuple[int, int, int]
# Configuration files of auto-heal and pytest, which need not exist.
_FIXED = (OWN_FILE, SHARED_FILE, "conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")
# Matches no file.
_UNKNOWN = (-1, -1, -1)
# How far the time of a file may lag behind the clock, in seconds.
_TICK = 0.05


class Sources:
    """The files that a session was collected from, as they were before it read them."""

    def __init__(self, root: Path, env_files: Iterable[Path] = ()) -> None:
        """Record the current state of the files; `env_files` are those that the configuration names."""
        self._root = root
        self._fixed = {*(root / name for name in _FIXED), *env_files}
        self._recorded_at = time.time()
        self._files: set[Path] = set()
        self._stamps = self._current_stamps()

    def add(self, files: Iterable[str]) -> None:
        """Add further files that the session has read."""
        before, self._files = self._stamps, {Path(file) for file in files}
        now = self._current_stamps()
        self._stamps = {path: now.get(path) for path in before.keys() | now.keys()}
        for path in self._stamps:
            if path in before:
                edited = before[path] != now.get(path)
            else:
                edited = (
                    path.is_relative_to(self._root / FOLDER) or self._recorded_at - _TICK < _modified(path) <= _latest()
                )
            if edited:
                # It was edited while the session read it, so the session may have either version.
                self._stamps[path] = _UNKNOWN

    def changed(self) -> bool:
        """Return whether a file was edited, added or removed since."""
        return self._current_stamps() != self._stamps

    def _current_stamps(self) -> dict[Path, Stamp | None]:
        return {path: _stamp(path) for path in {*self._fixed, *_tree(self._root / FOLDER), *self._files}}


def _tree(folder: Path) -> Iterable[Path]:
    """Return the Python files and folders of the checks."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(place, name) for name in files if name.endswith(".py"))


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _latest() -> float:
    """Return the latest plausible modification time. A file with a later time proves nothing."""
    return time.time() + _TICK


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def imported_from(root: Path) -> list[str]:
    """Return the project's own files that this process has imported."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    own = {file for file in files if file and Path(file).is_relative_to(root)}
    return sorted(file for file in own if not {"site-packages", "dist-packages"} & set(Path(file).parts))
