"""Report a run to GitHub: annotations at the checks, a summary of the step, and its outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def is_step(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process runs in a step of a workflow."""
    return environ.get("GITHUB_ACTIONS") == "true"


def place(variable: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that a variable of this step names, or None outside of a step."""
    name = environ.get(variable) if is_step(environ) else None
    return Path(name) if name else None
