"""`auto-heal pause` and `resume`: no healing while somebody works on the services."""

from __future__ import annotations

from pathlib import Path

from remediation.config.load import load_project
from remediation.state.event_log import Voice, terminal
from remediation.state.service_state import Pause, Store

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
