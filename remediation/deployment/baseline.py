"""What was known of the checks before a deployment, in a file that can be carried from one job to another."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from remediation.config.schema import ConfigError
from remediation.state.records import CheckOutcome, Result
from remediation.system import files

# Thousands of checks with their messages; a file beyond this was not written by us.
_LIMIT = 50_000_000
_FORMAT = 1
# Of a version, in characters: it is a number, a name or a hash.
LONGEST = 200
# Up to the last second of the year 9999, beyond which no calendar of Python's goes.
Moment = Annotated[float, Meta(ge=0, le=253_402_300_799)]


class Known(msgspec.Struct, frozen=True):
    """One check before the deployment."""

    check: str
    outcome: CheckOutcome
    """HEALED is not among them: what failed before the deployment failed, whatever a heal did."""
    latency: Annotated[float, Meta(ge=0)] | None = None
    """The median of its calls, in seconds; None if it did not pass."""
    message: str | None = None
    """Why it failed."""

    def __post_init__(self) -> None:
        """ValueError for an outcome that no baseline has."""
        if self.outcome is CheckOutcome.HEALED:
            raise ValueError("Invalid enum value 'healed'")


class Baseline(msgspec.Struct, frozen=True):
    """All checks before the deployment, by node ID, and the version that each service answered with."""

    at: Moment
    checks: dict[str, Known]
    versions: dict[str, Annotated[str, Meta(max_length=LONGEST)]] = {}
    format: int = _FORMAT

    @classmethod
    def of(cls, results: Iterable[Result], versions: Mapping[str, str]) -> Baseline:
        """Return what a run found, as of now."""
        checks = {one.key: _known(one) for one in results if one.kind == "check"}
        return cls(time.time(), checks, dict(versions))

    def failed(self, nodeid: str) -> bool:
        """Return whether a check is known to have failed before the deployment."""
        known = self.checks.get(nodeid)
        return known is not None and known.outcome is CheckOutcome.FAILED

    @property
    def moment(self) -> str:
        """When it was made, in local time."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))


def _known(one: Result) -> Known:
    if one.outcome.has_failed:
        return Known(one.name, CheckOutcome.FAILED, message=one.message)
    return Known(one.name, one.outcome, latency=one.latency)


def read(path: Path) -> Baseline | None:
    """Return the baseline in a file, None if there is no such file. ConfigError if it holds none."""
    try:
        found = msgspec.json.decode(files.read(path, limit=_LIMIT), type=Baseline)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        why = "is a symbolic link, which is not followed" if error.errno == errno.ELOOP else error.strerror or error
        raise ConfigError(f"baseline {path}: cannot be read: {why}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"baseline {path}: is none: {error}; `auto-heal predeploy` makes one") from None
    if found.format != _FORMAT:
        raise ConfigError(f"baseline {path}: is of another version of auto-heal; `auto-heal predeploy` makes a new one")
    return found


def make_room(path: Path) -> None:
    """Remove an older baseline, and see that a new one can be written. ConfigError if not, or if it is something else.

    One of an earlier deployment must not be taken for that of the next, whatever happens meanwhile.
    """
    try:
        files.make_folder(path.parent)
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) or not _is_like_one(path):
                raise ConfigError(f"baseline {path}: is something else, which is not replaced; name another file")
            path.unlink()
    except OSError as error:
        raise ConfigError(f"baseline {path}: cannot be written: {error.strerror or error}") from None
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"baseline {path}: cannot be written, since its folder cannot")


def _is_like_one(path: Path) -> bool:
    """Return whether a file is a baseline, if perhaps of another version, or empty."""
    content = files.read(path, limit=_LIMIT)
    try:
        return not content or {"at", "checks"} <= msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline for its owner alone, whole or not at all. OSError as usual."""
    files.write(path, msgspec.json.format(msgspec.json.encode(baseline)))
