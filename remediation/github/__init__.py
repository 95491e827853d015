"""What GitHub is told of a run: annotations at the checks, a summary of the step, and its outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping


def is_step(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether we run in a step of a workflow."""
    return environ.get("GITHUB_ACTIONS") == "true"
