"""The results of the checks before a deployment, in a file that one CI job can pass to another."""

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

# In bytes. Thousands of checks with their messages fit; auto-heal does not write a longer file.
_LIMIT = 50_000_000
_FORMAT = 1
# The error for a symbolic link that must not be followed, open(2), on Linux and macOS, and on FreeBSD.
_IS_LINK = (errno.ELOOP, errno.EMLINK)
# The length limit of a version in characters. A version is a number, a name or a hash.
LONGEST = 200
# In epoch seconds. The maximum is the last second of the year 9999, where Python's calendar ends.
Moment = Annotated[float, Meta(ge=0, le=253_402_300_799)]


class BaselineCheck(msgspec.Struct, frozen=True):
    """One check before the deployment."""

    check: str
    outcome: CheckOutcome
    """Never HEALED: a check that failed before the deployment counts as failed, even if a heal followed."""
    latency: Annotated[float, Meta(ge=0)] | None = None
    """The median of its calls, in seconds; None if it did not pass."""
    message: str | None = None
    """Why it failed."""

    def __post_init__(self) -> None:
        """Raise ValueError for an outcome that no baseline has."""
        if self.outcome is CheckOutcome.HEALED:
            raise ValueError("Invalid enum value 'healed'")


class Baseline(msgspec.Struct, frozen=True):
    """All checks before the deployment, by node ID, and the version that each service answered with."""

    at: Moment
    checks: dict[str, BaselineCheck]
    versions: dict[str, Annotated[str, Meta(max_length=LONGEST)]] = {}
    format: int = _FORMAT

    @classmethod
    def of(cls, results: Iterable[Result], versions: Mapping[str, str]) -> Baseline:
        """Return the baseline of a run's results, as of now."""
        checks = {result.key: _baseline_check(result) for result in results if result.kind == "check"}
        return cls(time.time(), checks, dict(versions))

    def failed(self, nodeid: str) -> bool:
        """Return whether a check failed before the deployment."""
        check = self.checks.get(nodeid)
        return check is not None and check.outcome is CheckOutcome.FAILED

    @property
    def moment(self) -> str:
        """When the baseline was made, in local time."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))


def _baseline_check(result: Result) -> BaselineCheck:
    if result.outcome.has_failed:
        return BaselineCheck(result.name, CheckOutcome.FAILED, message=result.message)
    return BaselineCheck(result.name, result.outcome, latency=result.latency)


def read(path: Path) -> Baseline | None:
    """Return the baseline in a file, or None if there is no such file. ConfigError if it is not a baseline."""
    try:
        baseline = msgspec.json.decode(files.read(path, limit=_LIMIT), type=Baseline)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        why = "is a symbolic link, which is not followed" if error.errno in _IS_LINK else error.strerror or error
        raise ConfigError(f"baseline {path}: cannot be read: {why}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"baseline {path}: is none: {error}; `auto-heal predeploy` makes one") from None
    if baseline.format != _FORMAT:
        raise ConfigError(f"baseline {path}: is of another version of auto-heal; `auto-heal predeploy` makes a new one")
    return baseline


def make_room(path: Path) -> None:
    """Remove an older baseline, and check that a new one can be written.

    ConfigError if it cannot, or if the file is not a baseline. The baseline of an earlier deployment must never pass
    for that of the next.
    """
    try:
        files.make_folder(path.parent)
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) or not _resembles_baseline(path):
                raise ConfigError(f"baseline {path}: is something else, which is not replaced; name another file")
            path.unlink()
    except OSError as error:
        raise ConfigError(f"baseline {path}: cannot be written: {error.strerror or error}") from None
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"baseline {path}: cannot be written, since its folder cannot")


def _resembles_baseline(path: Path) -> bool:
    """Return whether a file is empty or a baseline, perhaps of another version."""
    content = files.read(path, limit=_LIMIT)
    try:
        return not content or {"at", "checks"} <= msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline atomically, readable only by its owner. OSError if that fails."""
    files.write(path, msgspec.json.format(msgspec.json.encode(baseline)))
