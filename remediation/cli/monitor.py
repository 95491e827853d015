"""`auto-heal monitor`: run the one monitor of a project."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from remediation.cli.check import refuse_idle, with_checks
from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.monitor.pid1 import step_aside
from remediation.state.event_log import EventLog, terminal
from remediation.system import files
from remediation.system.files import Lock, LockTimeoutError

STDOUT = 1
WATCHED, INTERNAL_ERROR = 1, 3
_LIMIT = 10_000


class Watcher(msgspec.Struct, frozen=True):
    """The monitor or the drill of a project: its PID, and its start in epoch seconds."""

    pid: int
    since: float
    drills: bool = False


class WatchedError(Exception):
    """Another monitor or drill holds the lock."""


def monitor(arguments: list[str], *, metrics_port: int | None) -> int:
    """Watch the project until Ctrl+C or SIGTERM, with further `arguments` for pytest.

    Return 0 then, 1 if another monitor watches the project, 3 after an error of our own or if the project or its lock
    is gone, and pytest's exit code if the checks cannot be collected. ConfigError if there is no valid configuration.
    """
    ended = step_aside()
    if ended is not None:
        return ended
    refuse_idle(arguments, "monitor")
    if "--rollback" in arguments:
        raise ConfigError("--rollback: a monitor never rolls back, only postdeploy and a single check do")
    project = load_project(Path.cwd())
    arguments = with_checks(arguments, project)
    try:
        with watcher_lock(project) as lock:
            return _watch(project, lock, arguments, metrics_port)
    except OSError as error:
        # Not 1: that code means that a restart would not help.
        print(f"auto-heal: {error.filename or project.state_folder}: {error.strerror or error}", file=sys.stderr)
        return INTERNAL_ERROR
    except WatchedError:
        log_watcher(project, EventLog.of(project, terminal=terminal(STDOUT)))
        return WATCHED


def _watch(project: Project, lock: Lock, arguments: list[str], metrics_port: int | None) -> int:
    from remediation.monitor.loop import Monitor

    try:
        return Monitor(project, lock, arguments, metrics_port=metrics_port).run()
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - an error of our own, after which a service manager may restart us
        traceback.print_exc()
        return INTERNAL_ERROR


def current_watcher(project: Project) -> Watcher | None:
    """Return the last watcher of the project; if the lock is held, it is the current one."""
    try:
        return msgspec.json.decode(files.read(_watcher_file(project), limit=_LIMIT), type=Watcher)
    except (OSError, msgspec.MsgspecError):
        return None


def _watcher_file(project: Project) -> Path:
    return project.state_folder / ".monitor.json"


def log_watcher(project: Project, event_log: EventLog) -> None:
    """Log that there is a monitor or a drill already, and since when."""
    watcher = current_watcher(project)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(watcher.since)) if watcher else "?"
    key = "drill_runs" if watcher and watcher.drills else "watched"
    event_log.log(key, pid=watcher.pid if watcher else "?", since=since)


@contextmanager
def watcher_lock(project: Project, *, drills: bool = False) -> Iterator[Lock]:
    """Hold the lock of the project's only monitor or drill. WatchedError if there is one already."""
    held = False
    try:
        with files.locked(project.state_folder / ".monitor.lock", timeout=0) as lock:
            held = True
            # Only a second monitor reads this file. A full disk must not keep the first one from watching.
            with suppress(OSError):
                files.write(_watcher_file(project), msgspec.json.encode(Watcher(os.getpid(), time.time(), drills)))
            yield lock
    except LockTimeoutError:
        if held:
            raise
        raise WatchedError from None
