"""The annotations of a step on GitHub: what is sick, was healed or is slower, beside the check's own line.

GitHub's runner takes them from the step's output, a command a line, https://docs.github.com/en/actions/reference/workflow-commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from remediation.deployment.baseline import Baseline
from remediation.deployment.comparison import Change
from remediation.github.check_status import CheckStatus, Kind, check_statuses
from remediation.messages.catalog import Language
from remediation.messages.message import printable
from remediation.messages.translation import translated
from remediation.messages.words import Words
from remediation.state.records import Result

# The runner shows no more of each level in a step, and no longer message than of 4096 characters.
_MOST = 10
# In characters. With the worst that they can hold, a command stays below 4 KiB.
_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_PATH = 100, 600, 250

_LEVELS: dict[Kind, str] = {
    "sick": "error",
    "undone": "error",
    "healed": "warning",
    "slower": "warning",
    "gone": "warning",
}

# As the runner undoes them.
_IN_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = _IN_DATA | str.maketrans({":": "%3A", ",": "%2C"})


def workspace(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that GitHub shows files of, if it says so."""
    name = environ.get("GITHUB_WORKSPACE")
    return Path(name) if name else None


def annotation_lines(
    results: Iterable[Result],
    changes: Iterable[Change],
    places: Mapping[str, tuple[str, int | None]],
    *,
    root: Path,
    workspace: Path | None,
    verdict: str,
    baseline: Baseline | None = None,
    language: Language = "en",
) -> Iterator[str]:
    """Yield the annotations as commands, each to be printed as a line of its own.

    `places` has the file of each check, seen from `root`, and its line, by node ID.
    """
    words = Words(language)
    by_level: dict[str, list[str]] = {"error": [], "warning": []}
    for one in check_statuses(results, changes, baseline=baseline, verdict=verdict):
        if level := _LEVELS.get(one.kind):
            name, line = places.get(one.check.key, ("", None))
            file = _seen_from(workspace, root, name)
            properties = {"file": file, "line": str(line or "") if file else "", "title": words(f"title_{one.kind}")}
            by_level[level].append(_command(level, properties, _message(one, words)))
    for level, found in by_level.items():
        yield from _shown(level, found, words)


def _message(one: CheckStatus, words: Words) -> str:
    text = translated(one.text if one.kind != "sick" or one.words else f"sick: {one.text}", words.language)
    attempts = words("in_attempts", count=one.check.attempts) if one.check.outcome.has_failed else ""
    return f"{_short(one.check.name, _LONGEST_NAME)}: {_short(text, _LONGEST_TEXT)}{attempts}"


def _short(text: str, most: int) -> str:
    """Return text on one line, cut if it is too long, however much of it has to be made visible."""
    shown = printable(text[:most])
    return shown if len(text) <= most and len(shown) <= most else f"{shown[:most]}…"


def _seen_from(workspace: Path | None, root: Path, name: str) -> str:
    """Return the path of a file within the workspace, or nothing where GitHub could not find it."""
    if not name or workspace is None:
        return ""
    folder = workspace.resolve()
    file = Path(os.path.normpath(root.resolve() / name))
    if file == folder or not file.is_relative_to(folder):
        return ""
    found = file.relative_to(folder).as_posix()
    return found if len(found) <= _LONGEST_PATH and found == printable(found) else ""


def _shown(level: str, told: list[str], words: Words) -> Iterator[str]:
    if len(told) <= _MOST:
        yield from told
        return
    yield from told[: _MOST - 1]
    more = words("more", count=len(told) - _MOST + 1)
    yield _command(level, {"title": "auto-heal"}, more)


def _command(level: str, properties: Mapping[str, str], message: str) -> str:
    told = ",".join(f"{name}={value.translate(_IN_PROPERTY)}" for name, value in properties.items() if value)
    return f"::{level} {told}::{message.translate(_IN_DATA)}"
