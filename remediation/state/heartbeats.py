"""The heartbeats of cron jobs and other work that nobody can ask: when each was sent last, and how its work ended.

Each is a file in `.auto-heal/` that every user may read, because a job often runs as another user than the monitor.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from remediation.config.schema import NAME
from remediation.messages.message import MessageError
from remediation.system import files
from remediation.system.capabilities import boot_id, steady

if TYPE_CHECKING:
    from typing_extensions import Self

# The most names of a project: whoever may send heartbeats must not fill its disk.
MOST = 1_000
# No service has a file of this form.
_PREFIX, _SUFFIX = ".beat-", ".json"
_LIMIT = 1_000


class Heartbeat(msgspec.Struct, frozen=True):
    """One heartbeat: its moment in epoch seconds, and the exit code of the work before it."""

    at: Annotated[float, Meta(ge=0, le=1e11)]
    code: Annotated[int, Meta(ge=0, le=255)] = 0
    boot: str = ""
    steady: float = 0.0
    """The same moment on the clock that counts from this boot and that nobody can set."""

    @classmethod
    def now(cls, code: int = 0) -> Self:
        """Return a heartbeat of this moment."""
        return cls(time.time(), code, boot_id(), steady())

    @property
    def age(self) -> float:
        """Seconds since it was sent. Negative if the clock was set back and the system has booted since."""
        now = steady()
        # A container may have a clock of its own, time_namespaces(7).
        if self.boot and self.boot == boot_id() and 0 <= self.steady <= now:
            return now - self.steady
        return time.time() - self.at


class HeartbeatError(MessageError):
    """A heartbeat is refused."""


def send(folder: Path, name: str, code: int = 0) -> None:
    """Store a heartbeat of this moment in a project's state folder. HeartbeatError for a wrong name, or one too many.

    OSError if it cannot be written.
    """
    path = _path(folder, name)
    if not path.exists() and len(files.matching(folder, f"{_PREFIX}*{_SUFFIX}")) >= MOST:
        raise HeartbeatError("beat_too_many", most=MOST)
    files.write(path, msgspec.json.encode(Heartbeat.now(code)), mode=files.PUBLIC)


def last(folder: Path, name: str) -> Heartbeat | None:
    """Return the last heartbeat of a name; None if there is none. HeartbeatError for a wrong name.

    A corrupt file counts as none, since what it says proves nothing.
    """
    try:
        return msgspec.json.decode(files.read(_path(folder, name), limit=_LIMIT), type=Heartbeat)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None


def _path(folder: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise HeartbeatError("beat_name", beat=name)
    return folder / f"{_PREFIX}{name}{_SUFFIX}"
