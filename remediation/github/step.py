"""Report a run to a step on GitHub by annotations, a summary and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from remediation.deployment.baseline import Baseline
from remediation.deployment.comparison import Change
from remediation.github import place, summary
from remediation.github.annotations import annotation_lines, workspace
from remediation.state.event_log import EventLog
from remediation.state.records import Run
from remediation.state.remediation import Remediation
from remediation.system import files


def tell(
    run: Run,
    *,
    remediations: Sequence[Remediation],
    changes: Sequence[Change],
    baseline: Baseline | None,
    deployed: bool,
    versions: Mapping[str, str],
    places: Mapping[str, tuple[str, int | None]],
    root: Path,
    report: Path,
    event_log: EventLog,
) -> None:
    """Report a run to the step; log what cannot be written to `event_log`, and go on.

    `remediations` has one entry per service, which sums up all that was done for it. `places` maps the node ID of each
    check to its file, relative to `root`, and its line. `deployed` means that the run followed a deployment.
    `versions` has the version of each service that answers now.
    """
    for line in annotation_lines(
        run.results,
        changes,
        places,
        root=root,
        workspace=workspace(),
        verdict=run.verdict,
        baseline=baseline,
        language=event_log.language,
    ):
        event_log.show(line)
    text = summary.written(
        run,
        remediations,
        changes=changes,
        baseline=baseline,
        deployed=deployed,
        versions=versions,
        language=event_log.language,
    )
    try:
        if path := place("GITHUB_STEP_SUMMARY"):
            summary.append(path, text)
    except OSError as error:
        event_log.log("no_summary", problem=error)
    try:
        if path := place("GITHUB_OUTPUT"):
            append(path, verdict=run.verdict, healed=run.verdict == "healed", report=report)
    except OSError as error:
        event_log.log("no_outputs", problem=error)


def append(path: Path, *, verdict: str, healed: bool, report: str | Path) -> None:
    """Append the outputs of a run to those of the step. OSError if that fails."""
    outputs = {"verdict": verdict, "healed": "true" if healed else "false", "report": str(report)}
    lines = "".join(_output(name, value) for name, value in outputs.items())
    before = b""
    with suppress(FileNotFoundError):
        before = files.tail(path, start=0, limit=1)
    # An earlier writer may have left the last line open.
    start = "" if before in (b"", b"\n") else "\n"
    files.append(path, f"{start}{lines}".encode(errors="backslashreplace"))


def _output(name: str, value: str) -> str:
    if not {"\r", "\n"} & set(value):
        return f"{name}={value}\n"
    # The delimiter is random: a value that contained it could add outputs of its choice.
    end = f"auto-heal-{token_hex(16)}"
    return f"{name}<<{end}\n{value}\n{end}\n"
