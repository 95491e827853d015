"""The summary of a step on GitHub: the verdict, the checks and the heals as tables, where the pipeline is read.

What stands in a cell comes from outside. Every character of it that means something to Markdown or HTML is written as a
character reference, which both show as the character and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from remediation.deployment.baseline import Baseline
from remediation.deployment.comparison import Change, ChangeKind
from remediation.github.check_status import Kind, Standing, standings
from remediation.messages.message import first_line, printable, seconds
from remediation.state.records import CheckOutcome, Run
from remediation.state.remediation import Remediation
from remediation.system import files

# GitHub shows no summary of a step beyond 1 MiB, https://docs.github.com/en/actions/reference/workflow-commands
_MOST_BYTES = 1 << 20
# Of a cell, in characters; and so many rows, with the sick ones first; and so many bytes of a table, of which there
# are three. Together they stay far below that, also if a step has several summaries.
_LONGEST_CELL = 300
_MOST_ROWS = 200
_MOST_BYTES_OF_TABLE = 100_000

_SIGNS = {"healthy": "✅", "healed": "🎉", "rolled-back": "⏪", "sick": "❌", "unproven": "❓"}
_MARKS: dict[Kind, str] = {
    "sick": "❌ ", "undone": "⏪ ", "healed": "🎉 ", "slower": "⚠️ ", "gone": "⚠️ ",
    "repaired": "🎉 ", "passed": "✅ ", "skipped": "",
}  # fmt: skip
_PASSED, _FAILED = "✅ passed", "❌ failed"


def append(path: Path, text: str) -> None:
    """Append a summary to what the step has there already, unless that makes it too long. OSError as usual."""
    data = text.encode()
    with suppress(FileNotFoundError):
        if size := path.stat().st_size:
            # Who wrote there before may have left a paragraph or a table open.
            data = b"\n\n" + data
        if size + len(data) > _MOST_BYTES:
            raise OSError(f"{path} would have more than {_MOST_BYTES} bytes, which GitHub does not show")
    files.append(path, data)


def written(
    run: Run,
    remediations: Iterable[Remediation],
    *,
    changes: Iterable[Change] = (),
    baseline: Baseline | None = None,
    deployed: bool = False,
    versions: Mapping[str, str] | None = None,
) -> str:
    """Return the summary of a run as Markdown.

    `remediations` has one for each service, of all that was done for it. `deployed` says that the run was after a
    deployment, `versions` which version of each service answers now.
    """
    lines = [f"### {_SIGNS[run.verdict]} auto-heal: {run.verdict}"]
    if baseline:
        lines += ["", f"Compared with the baseline of {baseline.moment}."]
    elif deployed:
        lines += ["", "There was no baseline, so nothing is compared."]
    checks = standings(run.results, changes, baseline=baseline, verdict=run.verdict)
    rows = [_check(one, compared=baseline is not None) for one in checks]
    lines += _table(("check", "before", "after", "attempts", "latency"), rows)
    titles = ("service", "cause", "what was done", "downtime", "evidence")
    lines += _table(titles, [_remediation(one) for one in remediations])
    lines += _table(("service", "version before", "version now"), _versions(baseline, versions or {}))
    return "\n".join([*lines, "", ""])


def _check(one: Standing, *, compared: bool) -> tuple[str, ...]:
    before = _known_before(one) if compared else _at_first(one)
    return one.check.name, before, f"{_MARKS[one.kind]}{one.text}", str(one.check.attempts), _latency(one)


def _known_before(one: Standing) -> str:
    """Say what the baseline knew of a check."""
    if one.before is None:
        return "new"
    if one.before.outcome is CheckOutcome.FAILED:
        return ": ".join(filter(None, (_FAILED, first_line(one.before.message or ""))))
    return _PASSED if one.before.outcome is CheckOutcome.PASSED else "skipped"


def _at_first(one: Standing) -> str:
    """Say what was found of a check before anything was done."""
    if one.change is ChangeKind.BROKEN_BY_HEAL:
        return _PASSED
    if one.check.outcome.has_failed:
        return _FAILED
    return "skipped" if one.kind == "skipped" else _PASSED


def _latency(one: Standing) -> str:
    now, before = _seconds(one.check.latency), _seconds(one.before.latency if one.before else None)
    if not before:
        return now
    return f"{now} (before {before})" if now else f"before {before}"


def _remediation(one: Remediation) -> tuple[str, ...]:
    return (
        one.service,
        first_line(one.cause),
        one.action,
        _seconds(one.downtime) or "still failing",
        one.evidence,
    )


def _versions(baseline: Baseline | None, now: Mapping[str, str]) -> list[tuple[str, ...]]:
    before = baseline.versions if baseline else {}
    return [(name, before.get(name, ""), now.get(name, "")) for name in {**before, **now}]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{seconds(round(value, 3))} s"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows[:_MOST_ROWS]]
    fitting = sum(size <= _MOST_BYTES_OF_TABLE for size in accumulate(len(line.encode()) for line in lines))
    yield from lines[:fitting]
    if len(rows) > fitting:
        yield f"\nand {len(rows) - fitting} more; the report has all of them."


def _cell(text: str) -> str:
    short = text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
    # Letters and digits of all scripts, spaces, and what is beyond ASCII mean nothing to Markdown.
    return "".join(
        char if char.isalnum() or char == " " or not char.isascii() else f"&#{ord(char)};" for char in printable(short)
    )
