"""`auto-heal monitor`: one watch a project."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from remediation.cli.check import refuse_idle, with_folder
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
    """Who watches a project, or drills it: PID, and since when in epoch seconds."""

    pid: int
    since: float
    drills: bool = False


class WatchedError(Exception):
    """Another monitor holds the lock."""


def monitor(arguments: list[str], *, metrics_port: int | None) -> int:
    """Watch the project until Ctrl+C or SIGTERM, with pytest's further `arguments`.

    Returns 0 then, 1 if another monitor watches it, 3 after a fault of our own or if the project or its lock is
    gone, and pytest's exit code if the checks cannot be collected.
    ConfigError if there is no configuration, or it cannot be used.
    """
    ended = step_aside()
    if ended is not None:
        return ended
    refuse_idle(arguments, "monitor")
    if "--rollback" in arguments:
        raise ConfigError("--rollback: a monitor never rolls back, only postdeploy and a single check do")
    project = load_project(Path.cwd())
    arguments = with_folder(arguments, project.root)
    try:
        with alone(project) as lock:
            return _watch(project, lock, arguments, metrics_port)
    except OSError as error:
        # Not 1, which says that there is nothing to be mended by starting again.
        print(f"auto-heal: {error.filename or project.state_folder}: {error.strerror or error}", file=sys.stderr)
        return INTERNAL_ERROR
    except WatchedError:
        tell_who_watches(project, EventLog.of(project, terminal=terminal(STDOUT)))
        return WATCHED


def _watch(project: Project, lock: Lock, arguments: list[str], metrics_port: int | None) -> int:
    from remediation.monitor.loop import Monitor

    try:
        return Monitor(project, lock, arguments, metrics_port=metrics_port).run()
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - a fault of ours, which whoever runs us may answer by starting us again
        traceback.print_exc()
        return INTERNAL_ERROR


def who_watches(project: Project) -> Watcher | None:
    """Return who watched the project last, which is who watches it now if its lock is held."""
    try:
        return msgspec.json.decode(files.read(_note(project), limit=_LIMIT), type=Watcher)
    except (OSError, msgspec.MsgspecError):
        return None


def _note(project: Project) -> Path:
    return project.state_folder / ".monitor.json"


def tell_who_watches(project: Project, event_log: EventLog) -> None:
    """Say that there is a monitor already, or a drill, and since when."""
    watcher = who_watches(project)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(watcher.since)) if watcher else "?"
    key = "drill_runs" if watcher and watcher.drills else "watched"
    event_log.log(key, pid=watcher.pid if watcher else "?", since=since)


@contextmanager
def alone(project: Project, *, drills: bool = False) -> Iterator[Lock]:
    """Be the one monitor of a project, or its one drill. WatchedError if there is one."""
    held = False
    try:
        with files.locked(project.state_folder / ".monitor.lock", timeout=0) as lock:
            held = True
            # Only a second monitor asks for it; no space for it is no reason not to watch.
            with suppress(OSError):
                files.write(_note(project), msgspec.json.encode(Watcher(os.getpid(), time.time(), drills)))
            yield lock
    except LockTimeoutError:
        if held:
            raise
        raise WatchedError from None
