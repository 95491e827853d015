"""Limit the time in which pytest loads the project's conftests, before it can fork.

Only a thread can watch this phase. If loading hangs, the thread prints where, and ends the process.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from remediation.checks.collect_timeout import place_of
from remediation.config.load import load_project
from remediation.config.schema import ConfigError
from remediation.messages.message import seconds
from remediation.system.exit_codes import INTERNAL_ERROR

# The thread reads the time limit from the configuration only after this time, in seconds.
_FIRST_WAIT = 0.2
_loaded: threading.Event | None = None
_thread: threading.Thread | None = None


def begin(folder: Path, show_terminal: Callable[[], object]) -> None:
    """Begin to watch, with the configuration for `folder`; `show_terminal` suspends pytest's capturing."""
    global _loaded, _thread  # noqa: PLW0603 - state of this process
    if _thread is None:
        _loaded = threading.Event()
        _thread = threading.Thread(target=_watch, args=(folder, show_terminal, _loaded), daemon=True)
        _thread.start()


def end() -> None:
    """End the thread, after everything is loaded and before pytest forks."""
    global _thread  # noqa: PLW0603 - state of this process
    if _loaded and _thread:
        _loaded.set()
        _thread.join()
        _thread = None


def _watch(folder: Path, show_terminal: Callable[[], object], loaded: threading.Event) -> None:
    # Most conftests are loaded by then, and the session reads the configuration anyway.
    if loaded.wait(_FIRST_WAIT):
        return
    try:
        project = load_project(folder)
    except (ConfigError, OSError):
        # pytest will report the problem.
        return
    if loaded.wait(project.collect_timeout - _FIRST_WAIT):
        return
    main = threading.main_thread().ident or 0
    place = place_of(sys._current_frames().get(main), project.root)  # noqa: SLF001 - as in faulthandler
    limit = f"collect_timeout ({seconds(project.collect_timeout)}s)"
    text = f"auto-heal: {place}: loading the project's conftests takes longer than {limit}\n"
    show_terminal()
    os.write(2, text.encode(errors="backslashreplace"))
    os._exit(INTERNAL_ERROR)
