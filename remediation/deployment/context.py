"""On which side of a deployment a run is, and what it has to know: handed from the command to each of its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from remediation.config.schema import ConfigError
from remediation.system import environment
from remediation.system.environment import DEPLOYMENT


class Deployment(msgspec.Struct, frozen=True):
    """A run beside a deployment."""

    phase: Literal["before", "after"]
    baseline: str
    """The file of what was known before."""
    versions: dict[str, str] = {}
    """The version that each service has to answer with, where one is expected; any if it is empty."""
    undone: dict[str, str] = {}
    """The version that a service must not answer with any more, since it was rolled back."""
    fail_on_slower: bool = False
    wait: float | None = None
    """How long to wait for a version, in seconds; None for the start_timeout of the service."""

    def back(self, services: Iterable[str], known: Mapping[str, str]) -> Deployment:
        """Return what is expected once these services were rolled back to what was `known` before."""
        names = list(services)
        versions = {name: known.get(name, "") for name in names if name in self.versions or name in known}
        undone = {name: self.versions[name] for name in names if name in self.versions and name not in known}
        return msgspec.structs.replace(self, versions=self.versions | versions, undone=undone)

    @property
    def baseline_file(self) -> Path:
        """The file of what was known before."""
        return Path(self.baseline)

    def to_environment(self) -> dict[str, str]:
        """Return the variable by which a round knows of it, and each worker of xdist in it."""
        return {DEPLOYMENT: msgspec.json.encode(self).decode()}


def is_told() -> bool:
    """Return whether this process was told of a deployment."""
    return environment.value(DEPLOYMENT) is not None


def told() -> Deployment | None:
    """Return the deployment that a round was told of, None for an ordinary run. ConfigError for anything else."""
    text = environment.value(DEPLOYMENT)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Deployment)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"environment: {DEPLOYMENT} is set by auto-heal alone; unset it ({error})") from None
