"""Remove the report of an earlier run before anything can go wrong: it would be taken for that of this one."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Options with which pytest runs no check at all, and so writes no report.
RUNS_NOTHING = {
    "--collect-only", "--co", "--setup-only", "--setup-plan", "--fixtures", "--funcargs", "--fixtures-per-test",
    "--markers", "--help", "-h",
}  # fmt: skip
_FILES = ("auto-heal.toml", "pyproject.toml")
_DEFAULT = "reports/health.xml"
_REPORT = re.compile(r"""^\s*report\s*=\s*["']([^"'\n]+)["']""", re.MULTILINE)
_JUNITXML = ("--junitxml", "--junit-xml")
# The start of a process is known to a hundredth of a second, and no run comes to a report so soon.
_NO_RUN = 0.05
# A process that is older has been doing something else first, in seconds: what it finds is of before its run.
_YOUNG = 10.0
_removed = False


def remove(arguments: Sequence[str], place: Path) -> None:
    """Remove the report that a run with these arguments of pytest, begun in a folder, would write.

    By a plain look at arguments and configuration, which need not be right. What is no file of a report's, and
    whatever a link within the project leads to, is left for the run itself to refuse. What another run has written
    since this process began is not of an earlier one, and that run may still ask whether it is there.
    """
    if RUNS_NOTHING & set(arguments):
        return
    with suppress(OSError, ValueError):
        place = Path(os.path.abspath(place))  # noqa: PTH100 - links are not to be resolved
        if (path := _named(arguments, place) or _configured(place)) and _may_go(path) and not _is_new(path):
            path.unlink()
    global _removed  # noqa: PLW0603 - of this process
    _removed = True


def _named(arguments: Sequence[str], place: Path) -> Path | None:
    """Return the report that the command line names."""
    named = None
    for number, argument in enumerate(arguments):
        option, sign, value = argument.partition("=")
        if option in _JUNITXML:
            named = value if sign else next(iter(arguments[number + 1 :]), None)
    return place / os.path.expanduser(os.path.expandvars(named)) if named else None  # noqa: PTH111 - as pytest does


def _configured(place: Path) -> Path | None:
    """Return the report that the configuration names, whatever else is wrong with it."""
    for folder in (place, *place.parents):
        for name in _FILES:
            try:
                text = (folder / name).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if name == _FILES[0] or "auto-heal" in text:
                found = _REPORT.search(text)
                return folder / (found[1] if found else _DEFAULT)
    return None


def _may_go(path: Path) -> bool:
    mode = path.lstat().st_mode
    return (stat.S_ISREG(mode) or stat.S_ISLNK(mode)) and path.parent == path.parent.resolve()


def _is_new(path: Path) -> bool:
    """Return whether a file was written since this process began, proc(5) field 22; False if that cannot be known."""
    try:
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return False
    now, age = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return not _removed and age < _YOUNG and now - age + _NO_RUN < path.lstat().st_mtime <= now
