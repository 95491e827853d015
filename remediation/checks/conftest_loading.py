"""The time in which pytest loads the project's conftests, before it can fork what it will run: within a time as well.

A thread looks on, since nothing else can. It says where the loading hangs, and ends the process.
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

# Before that, nobody asks how long it may take, in seconds.
_SOON = 0.2
_over: threading.Event | None = None
_thread: threading.Thread | None = None


def begin(place: Path, show_terminal: Callable[[], object]) -> None:
    """Begin to look on, in the folder in which pytest was started; `show_terminal` gives back what pytest captures."""
    global _over, _thread  # noqa: PLW0603 - of this process
    if _thread is None:
        _over = threading.Event()
        _thread = threading.Thread(target=_look_on, args=(place, show_terminal, _over), daemon=True)
        _thread.start()


def end() -> None:
    """All is loaded: look away, before anything is forked."""
    global _thread  # noqa: PLW0603 - as above
    if _over and _thread:
        _over.set()
        _thread.join()
        _thread = None


def _look_on(place: Path, show_terminal: Callable[[], object], over: threading.Event) -> None:
    # Most are loaded by then, and their sessions read the configuration anyhow.
    if over.wait(_SOON):
        return
    try:
        project = load_project(place)
    except (ConfigError, OSError):
        # pytest will say so.
        return
    if over.wait(project.collect_timeout - _SOON):
        return
    main = threading.main_thread().ident or 0
    where = place_of(sys._current_frames().get(main), project.root)  # noqa: SLF001 - as faulthandler does
    limit = f"collect_timeout ({seconds(project.collect_timeout)}s)"
    text = f"auto-heal: {where}: loading the project's conftests takes longer than {limit}\n"
    show_terminal()
    os.write(2, text.encode(errors="backslashreplace"))
    os._exit(INTERNAL_ERROR)
