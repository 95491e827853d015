"""Writes into a history, and reads it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remediation.config.load import load_project
from remediation.state.history import History
from remediation.state.records import CheckOutcome, Result, Run


def configured(root: Path, limits: str = "") -> History:
    """Return the history of a project with these limits."""
    (root / "auto-heal.toml").write_text(f'history = {{ {limits} }}\n[services.api]\ncommand = "true"\n')
    return History(load_project(root, {}))


def run(at: float, message: str = "", key: str = "api") -> Run:
    """Return a run in which one service passed."""
    return Run(
        at,
        at + 1,
        "check",
        "healthy",
        None,
        [Result("service", key, key, [], at, CheckOutcome.PASSED, None, at, message=message)],
    )


def rows(history: History, query: str) -> list[Any]:
    """Return the rows of a query."""
    with history.reading() as database:
        return database.execute(query).fetchall()


def moments(history: History) -> list[float]:
    """Return the start times of the runs."""
    return [row[0] for row in rows(history, "SELECT began FROM runs ORDER BY began")]


def is_sound(history: History) -> bool:
    """Return whether SQLite finds the file intact."""
    return rows(history, "PRAGMA integrity_check") == [("ok",)]
