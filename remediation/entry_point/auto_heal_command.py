"""The command `auto-heal`, and the search for a package of the project that hides ours.

This module lies outside the package `remediation`, because a project may have a package of that name. It imports only
the standard library. PYTEST_DONT_REWRITE, as for the package.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

_NAME = "remediation"
# A file by which our package is recognized.
_OURS = Path("monitor", "forkserver.py")
_INTERRUPTED, _USAGE_ERROR = 2, 4


def other_package() -> str | None:
    """Return the path of another package or module `remediation` that hides ours; None if there is none."""
    specs = [PathFinder.find_spec(_NAME)]
    if _NAME in sys.modules:
        specs.append(getattr(sys.modules[_NAME], "__spec__", None))
    for spec in specs:
        # A folder without __init__.py has no origin. It hides nothing.
        origin = spec.origin if spec else None
        if origin and not (Path(origin).parent / _OURS).is_file():
            return origin
    return None


def conflict(path: str) -> str:
    """Return the message about another package."""
    return (
        f"{path} hides auto-heal's own package, which is also called {_NAME}; rename it, "
        "or remove its folder from the import path (PYTHONPATH, pythonpath, `python -m`, a conftest.py beside it)"
    )


def run() -> None:
    """Run `auto-heal`."""
    if path := other_package():
        sys.stderr.write(f"auto-heal: {conflict(path)}\n")
        sys.exit(_USAGE_ERROR)
    try:
        from remediation.cli.main import run as run_command

        run_command()
    except KeyboardInterrupt:
        # It came while modules were imported; later, each command ends in its own way.
        sys.exit(_INTERRUPTED)
