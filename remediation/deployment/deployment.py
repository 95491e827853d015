"""On which side of a deployment a run is, and what it has to know: handed from the command to each of its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from remediation.project.schema import ConfigError

# A round is a process of its own, and so is a worker of xdist; all of them inherit this.
VARIABLE = "AUTO_HEAL_DEPLOYMENT"


class Deployment(msgspec.Struct, frozen=True):
    """A run beside a deployment."""

    phase: Literal["before", "after"]
    baseline: str
    """The file of what was known before."""
    versions: dict[str, str] = {}
    """The version that each service has to answer with, where one is expected."""
    fail_on_slower: bool = False

    @property
    def baseline_file(self) -> Path:
        """The file of what was known before."""
        return Path(self.baseline)

    def to_environment(self) -> dict[str, str]:
        """Return the variable by which a round knows of it."""
        return {VARIABLE: msgspec.json.encode(self).decode()}


def from_environment(environ: Mapping[str, str]) -> Deployment | None:
    """Return the deployment that a round was told of, None for an ordinary run. ConfigError for anything else."""
    text = environ.get(VARIABLE)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=Deployment)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ConfigError(f"environment: {VARIABLE} is set by auto-heal alone; unset it ({error})") from None
