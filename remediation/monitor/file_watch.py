"""Notice that the checks or the configuration were edited."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from remediation.checks import FOLDER
from remediation.config.load import OWN_FILE, SHARED_FILE

Stamp = tuple[int, int, int]
# Files of ours and of pytest's that need not be there.
_FIXED = (OWN_FILE, SHARED_FILE, "conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")
# That of no file.
_UNKNOWN = (-1, -1, -1)
# The time of a file may lie so far behind the clock, in seconds.
_TICK = 0.05


class Sources:
    """The files that a session was collected from, as they were before it read them."""

    def __init__(self, root: Path) -> None:
        """Note how they are now."""
        self._root = root
        self._noted = time.time()
        self._files: set[Path] = set()
        self._stamps = self._look()

    def add(self, files: Iterable[str]) -> None:
        """Note further files, which the session turned out to have read."""
        before, self._files = self._stamps, {Path(file) for file in files}
        now = self._look()
        self._stamps = {path: now.get(path) for path in before.keys() | now.keys()}
        for path in self._stamps:
            if path in before:
                edited = before[path] != now.get(path)
            else:
                edited = path.is_relative_to(self._root / FOLDER) or self._noted - _TICK < _written(path) <= _now()
            if edited:
                # While it was being read: nobody knows what was read.
                self._stamps[path] = _UNKNOWN

    def changed(self) -> bool:
        """Return whether one was edited, added or removed since."""
        return self._look() != self._stamps

    def _look(self) -> dict[Path, Stamp | None]:
        fixed = [self._root / name for name in _FIXED]
        return {path: _stamp(path) for path in {*fixed, *_tree(self._root / FOLDER), *self._files}}


def _tree(folder: Path) -> Iterable[Path]:
    """Return the Python files and folders of the checks."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(place, name) for name in files if name.endswith(".py"))


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _now() -> float:
    """Return the latest that a file can have been written; what claims to be later says nothing."""
    return time.time() + _TICK


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def imported_from(root: Path) -> list[str]:
    """Return the project's own files that this process has imported."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    own = {file for file in files if file and Path(file).is_relative_to(root)}
    return sorted(file for file in own if not {"site-packages", "dist-packages"} & set(Path(file).parts))
