"""What was known of the checks before a deployment, in a file that can be carried from one job to another."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from remediation.journal.record import Result
from remediation.primitives import file
from remediation.project.schema import ConfigError

# Thousands of checks with their messages; a file beyond this was not written by us.
_LIMIT = 50_000_000
_FORMAT = 1


class Known(msgspec.Struct, frozen=True):
    """One check before the deployment."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    latency: float | None = None
    """The median of its calls, in seconds; None if it did not pass."""
    message: str | None = None
    """Why it failed."""


class Baseline(msgspec.Struct, frozen=True):
    """All checks before the deployment, by node ID, and the version that each service answered with."""

    at: float
    checks: dict[str, Known]
    versions: dict[str, str] = {}
    format: int = _FORMAT

    @classmethod
    def of(cls, results: Iterable[Result], versions: Mapping[str, str]) -> Baseline:
        """Return what a run found, as of now."""
        checks = {one.key: _known(one) for one in results if one.kind == "check"}
        return cls(time.time(), checks, dict(versions))

    def failed(self, nodeid: str) -> bool:
        """Return whether a check is known to have failed before the deployment."""
        known = self.checks.get(nodeid)
        return known is not None and known.outcome == "failed"

    @property
    def moment(self) -> str:
        """When it was made, in local time."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))


def _known(one: Result) -> Known:
    if one.failed_at is not None:
        return Known(one.name, "failed", message=one.message)
    return Known(one.name, "skipped" if one.passed_at is None else "passed", latency=one.latency)


def read(path: Path) -> Baseline | None:
    """Return the baseline in a file, None if there is no such file. ConfigError if it holds none."""
    try:
        found = msgspec.json.decode(file.read(path, limit=_LIMIT), type=Baseline)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"baseline {path}: cannot be read: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"baseline {path}: is none: {error}; `auto-heal predeploy` makes one") from None
    if found.format != _FORMAT:
        raise ConfigError(f"baseline {path}: is of another version of auto-heal; `auto-heal predeploy` makes a new one")
    return found


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline for its owner alone, whole or not at all. OSError as usual."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(path, msgspec.json.format(msgspec.json.encode(baseline)))
