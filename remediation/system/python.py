"""Commands that run functions of this package in a new Python process."""

from __future__ import annotations

import os
import sys

_CODE = """
import sys
from importlib import import_module
module, function, length = sys.argv[1:4]
sys.path[:] = sys.argv[4:4 + int(length)]
del sys.argv[1:4 + int(length)]
getattr(import_module(module), function)()
"""


def command(module: str, function: str, *arguments: str) -> list[str]:
    """Return the command that calls a function of a module with `arguments` in `sys.argv`.

    The new process searches for modules where this one does. With `python -m` it would first search the folder that it
    starts in, where a project may have a package named like ours.
    """
    path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - must not resolve links
    return [sys.executable, "-c", _CODE.strip(), module, function, str(len(path)), *path, *arguments]
