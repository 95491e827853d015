"""Remove the report of an earlier run before anything can fail: it could be mistaken for the report of this run."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from remediation.system.capabilities import has_proc

# Options with which pytest runs no checks, and so writes no report.
RUNS_NOTHING = {
    "--collect-only", "--co", "--setup-only", "--setup-plan", "--fixtures", "--funcargs", "--fixtures-per-test",
    "--markers", "--help", "-h",
}  # fmt: skip
_FILES = ("auto-heal.toml", "pyproject.toml")
_DEFAULT = "reports/health.xml"
_REPORT = re.compile(r"""^\s*report\s*=\s*["']([^"'\n]+)["']""", re.MULTILINE)
_JUNITXML = ("--junitxml", "--junit-xml")
# The start time of a process has a resolution of 0.01 s, and no run writes its report within this time, in seconds.
_SHORTER_THAN_ANY_RUN = 0.05
# How much later than psutil says a process may have started, in seconds: psutil knows the boot to a second.
_PSUTIL_RESOLUTION = 1.0
# An older process, in seconds, did something else before its run, so the report may be older than the run.
_LATEST_START = 10.0
_removed = False


def remove(arguments: Sequence[str], folder: Path) -> None:
    """Remove the report that pytest, started in `folder` with these arguments, would write.

    The arguments and the configuration are only scanned, and need not be valid. The run itself will refuse a path
    that is not a regular file, or behind a link within the project. A report that was written after the start of this
    process is not from an earlier run; the run that wrote it may still check that it exists.
    """
    if RUNS_NOTHING & set(arguments):
        return
    with suppress(OSError, ValueError):
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 - must not resolve links
        path = _from_command_line(arguments, folder) or _from_configuration(folder)
        if path and _is_removable(path) and not _is_new(path):
            path.unlink()
    global _removed  # noqa: PLW0603 - state of this process
    _removed = True


def _from_command_line(arguments: Sequence[str], folder: Path) -> Path | None:
    """Return the report that the command line names."""
    named = None
    for number, argument in enumerate(arguments):
        option, sign, value = argument.partition("=")
        if option in _JUNITXML:
            named = value if sign else next(iter(arguments[number + 1 :]), None)
    return folder / os.path.expanduser(os.path.expandvars(named)) if named else None  # noqa: PTH111 - as pytest does


def _from_configuration(folder: Path) -> Path | None:
    """Return the report that the configuration names, even if the configuration is otherwise invalid."""
    for project_folder in (folder, *folder.parents):
        for name in _FILES:
            try:
                text = (project_folder / name).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if name == _FILES[0] or "auto-heal" in text:
                match = _REPORT.search(text)
                return project_folder / (match[1] if match else _DEFAULT)
    return None


def _is_removable(path: Path) -> bool:
    mode = path.lstat().st_mode
    return (stat.S_ISREG(mode) or stat.S_ISLNK(mode)) and path.parent == path.parent.resolve()


def _is_new(path: Path) -> bool:
    """Return whether a file was written since the start of this process; False if unknown."""
    now, age = time.time(), _age()
    if age is None:
        return False
    is_first = not _removed and age < _LATEST_START
    return is_first and now - age + _SHORTER_THAN_ANY_RUN < path.lstat().st_mtime <= now


def _age() -> float | None:
    """Return the seconds since the start of this process at least, proc(5) field 22; None if unknown."""
    if has_proc():
        try:
            ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
        except OSError:
            return None
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    import psutil

    try:
        return time.time() - psutil.Process().create_time() - _PSUTIL_RESOLUTION
    except psutil.Error:
        return None
