"""Shared by the tests of drills: how to run a drill, and what it left behind."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from junit_schema import SCHEMA
from sandbox import Result, Sandbox

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.system.environment import DRILL_MARK
from remediation.system.process import marked

# A drill waits for processes that ignore signals or do not answer.
QUICK = "stop_timeout = 0.5"
QUICK_TOP = "timeout = 1\nevidence = { timeout = 0 }"


def loaded_from(project: Sandbox) -> Project:
    """Return the configured project."""
    return load_project(project.root, {})


def drilled(project: Sandbox, *words: str, **env: str) -> Result:
    """Run a drill that does not ask."""
    return project.auto_heal("drill", "--yes", "--seed", "1", *words, **env)


def cases(project: Sandbox) -> dict[str, ET.Element]:
    """Return the cases of a drill's valid report by name."""
    path = project.root / "reports" / "drill.xml"
    SCHEMA.validate(str(path))
    return {case.get("name", ""): case for case in ET.parse(path).getroot().iter("testcase")}


def outcome(case: ET.Element) -> str:
    """Return the outcome of a case."""
    return next((child.tag for child in case if child.tag in ("failure", "skipped")), "passed")


def message(case: ET.Element) -> str:
    """Return why a case did not pass."""
    return next(child.get("message", "") for child in case if child.tag in ("failure", "skipped"))


def nothing_is_left(project: Sandbox) -> bool:
    """Return whether neither processes nor files nor mounts of a drill remain."""
    state = project.root.resolve() / ".auto-heal"
    mounts = Path("/proc/self/mountinfo")
    mounted = mounts.exists() and str(state) in mounts.read_text()
    files = [*state.glob("drill-*"), *state.glob("run-*")]
    return not marked(DRILL_MARK, str(state)) and not files and not mounted


def remembered(project: Sandbox) -> dict[str, Any]:
    """Return the stored restart budget."""
    return {key: project.state[key] for key in ("restarts", "delay", "not_before", "troubled_at")}
