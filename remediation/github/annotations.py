"""The annotations of a step on GitHub: they show checks that fail, were healed or are slower, at their source lines.

GitHub's runner reads them from the step's output, one command per line,
https://docs.github.com/en/actions/reference/workflow-commands.
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

# The runner shows at most this many annotations of each level per step, and at most 4096 characters of a message.
_MOST = 10
# In characters. Even if every character is escaped, a command stays below 4 KiB.
_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_PATH = 100, 600, 250

_LEVELS: dict[Kind, str] = {
    "sick": "error",
    "undone": "error",
    "healed": "warning",
    "slower": "warning",
    "gone": "warning",
}

# The escapes that the runner decodes.
_IN_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = _IN_DATA | str.maketrans({":": "%3A", ",": "%2C"})


def workspace(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder whose files GitHub shows, if the environment names it."""
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
    """Yield the annotations as commands, each to be printed on a line of its own.

    `places` maps the node ID of each check to its file, relative to `root`, and its line.
    """
    words = Words(language)
    by_level: dict[str, list[str]] = {"error": [], "warning": []}
    for status in check_statuses(results, changes, baseline=baseline, verdict=verdict):
        if level := _LEVELS.get(status.kind):
            name, line = places.get(status.check.key, ("", None))
            file = _seen_from(workspace, root, name)
            properties = {"file": file, "line": str(line or "") if file else "", "title": words(f"title_{status.kind}")}
            by_level[level].append(_command(level, properties, _message(status, words)))
    for level, commands in by_level.items():
        yield from _shown(level, commands, words)


def _message(status: CheckStatus, words: Words) -> str:
    text = translated(
        status.text if status.kind != "sick" or status.description else f"sick: {status.text}", words.language
    )
    attempts = words("in_attempts", count=status.check.attempts) if status.check.outcome.has_failed else ""
    return f"{_short(status.check.name, _LONGEST_NAME)}: {_short(text, _LONGEST_TEXT)}{attempts}"


def _short(text: str, most: int) -> str:
    """Return text on one line, cut to `most` characters with its escapes."""
    shown = printable(text[:most])
    return shown if len(text) <= most and len(shown) <= most else f"{shown[:most]}…"


def _seen_from(workspace: Path | None, root: Path, name: str) -> str:
    """Return the path of a file within the workspace, or an empty string if GitHub could not find it."""
    if not name or workspace is None:
        return ""
    folder = workspace.resolve()
    file = Path(os.path.normpath(root.resolve() / name))
    if file == folder or not file.is_relative_to(folder):
        return ""
    path = file.relative_to(folder).as_posix()
    return path if len(path) <= _LONGEST_PATH and path == printable(path) else ""


def _shown(level: str, commands: list[str], words: Words) -> Iterator[str]:
    if len(commands) <= _MOST:
        yield from commands
        return
    yield from commands[: _MOST - 1]
    more = words("more", count=len(commands) - _MOST + 1)
    yield _command(level, {"title": "auto-heal"}, more)


def _command(level: str, properties: Mapping[str, str], message: str) -> str:
    pairs = ",".join(f"{name}={value.translate(_IN_PROPERTY)}" for name, value in properties.items() if value)
    return f"::{level} {pairs}::{message.translate(_IN_DATA)}"
