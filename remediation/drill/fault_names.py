"""The names of the faults and their descriptions, in a module of their own so that `--help` imports nothing heavy."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

FAULTS = {
    "crash": "its process is killed by SIGKILL",
    "hang": "its processes are suspended by SIGSTOP, so that it answers nobody",
    "deaf-child": "it crashes and leaves a child that ignores SIGTERM",
    "orphan-on-port": "it crashes, and an orphaned grandchild keeps its listening socket",
    "stranger": "it crashes, and a process that is none of its own takes the port",
    "stale-pid": "it crashes, and its PID file holds a number that is nobody's",
    "reused-pid": "it crashes, and its PID file names a live process, which must come to no harm",
    "full-log": "it crashes while the disk of its log, and of auto-heal's, is full (needs the right to mount)",
    "healer-killed": "it crashes, and whoever heals it is killed half-way",
}


def listed(faults: Mapping[str, str], width: int) -> str:
    """Return the names of the faults with their descriptions, in lines of at most `width` characters."""
    column = max(map(len, faults))
    return "\n".join(
        textwrap.fill(
            description, width, initial_indent=f"  {name.ljust(column)}  ", subsequent_indent=" " * (column + 4)
        )
        for name, description in faults.items()
    )
