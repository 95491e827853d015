"""The summary of a step: what GitHub shows of a run, and that nothing from outside gets out of its cell."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from sandbox import Sandbox

from remediation.journal.record import Result, Run
from remediation.session import summary
from remediation.session.treated import Treated

HOSTILE = [
    "a | b", "`code`", "<script>alert(1)</script>", "</td></tr></table>", "<!--", "[link](https://evil.example)",
    "![image](https://evil.example/x.png)", "line\nbreak\r\n| a | b |", "**bold** _em_ ~~del~~", "https://evil.example",
    "www.evil.example", "@somebody #1", "\\| \\", "&lt;b&gt; &#124;", "\x1b[31mred", "$x$", "::error::x", "- [ ] a",
]  # fmt: skip


def html(markdown: str) -> ET.Element:
    """Return Markdown as GitHub's dialect makes HTML of it."""
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(markdown)
    return ET.fromstring(f"<body>{rendered}</body>")


def cells(root: ET.Element) -> list[list[str]]:
    """Return the texts of all tables, row by row; nothing stands in a cell but text."""
    rows = [list(row) for row in root.iter("tr")]
    assert not [inner for row in rows for cell in row for inner in cell]
    return [[cell.text or "" for cell in row] for row in rows]


def run(*results: Result, verdict: str = "healed") -> Run:
    """Return a run."""
    return Run(0.0, 1.0, "check", verdict, None, list(results))


def check(name: str, *, failed: bool = False, well: bool = True, message: str | None = None) -> Result:
    """Return what became of a check."""
    return Result(
        "check", f"t.py::{name}", name, ["api"], 0.0, 1.0 if failed else None, 2.0 if well else None,
        latency=0.01234 if well else None, attempts=3, message=message,
    )  # fmt: skip


def test_verdict_checks_and_heals_are_shown() -> None:
    healed = Treated("api", "no answer", "restart", 1.5, (".auto-heal/evidence/x",))
    text = summary.written(
        run(check("/a"), check("/b", failed=True, message="ill"), check("/c", failed=True, well=False, message="sick")),
        [healed],
    )

    root = html(text)

    assert [heading.text for heading in root.iter("h3")] == ["🎉 auto-heal: healed"]
    assert cells(root) == [
        ["check", "result", "attempts", "latency"],
        ["/c", "❌ sick", "3", ""],
        ["/a", "✅ passed", "3", "0.012 s"],
        ["/b", "🎉 healed, after: ill", "3", "0.012 s"],
        ["service", "cause", "what was done", "downtime", "evidence"],
        ["api", "no answer", "restart", "1.5 s", ".auto-heal/evidence/x"],
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_gets_out_of_its_cell(text: str) -> None:
    healed = Treated(text, text, text, None, (text,))

    root = html(summary.written(run(check(text, failed=True, well=False, message=text)), [healed]))

    found = cells(root)
    assert [len(row) for row in found] == [4, 4, 5, 5]
    assert found[1][1].startswith("❌ ")
    if text.isprintable():
        assert (found[1][0], found[3][0]) == (text, text)
    assert {element.tag for element in root.iter()} == {"body", "h3", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_thousand_checks_with_long_messages_stay_far_below_the_limit() -> None:
    checks = [check(f"/{number}", failed=True, well=False, message="|" * 10_000) for number in range(1000)]

    text = summary.written(run(*checks, verdict="sick"), [])

    assert len(text.encode()) < 600_000
    assert "and 800 more; the report has all of them." in text


def test_what_would_be_too_long_is_not_appended(tmp_path: Path) -> None:
    place = tmp_path / "summary"
    place.write_text("x" * ((1 << 20) - 10), encoding="ascii")

    with pytest.raises(OSError, match="which GitHub does not show"):
        summary.append(place, "a longer text")

    assert place.stat().st_size == (1 << 20) - 10


def on_github(project: Sandbox) -> dict[str, str]:
    """Return the environment of a step."""
    return {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(project.root / "summary.md")}


def test_a_step_gets_its_summary_with_the_evidence(project: Sandbox) -> None:
    project.write("summary.md", "before\n")

    project.check(**on_github(project))
    project.check(**on_github(project))

    text = (project.root / "summary.md").read_text(encoding="utf-8")
    root = html(text)
    assert text.startswith("before\n### ")
    assert [heading.text for heading in root.iter("h3")] == ["🎉 auto-heal: healed", "✅ auto-heal: healthy"]
    assert any(row[-1].startswith(".auto-heal/evidence/") for row in cells(root))


def test_elsewhere_there_is_none(project: Sandbox) -> None:
    project.check(**{**on_github(project), "GITHUB_ACTIONS": ""})

    assert not (project.root / "summary.md").exists()


def test_one_that_cannot_be_written_is_told_and_changes_nothing(project: Sandbox) -> None:
    (project.root / "summary.md").mkdir()

    result = project.check(**on_github(project))

    assert result.code == 0
    assert "No summary for GitHub: " in result.output
