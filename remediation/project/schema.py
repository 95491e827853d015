"""The configuration as it is written: which keys there are, of which type, with which default.

msgspec checks types: of the validating libraries tried it adds the least to the start of every run
(4 ms after pytest itself; the next one twice that).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

Words = list[str] | str
# A bound on seconds, since TOML also knows `inf`: a deadline has to be a moment. Three years.
LONGEST = 1e8
Positive = Annotated[float, Meta(gt=0, le=LONGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=LONGEST)]
Text = Annotated[str, Meta(min_length=1)]


class BudgetTable(Struct, frozen=True):
    """`budget = { restarts = 5, window = 600 }`."""

    restarts: Annotated[int, Meta(ge=0)] = 5
    window: Positive = 600.0


class RunTable(Struct, frozen=True):
    """`{ run = ["npm", "ci"], timeout = 120 }`, a rung of the ladder."""

    run: Words
    timeout: Positive = 120.0


class ServiceTable(Struct, frozen=True):
    """`[tool.auto-heal.services.NAME]`."""

    command: Words | None = None
    cwd: Text = "."
    env: dict[str, str] = {}
    url: Text | None = None
    ready: Text | None = None
    stop_signal: Text = "SIGTERM"
    stop_timeout: NotNegative = 10.0
    start_timeout: Positive = 30.0
    pid_file: Text | None = None
    log_file: Text | None = None
    free_port: Literal["own", "user", "never"] = "user"
    depends_on: list[str] = []
    restart: Words | None = None
    start: Words | None = None
    stop: Words | None = None
    ladder: Annotated[list[Literal["restart"] | dict[str, Any]], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["restart"]
    )
    rollback: Words | None = None
    budget: dict[str, Any] = {}


class ProjectTable(Struct, frozen=True):
    """`[tool.auto-heal]`."""

    interval: Positive = 30.0
    retries: Annotated[int, Meta(ge=1)] = 3
    retry_delay: NotNegative = 5.0
    timeout: Positive = 5.0
    log_file: Text = "auto-heal.log"
    report: Text = "reports/health.xml"
    language: Literal["en", "ru"] | None = None
    services: dict[str, dict[str, Any]] = {}


class ConfigError(Exception):
    """The configuration cannot be used; the message says what is wrong, where, and how to mend it."""


Table = TypeVar("Table", bound=Struct)

_KINDS = {
    "array": "a list", "bool": "true or false", "float": "a number", "int": "a whole number",
    "object": "a table", "str": "a string", "null": "nothing", "datetime": "a date", "array | str":
    "a list of strings or one string", "array | null | str": "a list of strings or one string",
    "object | str": '"restart" or a table',
}  # fmt: skip


def read_table(values: Mapping[str, Any], kind: type[Table], where: str) -> Table:
    """Return the table as a `kind`; ConfigError names the key below `where` and the nearest known one."""
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `")
        key = path.removeprefix("$").rstrip("`")
        raise ConfigError(f"{where}{key}: {_plain(problem)}") from None


def _plain(problem: str) -> str:
    """Say in TOML's words what msgspec says in its own."""
    problem = re.sub(r"`([^`]*)`", lambda match: _KINDS.get(match[1], match[1]), problem)
    return problem[0].lower() + problem[1:]
