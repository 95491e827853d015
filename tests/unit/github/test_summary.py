"""The summary of a step: what GitHub shows of a run; no text from outside leaves its cell."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from outcomes import outcome_of
from remediations import remediation
from summaries import cells, html

from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.deployment.comparison import Change, ChangeKind
from remediation.github import summary
from remediation.state.records import CheckOutcome, Result, Run

WELL = "✅ passed"
HOSTILE = [
    "a | b", "`code`", "<script>alert(1)</script>", "</td></tr></table>", "<!--", "[link](https://evil.example)",
    "![image](https://evil.example/x.png)", "line\nbreak\r\n| a | b |", "**bold** _em_ ~~del~~", "https://evil.example",
    "www.evil.example", "@somebody #1", "\\| \\", "&lt;b&gt; &#124;", "\x1b[31mred", "$x$", "::error::x", "- [ ] a",
    "\ud800", "\u202e\u2028", "a\n\n# heading", "<details><summary>x</summary>", "***", "&#124;&#10;&#10;", "~~~\n", "",
]  # fmt: skip


def run(*results: Result, verdict: str = "healed") -> Run:
    """Return a run."""
    return Run(0.0, 1.0, "check", verdict, None, list(results))


def check(name: str, *, failed: bool = False, well: bool = True, message: str | None = None) -> Result:
    """Return the result of a check."""
    failed_at, passed_at = 1.0 if failed else None, 2.0 if well else None
    return Result(
        "check", f"t.py::{name}", name, ["api"], 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at,
        latency=0.01234 if well else None, attempts=3, message=message,
    )  # fmt: skip


def change(name: str, key: str, **values: object) -> Change:
    """Return the change of a check."""
    return Change(f"t.py::{name}", name, ChangeKind(key), values)


def baseline(versions: dict[str, str] | None = None, **checks: BaselineCheck) -> Baseline:
    """Return a baseline of checks."""
    return Baseline(0.0, {f"t.py::{name}": known for name, known in checks.items()}, versions or {})


def paragraphs(root: ET.Element) -> list[str]:
    """Return the text between the heading and the tables."""
    return [one.text or "" for one in root.iter("p")]


def test_verdict_checks_and_heals_are_shown() -> None:
    healed = remediation(cause="no answer", since=1.0, answered_at=2.5, evidence=".auto-heal/evidence/x")
    text = summary.written(
        run(check("/a"), check("/b", failed=True, message="ill"), check("/c", failed=True, well=False, message="sick")),
        [healed],
    )

    root = html(text)

    assert [heading.text for heading in root.iter("h3")] == ["🎉 auto-heal: healed"]
    assert cells(root) == [
        ["check", "before", "after", "attempts", "latency"],
        ["/c", "❌ failed", "❌ sick", "3", ""],
        ["/b", "❌ failed", "🎉 healed, after: ill", "3", "0.012 s"],
        ["/a", WELL, WELL, "3", "0.012 s"],
        ["service", "cause", "what was done", "downtime", "evidence"],
        ["api", "no answer", "restart", "1.5 s", ".auto-heal/evidence/x"],
    ]
    assert not paragraphs(root)


def test_a_check_that_was_skipped_and_one_that_says_nothing() -> None:
    root = html(summary.written(run(check("/a", well=False), check("/b", failed=True, well=False)), []))

    assert cells(root)[1:] == [["/b", "❌ failed", "❌ failed", "3", ""], ["/a", "skipped", "skipped", "3", ""]]


def test_what_a_heal_broke_had_passed_before() -> None:
    results = run(check("/a", failed=True, well=False, message="ill"), verdict="sick")

    root = html(summary.written(results, [], changes=[change("/a", "broken_by_heal", others="db")]))

    assert cells(root)[1][1:3] == [WELL, "❌ broken by the heal of db: ill"]


def test_a_baseline_is_shown_beside_what_there_is_now() -> None:
    known = baseline(
        broken=BaselineCheck("broken", CheckOutcome.PASSED, 0.05),
        still=BaselineCheck("still", CheckOutcome.FAILED, message="old"),
        repaired=BaselineCheck("repaired", CheckOutcome.FAILED), slow=BaselineCheck("slow", CheckOutcome.PASSED, 0.002),
        skipped=BaselineCheck("skipped", CheckOutcome.SKIPPED),
        same=BaselineCheck("same", CheckOutcome.PASSED, 0.0119), away=BaselineCheck("away", CheckOutcome.PASSED, 0.1),
    )  # fmt: skip
    results = run(
        check("same"), check("new"), check("skipped"), check("repaired"), check("slow"),
        check("still", failed=True, well=False, message="now"),
        check("broken", failed=True, well=False, message="HTTP 500"), verdict="sick",
    )  # fmt: skip
    changes = [
        change("still", "still_broken"), change("broken", "broken_by_deployment"), change("repaired", "repaired"),
        change("slow", "slower", now=0.012, before=0.002), change("away", "not_run"),
    ]  # fmt: skip

    root = html(summary.written(results, [], changes=changes, baseline=known, deployed=True))

    assert cells(root)[1:] == [
        ["broken", WELL, "❌ broken by the deployment: HTTP 500", "3", "before 0.05 s"],
        ["still", "❌ failed: old", "❌ still broken, as before the deployment: now", "3", ""],
        ["slow", WELL, "⚠️ slower: 0.012s, before 0.002s", "3", "0.012 s (before 0.002 s)"],
        ["away", WELL, "⚠️ passed before, did not run now", "0", "before 0.1 s"],
        ["repaired", "❌ failed", "🎉 repaired, it failed before the deployment", "3", "0.012 s"],
        ["same", WELL, WELL, "3", "0.012 s (before 0.012 s)"],
        ["new", "new", WELL, "3", "0.012 s"],
        ["skipped", "skipped", WELL, "3", "0.012 s"],
    ]
    assert paragraphs(root) == [f"Compared with the baseline of {known.moment}."]


def test_after_a_rollback_it_is_said_what_the_deployment_broke() -> None:
    action = "restart in vain (still sick), then rollback by git checkout v1"
    back = remediation(cause="HTTP 500", action=action, since=1.0, answered_at=10.0)
    results = run(check("a", failed=True, message="HTTP 500"), check("b"), verdict="rolled-back")

    root = html(
        summary.written(results, [back], baseline=baseline(a=BaselineCheck("a", CheckOutcome.PASSED)), deployed=True)
    )

    assert [heading.text for heading in root.iter("h3")] == ["⏪ auto-heal: rolled-back"]
    assert cells(root)[1][2] == "⏪ broken by the deployment, rolled back: HTTP 500"
    assert cells(root)[-1][2] == "restart in vain (still sick), then rollback by git checkout v1"


def test_a_deployment_without_a_baseline_says_so() -> None:
    root = html(summary.written(run(check("/a")), [], deployed=True))

    assert paragraphs(root) == ["There was no baseline, so nothing is compared."]


def test_versions_are_shown_as_far_as_they_are_known() -> None:
    known = baseline({"api": "1.0", "db": "7"})

    root = html(summary.written(run(check("/a")), [], baseline=known, versions={"api": "2.0 | x", "web": "3"}))

    assert cells(root)[2:] == [
        ["service", "version before", "version now"],
        ["api", "1.0", "2.0 | x"],
        ["db", "7", ""],
        ["web", "", "3"],
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_gets_out_of_its_cell(text: str) -> None:
    healed = remediation(text, cause=text, action=text, evidence=text)
    known = Baseline(0.0, {f"t.py::{text}": BaselineCheck(text, CheckOutcome.FAILED, message=text)}, {text: text})
    results = run(check(text, failed=True, well=False, message=text))
    changes = [change(text, "broken_by_heal", others=text)]

    root = html(summary.written(results, [healed], changes=changes, baseline=known, versions={text: text}))

    found = cells(root)
    assert [len(row) for row in found] == [5, 5, 5, 5, 3, 3]
    assert found[1][1].startswith("❌ failed")
    assert found[1][2].startswith("❌ broken by the heal of ")
    if text.isprintable():
        assert (found[1][0], found[3][0], found[5]) == (text, text, [text, text, text])
    assert {element.tag for element in root.iter()} == {"body", "h3", "p", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_thousand_checks_with_long_messages_stay_far_below_the_limit() -> None:
    worst = "\U000e0001" * 10_000
    known = Baseline(
        0.0, {f"t.py::/{number}": BaselineCheck("", CheckOutcome.FAILED, message=worst) for number in range(1000)}, {}
    )
    checks = [check(f"/{number}", failed=True, well=False, message=worst) for number in range(1000)]
    heal = remediation(worst, cause=worst, action=worst, since=1.0, answered_at=2.0, evidence=worst)
    versions = {f"{number}{worst}": worst for number in range(1000)}

    text = summary.written(run(*checks, verdict="sick"), [heal] * 1000, baseline=known, versions=versions)

    assert len(text.encode()) < 400_000
    assert text.count(" more; the report has all of them.") == 3
    assert len(list(html(text).iter("table"))) == 3


def test_of_many_checks_the_sick_ones_are_shown() -> None:
    checks = [check(f"/{number}") for number in range(1000)]

    text = summary.written(run(*checks, check("/sick", failed=True, well=False), verdict="sick"), [])

    assert cells(html(text))[1][0] == "/sick"
    assert "and 801 more; the report has all of them." in paragraphs(html(text))


@pytest.mark.parametrize(
    "before", ["text without an end", "| a |\n| --- |\n| b |", "<details>\nx\n</details>", "- list\n"]
)
def test_what_the_step_wrote_before_does_not_swallow_it(tmp_path: Path, before: str) -> None:
    place = tmp_path / "summary"
    place.write_text(before, encoding="utf-8")

    summary.append(place, summary.written(run(check("/a")), []))

    root = html(place.read_text(encoding="utf-8"))
    assert [heading.text for heading in root.findall("h3")] == ["🎉 auto-heal: healed"]
    assert place.read_text(encoding="utf-8").startswith(before)


def test_what_would_be_too_long_is_not_appended(tmp_path: Path) -> None:
    place = tmp_path / "summary"
    place.write_text("x" * ((1 << 20) - 10), encoding="ascii")

    with pytest.raises(OSError, match="which GitHub does not show"):
        summary.append(place, "a longer text")

    assert place.stat().st_size == (1 << 20) - 10
