"""What our processes tell each other by environment variables, all of which are named, read and set here.

Workers of xdist, commands and services inherit nothing else of us; within a process, and across a fork, we pass
arguments instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# What begins so is ours. No service inherits it, but for its marks.
PREFIX = "AUTO_HEAL_"

# Marks: what we start bears one, and so does all that it starts, by which it is found again.

SERVICE_MARK = "AUTO_HEAL_SERVICE"
"""A service of a project: the mark of that service."""
START_MARK = "AUTO_HEAL_START"
"""All that one start of a service began, also when the folder of the project has another path by now."""
RUN_MARK = "AUTO_HEAL_RUN"
"""What the checks of a health run start."""
EVIDENCE_MARK = "AUTO_HEAL_EVIDENCE"
"""Commands that collect evidence, which a healer leaves behind when it is killed: the mark of the service."""
CAPTURE_MARK = "AUTO_HEAL_CAPTURE"
"""One command whose output is captured, with all that it starts."""
DRILL_MARK = "AUTO_HEAL_DRILL"
"""What belongs to a drill: the folder of what the project remembers."""

# What a pytest, its workers or a command have to know.

ROUND_FOLDER = "AUTO_HEAL_ROUND_FOLDER"
"""In which folder a later round leaves what it finds."""
DEPLOYMENT = "AUTO_HEAL_DEPLOYMENT"
"""On which side of a deployment a round is, as JSON."""
HELD_LOCKS = "AUTO_HEAL_HELD"
"""Who holds which locks, which a command of theirs may take for granted, as JSON."""


def value(variable: str) -> str | None:
    """Return what whoever started this process says by a variable; None if nothing."""
    return os.environ.get(variable) or None


def tell_children(values: Mapping[str, str]) -> None:
    """Let all that this process starts from now on inherit these variables."""
    os.environ.update(values)


def tell_children_no_more(variable: str) -> None:
    """Let what this process starts from now on no longer inherit a variable."""
    os.environ.pop(variable, None)


def unmarked(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment, ours by default, for a process that is not to be taken for a service's."""
    found = dict(os.environ if environ is None else environ)
    found.pop(SERVICE_MARK, None)
    return found
