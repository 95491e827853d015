"""A run in a step of GitHub Actions appends its summary, and a summary that cannot be written changes nothing."""

from __future__ import annotations

from sandbox import Sandbox
from summaries import cells, html


def on_github(project: Sandbox) -> dict[str, str]:
    """Return the environment of a step."""
    return {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(project.root / "summary.md")}


def test_a_step_gets_its_summary_with_the_evidence(project: Sandbox) -> None:
    project.write("summary.md", "before\n")

    project.check(**on_github(project))
    project.check(**on_github(project))

    text = (project.root / "summary.md").read_text(encoding="utf-8")
    root = html(text)
    assert text.startswith("before\n\n\n### ")
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
