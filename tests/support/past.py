"""A history that is worked out by hand: rounds, runs and heals in a window of time, and their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outcomes import outcome_of
from remediations import remediation

from remediation.config.load import load_project
from remediation.state.history import History
from remediation.state.records import Kind, Result, Run
from remediation.state.statistics import Chapter, Figures, figures

NOW = 1_000_000.0
SINCE = 10_000.0
BEGIN = NOW - SINCE

# One round of a check: the first failed attempt and the pass, in seconds after the start of the window.
Round = tuple[float, float | None, float | None]


def no_past(root: Path) -> History:
    """Return the history of an empty project in a folder."""
    (root / "auto-heal.toml").write_text('[services.api]\ncommand = "true"\n')
    return History(load_project(root, {}))


def result(
    at: float, failed: float | None, passed: float | None, *, kind: Kind = "service", key: str = "api", **more: Any
) -> Result:
    """Return a result whose moments are seconds after the start of the window."""
    failed_at, passed_at = (None if moment is None else BEGIN + moment for moment in (failed, passed))
    name, services = more.pop("name", key), more.pop("services", [])
    return Result(kind, key, name, services, BEGIN + at, outcome_of(failed_at, passed_at), failed_at, passed_at, **more)


def record(history: History, *results: Result, interval: float | None = None, took: float = 0.0) -> None:
    """Record a run with these results, which ends this many seconds after the first of them."""
    at = results[0].at
    history.record_run(Run(at, at + took, "monitor" if interval else "check", "", interval, list(results)))


def heal(history: History, at: float, *, ok: bool = True) -> None:
    """Record a heal of api that ended this many seconds after the start of the window."""
    history.record_remediation(remediation(at=BEGIN + at, ok=ok))


def chapters(history: History, **window: float) -> list[Chapter]:
    """Return the statistics of the window."""
    with history.reading() as database:
        return figures(database, **{"since": SINCE, "now": NOW, **window}, with_measurements=True)


def service(
    history: History, rounds: Sequence[Round] = (), *, interval: float | None = None, **window: float
) -> Figures:
    """Record these rounds of api, and return its statistics."""
    for one in rounds:
        record(history, result(*one), interval=interval)
    (chapter,) = chapters(history, **window)
    assert chapter.service is not None
    return chapter.service


def well(*moments: float) -> list[Round]:
    """Return rounds without a failure."""
    return [(at, None, at) for at in moments]
