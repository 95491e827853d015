"""The summary of a step on GitHub: the verdict, the checks and the heals as tables, where the pipeline is read.

What stands in a cell comes from outside. Every character of it that means something to Markdown or HTML is written as a
character reference, which both show as the character and nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from remediation.journal.record import Result, Run
from remediation.primitives import file
from remediation.project.phrase import printable, seconds
from remediation.session.treated import Treated

# GitHub shows no summary of a step beyond 1 MiB, https://docs.github.com/en/actions/reference/workflow-commands
_MOST_BYTES = 1 << 20
# Of a cell, in characters; and so many rows, with the sick ones first. Together they stay far below that.
_LONGEST_CELL = 300
_MOST_ROWS = 200
_SIGNS = {"healthy": "✅", "healed": "🎉", "sick": "❌"}


def place(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file in which GitHub wants the summary of this step, or None elsewhere."""
    name = environ.get("GITHUB_STEP_SUMMARY") if environ.get("GITHUB_ACTIONS") == "true" else None
    return Path(name) if name else None


def append(path: Path, text: str) -> None:
    """Append a summary to what the step has there already, unless that makes it too long. OSError as usual."""
    data = text.encode()
    with suppress(FileNotFoundError):
        if path.stat().st_size + len(data) > _MOST_BYTES:
            raise OSError(f"{path} would have more than {_MOST_BYTES} bytes, which GitHub does not show")
    file.append(path, data)


def written(run: Run, heals: Iterable[Treated]) -> str:
    """Return the summary of a run as Markdown."""
    lines = [f"### {_SIGNS[run.verdict]} auto-heal: {run.verdict}"]
    checks = sorted((one for one in run.results if one.kind == "check"), key=lambda one: not one.sick)
    lines += _table(("check", "result", "attempts", "latency"), [_check(one) for one in checks])
    lines += _table(("service", "cause", "what was done", "downtime", "evidence"), [_heal(one) for one in heals])
    return "\n".join([*lines, "", ""])


def _check(one: Result) -> tuple[str, ...]:
    if one.sick:
        result = f"❌ {one.message or 'failed'}"
    elif one.failed_at is not None:
        result = f"🎉 healed, after: {one.message or 'a failure'}"
    else:
        result = "✅ passed" if one.passed_at is not None else "skipped"
    return one.name, result, str(one.attempts), _seconds(one.latency)


def _heal(one: Treated) -> tuple[str, ...]:
    return one.service, one.cause, one.action, _seconds(one.downtime), ", ".join(one.evidence)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{seconds(round(value, 3))} s"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for row in rows[:_MOST_ROWS]:
        yield f"| {' | '.join(map(_cell, row))} |"
    if len(rows) > _MOST_ROWS:
        yield f"\nand {len(rows) - _MOST_ROWS} more; the report has all of them."


def _cell(text: str) -> str:
    short = text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
    # Letters and digits of all scripts, spaces, and what is beyond ASCII mean nothing to Markdown.
    return "".join(
        char if char.isalnum() or char == " " or not char.isascii() else f"&#{ord(char)};" for char in printable(short)
    )
