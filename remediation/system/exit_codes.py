"""The exit codes of a health run, both pytest's and our own, and the verdicts."""

from __future__ import annotations

from typing import Literal

PASSED, FAILED, INTERRUPTED, INTERNAL_ERROR, USAGE_ERROR, NO_CHECKS = range(6)
HEALED, ROLLED_BACK = 10, 11
VERDICTS = (PASSED, FAILED, HEALED, ROLLED_BACK)
"""The exit codes that report the health of the services."""
Verdict = Literal["healthy", "healed", "rolled-back", "sick", "unproven", "starting"]
"""The verdict of a run; only a cycle of the monitor is `starting`: all that fails is in its start period."""
