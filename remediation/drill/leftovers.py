"""What drills need while they last, and what is left of one that was killed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remediation.config.model import Project
from remediation.drill.helper import end_left_over
from remediation.drill.scripts.fulldisk import unmount
from remediation.system.files import make_folder

_PREFIX = "drill-"
# How /proc/self/mountinfo writes what would break its columns, proc(5).
_ESCAPED = re.compile(r"\\([0-7]{3})")


@contextmanager
def room(project: Project) -> Iterator[Path]:
    """Lend a folder for a drill, once all is gone that earlier drills left; only for who keeps other drills away."""
    clean(project)
    make_folder(project.memory)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=project.memory))
    try:
        yield folder
    finally:
        clean(project)


def clean(project: Project) -> None:
    """End processes of drills that were killed, undo their mounts, and remove their folders."""
    end_left_over(project)
    for target in mounts(project):
        unmount(target)
    if mounts(project):
        # What is mounted there would be emptied.
        return
    for folder in project.memory.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def mounts(project: Project) -> list[str]:
    """Return where drills of a project have mounted something, the last first."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    beginning = str(project.memory / _PREFIX)
    found = []
    for line in lines:
        place, _, kind = line.partition(" - ")
        # They are called as the folder of their drill is, and so are those that show files of them elsewhere.
        if _plain(kind.split(" ")[1]).startswith(beginning):
            found.append(_plain(place.split(" ")[4]))
    return found[::-1]


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
