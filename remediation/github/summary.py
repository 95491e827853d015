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
from remediation.github.check_status import CheckStatus, Kind, check_statuses
from remediation.messages.catalog import Language
from remediation.messages.message import first_line, printable
from remediation.messages.translation import translated, translated_action
from remediation.messages.words import Words
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
    language: Language = "en",
) -> str:
    """Return the summary of a run as Markdown.

    `remediations` has one for each service, of all that was done for it. `deployed` says that the run was after a
    deployment, `versions` which version of each service answers now.
    """
    words = Words(language)
    lines = [f"### {_SIGNS[run.verdict]} auto-heal: {words(f'verdict_{run.verdict}')}"]
    if baseline:
        lines += ["", words("compared", moment=baseline.moment)]
    elif deployed:
        lines += ["", words("not_compared")]
    checks = check_statuses(run.results, changes, baseline=baseline, verdict=run.verdict)
    rows = [_check(one, words, compared=baseline is not None) for one in checks]
    lines += _table(("check", "before", "after", "attempts", "latency"), rows, words)
    done = [_remediation(one, words) for one in remediations]
    lines += _table(("service", "cause", "what was done", "downtime", "evidence"), done, words)
    lines += _table(("service", "version before", "version now"), _versions(baseline, versions or {}), words)
    return "\n".join([*lines, "", ""])


def _check(one: CheckStatus, words: Words, *, compared: bool) -> tuple[str, ...]:
    before = _known_before(one, words) if compared else words(_at_first(one))
    after = f"{_MARKS[one.kind]}{translated(one.text, words.language)}"
    return one.check.name, before, after, str(one.check.attempts), _latency(one, words)


def _known_before(one: CheckStatus, words: Words) -> str:
    """Say what the baseline knew of a check."""
    if one.before is None:
        return words("new")
    if one.before.outcome is CheckOutcome.FAILED:
        reason = translated(first_line(one.before.message or ""), words.language)
        return ": ".join(filter(None, (words("failed"), reason)))
    return words("passed" if one.before.outcome is CheckOutcome.PASSED else "skipped")


def _at_first(one: CheckStatus) -> str:
    """Name what was found of a check before anything was done."""
    if one.change is ChangeKind.BROKEN_BY_HEAL:
        return "passed"
    if one.check.outcome.has_failed:
        return "failed"
    return "skipped" if one.kind == "skipped" else "passed"


def _latency(one: CheckStatus, words: Words) -> str:
    now, before = _seconds(one.check.latency, words), _seconds(one.before.latency if one.before else None, words)
    if not before:
        return now
    return words("now_and_before", now=now, before=before) if now else words("latency_before", before=before)


def _remediation(one: Remediation, words: Words) -> tuple[str, ...]:
    return (
        one.service,
        translated(first_line(one.cause), words.language),
        translated_action(one.action, words.language),
        _seconds(one.downtime, words) or words("still_failing"),
        one.evidence,
    )


def _versions(baseline: Baseline | None, now: Mapping[str, str]) -> list[tuple[str, ...]]:
    before = baseline.versions if baseline else {}
    return [(name, before.get(name, ""), now.get(name, "")) for name in {**before, **now}]


def _seconds(value: float | None, words: Words) -> str:
    return "" if value is None else words("seconds", number=round(value, 3))


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], words: Words) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield f"| {' | '.join(map(words, titles))} |"
    yield f"|{' --- |' * len(titles)}"
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows[:_MOST_ROWS]]
    fitting = sum(size <= _MOST_BYTES_OF_TABLE for size in accumulate(len(line.encode()) for line in lines))
    yield from lines[:fitting]
    if len(rows) > fitting:
        yield f"\n{words('more', count=len(rows) - fitting)}."


def _cell(text: str) -> str:
    short = text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
    # Letters and digits of all scripts, spaces, and what is beyond ASCII mean nothing to Markdown.
    return "".join(
        char if char.isalnum() or char == " " or not char.isascii() else f"&#{ord(char)};" for char in printable(short)
    )
