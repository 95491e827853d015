"""The summary of a step on GitHub: the verdict, the checks and the heals as tables.

The text of a cell comes from outside. Every character of it that means something to Markdown or HTML is written as a
character reference, which both show as the plain character.
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
# The limits of a cell in characters, of a table in rows (the failing checks come first) and of a table in bytes. Three
# tables stay far below GitHub's limit, even if a step has several summaries.
_LONGEST_CELL = 300
_MOST_ROWS = 200
_MOST_BYTES_OF_TABLE = 100_000

_SIGNS = {"healthy": "✅", "healed": "🎉", "rolled-back": "⏪", "sick": "❌", "unproven": "❓"}
_MARKS: dict[Kind, str] = {
    "sick": "❌ ", "undone": "⏪ ", "healed": "🎉 ", "slower": "⚠️ ", "gone": "⚠️ ",
    "repaired": "🎉 ", "passed": "✅ ", "skipped": "",
}  # fmt: skip


def append(path: Path, text: str) -> None:
    """Append a summary to those of the step. OSError if that fails or makes the whole too long."""
    data = text.encode()
    with suppress(FileNotFoundError):
        if size := path.stat().st_size:
            # An earlier writer may have left a paragraph or a table open.
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

    `remediations` has one entry per service, which sums up all that was done for it. `deployed` means that the run
    followed a deployment. `versions` has the version of each service that answers now.
    """
    words = Words(language)
    lines = [f"### {_SIGNS[run.verdict]} auto-heal: {words(f'verdict_{run.verdict}')}"]
    if baseline:
        lines += ["", words("compared", moment=baseline.moment)]
    elif deployed:
        lines += ["", words("not_compared")]
    checks = check_statuses(run.results, changes, baseline=baseline, verdict=run.verdict)
    rows = [_check(status, words, compared=baseline is not None) for status in checks]
    lines += _table(("check", "before", "after", "attempts", "latency"), rows, words)
    done = [_remediation(remediation, words) for remediation in remediations]
    lines += _table(("service", "cause", "what was done", "downtime", "evidence"), done, words)
    lines += _table(("service", "version before", "version now"), _versions(baseline, versions or {}), words)
    return "\n".join([*lines, "", ""])


def _check(status: CheckStatus, words: Words, *, compared: bool) -> tuple[str, ...]:
    before = _known_before(status, words) if compared else words(_at_first(status))
    after = f"{_MARKS[status.kind]}{translated(status.text, words.language)}"
    return status.check.name, before, after, str(status.check.attempts), _latency(status, words)


def _known_before(status: CheckStatus, words: Words) -> str:
    """Return the state of a check in the baseline."""
    if status.before is None:
        return words("new")
    if status.before.outcome is CheckOutcome.FAILED:
        reason = translated(first_line(status.before.message or ""), words.language)
        return ": ".join(filter(None, (words("failed"), reason)))
    return words("passed" if status.before.outcome is CheckOutcome.PASSED else "skipped")


def _at_first(status: CheckStatus) -> str:
    """Return the first state of a check in this run, before any heal."""
    if status.change is ChangeKind.BROKEN_BY_HEAL:
        return "passed"
    if status.check.outcome.has_failed:
        return "failed"
    return "skipped" if status.kind == "skipped" else "passed"


def _latency(status: CheckStatus, words: Words) -> str:
    now, before = (
        _seconds(status.check.latency, words),
        _seconds(status.before.latency if status.before else None, words),
    )
    if not before:
        return now
    return words("now_and_before", now=now, before=before) if now else words("latency_before", before=before)


def _remediation(remediation: Remediation, words: Words) -> tuple[str, ...]:
    return (
        remediation.service,
        translated(first_line(remediation.cause), words.language),
        translated_action(remediation.action, words.language),
        _seconds(remediation.downtime, words) or words("still_failing"),
        remediation.evidence,
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
    # Letters, digits, spaces and all characters beyond ASCII mean nothing to Markdown.
    return "".join(
        char if char.isalnum() or char == " " or not char.isascii() else f"&#{ord(char)};" for char in printable(short)
    )
