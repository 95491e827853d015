"""Remove the report of an earlier run before anything can go wrong: it would be taken for that of this one."""

from __future__ import annotations

import os
import re
import stat
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


def remove(arguments: Sequence[str], place: Path) -> None:
    """Remove the report that a run with these arguments of pytest, begun in a folder, would write.

    By a plain look at arguments and configuration, which need not be right. What is no file of a report's, and
    whatever a link within the project leads to, is left for the run itself to refuse.
    """
    if RUNS_NOTHING & set(arguments):
        return
    with suppress(OSError, ValueError):
        place = Path(os.path.abspath(place))  # noqa: PTH100 - links are not to be resolved
        if (path := _named(arguments, place) or _configured(place)) and _may_go(path):
            path.unlink()


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
