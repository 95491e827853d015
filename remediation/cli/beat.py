"""`auto-heal beat`: store the heartbeat of a cron job, or of any other work that nobody can ask."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from pwd import getpwuid

from remediation.config.load import project_folder
from remediation.config.model import STATE_FOLDER
from remediation.config.schema import ConfigError
from remediation.messages.message import Message
from remediation.messages.text import of_environment
from remediation.state import heartbeats
from remediation.system.exit_codes import FAILED, PASSED


def beat(name: str, code: int) -> int:
    """Store a heartbeat with the exit code of its work; print nothing and return 0, or 1 if it cannot be written.

    The rest of the configuration need not be valid: a job has other variables, and perhaps another user.
    """
    root = project_folder(Path.cwd())
    folder = root / STATE_FOLDER
    try:
        heartbeats.send(folder, name, code)
    except heartbeats.HeartbeatError as error:
        if error.message.key == "beat_name":
            raise ConfigError(str(error)) from None
        return _refused(error.message)
    except PermissionError:
        owner = _owner(folder if folder.is_dir() else root)
        return _refused(Message("beat_denied", {"beat": name, "folder": folder, "user": owner}))
    return PASSED


def _refused(why: Message) -> int:
    print(f"auto-heal: {why.render(of_environment(os.environ), named=True)}", file=sys.stderr)
    return FAILED


def _owner(folder: Path) -> str:
    number = folder.stat().st_uid
    try:
        return getpwuid(number).pw_name
    except KeyError:
        return str(number)
