"""A step on GitHub is told of a run in all three ways; elsewhere, nothing is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from remediation.deployment.baseline import Baseline
from remediation.deployment.comparison import Change
from remediation.github import outputs, place, summary
from remediation.github.annotations import annotation_lines, workspace
from remediation.healing.treated import Treated
from remediation.state.event_log import Voice
from remediation.state.records import Run


def tell(
    run: Run,
    *,
    heals: Sequence[Treated],
    changes: Sequence[Change],
    baseline: Baseline | None,
    deployed: bool,
    versions: Mapping[str, str],
    places: Mapping[str, tuple[str, int | None]],
    root: Path,
    report: Path,
    voice: Voice,
) -> None:
    """Tell a step of a run; what cannot be written is told by `voice`, and changes nothing.

    `places` has the file of each check, seen from `root`, and its line, by node ID. `deployed` says that the run was
    after a deployment, `versions` which version of each service answers now.
    """
    for line in annotation_lines(
        run.results, changes, places, root=root, workspace=workspace(), verdict=run.verdict, baseline=baseline
    ):
        voice.show(line)
    text = summary.written(run, heals, changes=changes, baseline=baseline, deployed=deployed, versions=versions)
    try:
        if path := place("GITHUB_STEP_SUMMARY"):
            summary.append(path, text)
    except OSError as error:
        voice.say("no_summary", problem=error)
    try:
        if path := place("GITHUB_OUTPUT"):
            outputs.append(path, verdict=run.verdict, healed=run.verdict == "healed", report=report)
    except OSError as error:
        voice.say("no_outputs", problem=error)
