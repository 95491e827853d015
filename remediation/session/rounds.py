"""One round of a run: how a later one is started, and what every round leaves behind.

A later round is a session of its own. The items of a session cannot simply be run again: with xdist the
controller holds none, `-x` leaves a latch that is not reset, and junitxml would write every case twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from remediation.session.results import Findings

if TYPE_CHECKING:
    from remediation.healer.outcome import Patient
    from remediation.session.run import HealthRun

# Tells a pytest that it is a later round, and in which folder to leave what it finds.
ROUND_FOLDER = "AUTO_HEAL_ROUND_FOLDER"
TERMINAL_FD = "AUTO_HEAL_TERMINAL_FD"
XML_NAME = "round.xml"
FINDINGS_NAME = "findings.json"
SELECTED_NAME = "selected.json"

# Exit codes of pytest's that mean something here, and our own.
PASSED, FAILED, INTERRUPTED, INTERNAL_ERROR, USAGE_ERROR, NO_CHECKS = range(6)
HEALED = 10


@dataclass(frozen=True, slots=True)
class Round:
    """A run of the suite: the code of the pytest that ran it, its XML, and what it found."""

    code: int
    xml: Path
    findings: Findings


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork of a session that has collected is to do, and how it talks to those around it."""

    again: Callable[[Path], int]
    """Runs the suite once more, leaves in a folder what it finds, and returns the exit code."""
    may_heal: Callable[[list[Patient]], bool]
    ended: Callable[[HealthRun, int], None]
    """Told how a run ended, with its exit code."""
    services: list[str] | None = None
    """Only the checks of these services; None for all checks."""
    folder: Path | None = None
    """Where a later round leaves what it finds."""
    interval: float | None = None
    """Seconds from one cycle of the monitor to the next."""


def read_round(folder: Path, code: int) -> Round:
    """Return what a later round, which ended with `code`, left in its folder."""
    xml = folder / XML_NAME
    try:
        return Round(code, xml, msgspec.json.decode((folder / FINDINGS_NAME).read_bytes(), type=Findings))
    except (OSError, msgspec.MsgspecError):
        # It ended without the hook: killed, or by os._exit. Whatever its code, it proves nothing.
        return Round(INTERNAL_ERROR, xml, Findings([], []))


def by_new_pytest(arguments: list[str], cwd: Path) -> Callable[[Path], int]:
    """Return what runs the suite again in a pytest of its own, with the arguments of the first."""

    def again(folder: Path) -> int:
        environ = os.environ | {ROUND_FOLDER: str(folder)}
        inherited = [int(fd)] if (fd := os.environ.get(TERMINAL_FD, "")).isdigit() else []
        sys.stdout.flush()
        child = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=cwd, env=environ, pass_fds=inherited)
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The terminal told it as well; it ends by itself, with its fixtures torn down.
            child.wait()
            raise

    return again
