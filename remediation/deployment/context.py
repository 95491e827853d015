"""The context of a run before or after a deployment, which the command passes to each round of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from remediation.config.schema import ConfigError
from remediation.system import environment
from remediation.system.environment import DEPLOYMENT


class Deployment(msgspec.Struct, frozen=True):
    """The context of a run before or after a deployment."""

    phase: Literal["before", "after"]
    baseline: str
    """The file of the baseline."""
    versions: dict[str, str] = {}
    """The expected version of each service that has one; an empty string allows any version."""
    undone: dict[str, str] = {}
    """The version of each service that must not answer any more, since it was rolled back."""
    fail_on_slower: bool = False
    wait: float | None = None
    """How long to wait for a version, in seconds; None for the start_timeout of the service."""

    def back(self, services: Iterable[str], before: Mapping[str, str]) -> Deployment:
        """Return the context after these services were rolled back; `before` has their previous versions."""
        names = list(services)
        versions = {name: before.get(name, "") for name in names if name in self.versions or name in before}
        undone = {name: self.versions[name] for name in names if name in self.versions and name not in before}
        return msgspec.structs.replace(self, versions=self.versions | versions, undone=undone)

    @property
    def baseline_file(self) -> Path:
        """The file of the baseline."""
        return Path(self.baseline)

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable that passes the context to a round and to its xdist workers."""
        return {DEPLOYMENT: msgspec.json.encode(self).decode()}


def is_told() -> bool:
    """Return whether this process has the context of a deployment."""
    return environment.value(DEPLOYMENT) is not None


def told() -> Deployment | None:
    """Return the deployment of this round, or None for an ordinary run. ConfigError if the variable is invalid."""
    text = environment.value(DEPLOYMENT)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Deployment)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"environment: {DEPLOYMENT} is set by auto-heal alone; unset it ({error})") from None
