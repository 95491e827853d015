"""`auto-heal pause` and `resume`: no healing while somebody works on the services."""

from __future__ import annotations

from pathlib import Path

from remediation.project.config import load_project
from remediation.project.memory import Pause, Store
from remediation.project.voice import Voice, terminal

STDOUT = 1


def pause(seconds: float | None) -> int:
    """Allow no healing for some seconds, or until `resume`; return 0."""
    project = load_project(Path.cwd())
    told = Pause() if seconds is None else Pause.lasting(seconds)
    Store(project).pause(told)
    Voice.of(project, terminal=terminal(STDOUT)).tell(told.phrase)
    return 0


def resume() -> int:
    """Allow healing again; return 0."""
    project = load_project(Path.cwd())
    Store(project).resume()
    Voice.of(project, terminal=terminal(STDOUT)).say("resumed")
    return 0
