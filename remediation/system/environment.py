"""Name, read and set all environment variables by which our processes communicate.

Only xdist workers, commands and services need them. Within a process and across a fork, we pass arguments instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# The prefix of all our variables. Of these, a service inherits only its marks.
PREFIX = "AUTO_HEAL_"

# Marks: a process that we start bears one, and so do all its descendants, so that we can find them again.

SERVICE_MARK = "AUTO_HEAL_SERVICE"
"""The processes of a service; the value is the mark of that service."""
START_MARK = "AUTO_HEAL_START"
"""The processes of one start of a service, even after the project's folder has moved."""
RUN_MARK = "AUTO_HEAL_RUN"
"""The processes that the checks of a health run start."""
EVIDENCE_MARK = "AUTO_HEAL_EVIDENCE"
"""Commands that collect evidence and outlive a killed run; the value is the mark of the service."""
CAPTURE_MARK = "AUTO_HEAL_CAPTURE"
"""One command whose output is captured, with its descendants."""
DRILL_MARK = "AUTO_HEAL_DRILL"
"""The processes of a drill; the value is the project's state folder."""

# Data for a pytest process, its workers or a command.

ROUND_FOLDER = "AUTO_HEAL_ROUND_FOLDER"
"""The folder in which a later round leaves its results."""
DEPLOYMENT = "AUTO_HEAL_DEPLOYMENT"
"""The side of the deployment that a round is on, as JSON."""
HELD_LOCKS = "AUTO_HEAL_HELD"
"""The locks that our processes hold and a command of theirs need not take, as JSON."""

# For tests only.

TEST_PORTABLE = "AUTO_HEAL_TEST_PORTABLE"
"""If set to anything, our processes use only what POSIX has, as on macOS and the BSDs, see `capabilities`."""


def value(variable: str) -> str | None:
    """Return the value that this process inherited or set; None if the variable is unset or empty."""
    return os.environ.get(variable) or None


def tell_children(values: Mapping[str, str]) -> None:
    """Set variables that all processes started from now on inherit."""
    os.environ.update(values)


def tell_children_no_more(variable: str) -> None:
    """Remove a variable, so that processes started from now on do not inherit it."""
    os.environ.pop(variable, None)


def unmarked(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment, ours by default, for a process that does not belong to a service."""
    unmarked_environ = dict(os.environ if environ is None else environ)
    unmarked_environ.pop(SERVICE_MARK, None)
    if portable := value(TEST_PORTABLE):
        # A command may run auto-heal, which must know processes by the same births as we do.
        unmarked_environ[TEST_PORTABLE] = portable
    return unmarked_environ
