"""How a process of ours exits at once: without finalizing the interpreter, which takes time and can hang.

What is private in `atexit` was tried with CPython 3.10 to 3.13; a unit test names what another version lacks.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def flush() -> None:
    """Flush stdout and stderr, ignoring errors."""
    for stream in (sys.stdout, sys.stderr):
        # A stream is None if this process was started without it.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def exit_at_once(code: int) -> NoReturn:
    """Run the exit functions, flush, and exit with `code`."""
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
        flush()
    finally:
        os._exit(code)


def clear_exit_functions() -> None:
    """Forget, in a fork, the exit functions that were registered before it: they run in the parent."""
    atexit._clear()  # noqa: SLF001 - there is no public way
