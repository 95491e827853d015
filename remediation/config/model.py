"""The values that everything else is about: a project, its services, and how each may be healed."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from signal import Signals
from typing import Literal

from msgspec import Struct

from remediation.system.secrets import redacted_words

FreePort = Literal["own", "user", "never"]

# The environment variable by which a process, and all that it starts, is known as a service of a project.
MARK = "AUTO_HEAL_SERVICE"
# The one by which all that one start began is known, also when the folder of the project has another path by now.
START = "AUTO_HEAL_START"
# The folder of what is remembered, beside the configuration.
MEMORY = ".auto-heal"


class Budget(Struct, frozen=True):
    """How many restarts are allowed in how many seconds."""

    restarts: int
    window: float
    calm: float
    """After so many seconds without trouble all begins anew; longer than a monitor takes from check to check."""


class HistoryLimits(Struct, frozen=True):
    """How old and how big the history may become."""

    days: float
    megabytes: float


class EvidenceLimits(Struct, frozen=True):
    """How old and how big the evidence of heals may become."""

    days: float
    megabytes: float


class LatencyLimits(Struct, frozen=True):
    """How often a check is called beside a deployment, and from when on it counts as slower than before."""

    calls: int
    factor: float
    """So many times the latency of before,"""
    margin: float
    """and so many seconds more than it."""


class Notices(Struct, frozen=True):
    """Who is told by message of an incident (apprise URLs), and of which of its events."""

    urls: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


class Rung(Struct, frozen=True):
    """One step of the ladder: a restart, after `run` if there is one, which may take `timeout` seconds."""

    run: tuple[str, ...] = ()
    timeout: float = 120.0

    @property
    def action(self) -> str:
        """The rung in words, for the report: `restart` or `npm ci, restart`."""
        return ", ".join(filter(None, [" ".join(redacted_words(self.run)), "restart"]))


class Rollback(Struct, frozen=True):
    """The way back to what was deployed before: a command that may take `timeout` seconds, and a restart after it."""

    run: tuple[str, ...]
    timeout: float
    restart: bool

    @property
    def action(self) -> str:
        """The rollback in words, for the report."""
        return f"rollback by {' '.join(redacted_words(self.run))}"


class Version(Struct, frozen=True):
    """Where a service tells its version: a path that answers JSON, and a field of that, such as `build.version`."""

    path: str
    field: str


class Address(Struct, frozen=True):
    """Where a service is reached."""

    url: str
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """The address without a path or credentials, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Service(Struct, frozen=True):
    """One service, all paths absolute, all times in seconds.

    `command` is what we start ourselves; `restart_command` (with `start_command` and `stop_command`) is
    what asks somebody else to. With neither the service is checked and never healed.
    """

    name: str
    mark: str
    cwd: Path
    env: Mapping[str, str]
    address: Address | None
    ready: str
    command: tuple[str, ...]
    restart_command: tuple[str, ...]
    start_command: tuple[str, ...]
    stop_command: tuple[str, ...]
    stop_signal: Signals
    stop_timeout: float
    start_timeout: float
    probe_timeout: float
    pid_file: Path
    log_file: Path
    log_size: int
    free_port: FreePort
    depends_on: tuple[str, ...]
    ladder: tuple[Rung, ...]
    rollback: Rollback | None
    version: Version | None
    budget: Budget
    evidence: tuple[str, ...]
    """A command that tells more of the sick process, whose PID stands for `{pid}`."""
    evidence_timeout: float
    """How long a heal may look before it acts; 0 for not at all."""
    verify: bool
    """Whether the certificate of an https url must be proven."""
    ca_file: Path | None
    """Who may have signed it; None for whom this machine trusts."""

    @property
    def healable(self) -> bool:
        """Whether there is any way to restart it."""
        return bool(self.command or self.restart_command)


class Project(Struct, frozen=True):
    """A configured project; `source` is the file that says so."""

    source: Path
    services: Mapping[str, Service]
    interval: float
    retries: int
    retry_delay: float
    timeout: float
    collect_timeout: float
    """How long a module may take to be imported, and what is no check of one, in seconds."""
    log_file: Path
    log_size: int
    """The bytes at which a log is rotated: our own, and that of each service."""
    report: Path
    language: Literal["en", "ru"]
    history: HistoryLimits
    evidence: EvidenceLimits
    latency: LatencyLimits
    notify: Notices

    @property
    def root(self) -> Path:
        """The folder of the configuration; relative paths start here."""
        return self.source.parent

    @property
    def memory(self) -> Path:
        """The folder for locks and for what is remembered of each service."""
        return self.root / MEMORY

    @property
    def baseline(self) -> Path:
        """The file of what was known before a deployment, unless another one is named."""
        return self.memory / "baseline.json"

    def ordered(self, names: Container[str]) -> list[Service]:
        """Return the services of these names, each after all that it depends on."""
        needs = {name: service.depends_on for name, service in self.services.items()}
        return [self.services[name] for name in TopologicalSorter(needs).static_order() if name in names]

    def relative(self, path: Path) -> str:
        """Shorten a path for messages."""
        return os.path.relpath(path, self.root) if path.is_relative_to(self.root) else str(path)
