"""Ask whether a cron job, or other work that nobody can reach, has sent a heartbeat in time."""

from __future__ import annotations

import time
from pathlib import Path

from remediation.messages.formatting import spoken
from remediation.messages.message import MessageError
from remediation.state import heartbeats

# A clock that is adjusted may make a heartbeat of before the last boot so many seconds younger than it can be.
_ADJUSTED = 60.0
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


class OverdueError(MessageError):
    """There is no heartbeat that shows that the work was done in time."""


def age(folder: Path, name: str, *, within: float) -> float:
    """Return the age of the last heartbeat called `name`, in seconds. `folder` is the state folder of the project.

    OverdueError if there is none, if it is older than `within` seconds, or if it reports that its work failed.
    HeartbeatError for a wrong name.
    """
    beat = heartbeats.last(folder, name)
    if beat is None:
        raise OverdueError("beat_none", beat=name)
    sent = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(beat.at))
    if beat.age < -_ADJUSTED:
        # It would count as fresh until the clock has caught up.
        raise OverdueError("beat_future", beat=name, moment=sent)
    if beat.code:
        raise OverdueError("beat_failed", beat=name, code=beat.code, moment=sent)
    if beat.age > within:
        raise OverdueError("beat_late", beat=name, age=_spoken(beat.age), limit=_spoken(within), moment=sent)
    return max(0.0, beat.age)


def _spoken(seconds: float) -> str:
    """Format a duration as people who write limits in hours do: `26h 3m`, `25h`."""
    whole = round(seconds)
    if _DAY <= whole < 2 * _DAY:
        minutes = whole % _HOUR // _MINUTE
        return f"{whole // _HOUR}h" + (f" {minutes}m" if minutes else "")
    return spoken(seconds)
