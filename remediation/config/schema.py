"""The configuration as it is written: which keys there are, of which type, with which default.

msgspec checks types: of the validating libraries tried it adds the least to the start of every run
(4 ms after pytest itself; the next one twice that).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from remediation.messages.message import printable
from remediation.system.secrets import redacted

# A bound on seconds, since TOML also knows `inf`: a deadline has to be a moment. Three years.
LONGEST = 1e8
Positive = Annotated[float, Meta(gt=0, le=LONGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=LONGEST)]
Text = Annotated[str, Meta(min_length=1)]
Words = list[str] | str


class BudgetTable(Struct, frozen=True):
    """`budget = { restarts = 5, window = 600 }`."""

    restarts: Annotated[int, Meta(ge=0)] = 5
    window: Positive = 600.0


class RunTable(Struct, frozen=True):
    """`{ run = ["npm", "ci"], timeout = 120 }`, a rung of the ladder."""

    run: Words
    timeout: Positive = 120.0


class RollbackTable(Struct, frozen=True):
    """`rollback = { run = ["./rollback.sh"], timeout = 300, restart = false }`."""

    run: Words
    timeout: Positive = 120.0
    restart: bool = True


class VersionTable(Struct, frozen=True):
    """`version = { path = "/api/health", field = "version" }`."""

    path: Text
    field: Text = "version"


class ServiceTable(Struct, frozen=True):
    """`[tool.auto-heal.services.NAME]`."""

    command: Words | None = None
    cwd: Text = "."
    env: dict[str, Any] = {}
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
    rollback: Words | dict[str, Any] | None = None
    version: dict[str, Any] | None = None
    budget: dict[str, Any] = {}
    evidence: Words | None = None
    verify: bool = True
    ca_file: Text | None = None


class HistoryTable(Struct, frozen=True):
    """`history = { days = 90, megabytes = 100 }`."""

    days: Positive = 90.0
    megabytes: Annotated[float, Meta(ge=1, le=LONGEST)] = 100.0


class EvidenceTable(Struct, frozen=True):
    """`evidence = { timeout = 3, days = 30, megabytes = 100 }`."""

    timeout: NotNegative = 3.0
    days: Positive = 30.0
    megabytes: Annotated[float, Meta(ge=1, le=LONGEST)] = 100.0


class LatencyTable(Struct, frozen=True):
    """`latency = { calls = 5, factor = 2, margin = 0.05 }`."""

    calls: Annotated[int, Meta(ge=1, le=1000)] = 5
    factor: Annotated[float, Meta(ge=1, le=LONGEST)] = 2.0
    margin: NotNegative = 0.05


class NotifyTable(Struct, frozen=True):
    """`[tool.auto-heal.notify]`."""

    urls: list[Text] = []
    on: list[Literal["sick", "healed", "gave-up"]] = msgspec.field(
        default_factory=lambda: ["sick", "healed", "gave-up"]
    )


class ProjectTable(Struct, frozen=True):
    """`[tool.auto-heal]`."""

    interval: Positive = 30.0
    retries: Annotated[int, Meta(ge=1)] = 3
    retry_delay: NotNegative = 5.0
    timeout: Positive = 5.0
    collect_timeout: Positive = 30.0
    log_file: Text = "auto-heal.log"
    log_size: Annotated[int, Meta(ge=10_000, le=int(1e12))] = 5_000_000
    report: Text = "reports/health.xml"
    language: Literal["en", "ru"] | None = None
    history: dict[str, Any] = {}
    evidence: dict[str, Any] = {}
    latency: dict[str, Any] = {}
    notify: dict[str, Any] = {}
    services: dict[str, Any] = {}


class ConfigError(Exception):
    """The configuration cannot be used; the message says what is wrong, where, and how to mend it."""

    def __init__(self, problem: str) -> None:
        """Say what is wrong in one sentence, which holds no secret and is safe for a terminal."""
        super().__init__(printable(redacted(problem)))


Kind = TypeVar("Kind")
Table = TypeVar("Table", bound=Struct)

_KINDS = {
    "array": "a list", "bool": "true or false", "date": "a date", "datetime": "a date", "float": "a number",
    "int": "a whole number", "object": "a table", "str": "a string", "time": "a time",
}  # fmt: skip
_UNIONS = {
    frozenset({"array", "str"}): "a list of strings or one string",
    frozenset({"array", "object", "str"}): "a list of strings, one string or a table",
    frozenset({"object", "str"}): '"restart" or a table',
}


def read_table(values: object, kind: type[Table], where: str) -> Table:
    """Return a table of the file as a `kind`; `where` says where it stands, and ends as a key may follow.

    ConfigError names the key, and for an unknown one the nearest that is known.
    """
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in read(values, dict[str, Any], where):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"{where.rstrip('.: ')}: unknown key {key!r}; {hint}")
    return read(values, kind, where)


def read(value: object, kind: type[Kind], where: str) -> Kind:
    """Return a value of the file as a `kind`; ConfigError says where it is of another."""
    refuse_nul(value, where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `")
        key = path.removeprefix("$").removeprefix(".").rstrip("`")
        if missing := re.fullmatch(r"Object missing required field `(\w+)`", problem):
            key, problem = f"{key}.{missing[1]}".removeprefix("."), "Missing"
        place = f"{where}{key}" if key else where.rstrip(".: ")
        raise ConfigError(f"{place}: {_plain(problem, kind, key)}") from None


def refuse_nul(value: object, where: str) -> None:
    """Raise ConfigError for a NUL character, which neither a path nor a command line can hold."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_nul(key, where)
            refuse_nul(inner, f"{where}{key}.")
    elif isinstance(value, list):
        for inner in value:
            refuse_nul(inner, where)
    elif isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where.rstrip('.: ')}: holds a NUL character, which no path and no command can")


def _plain(problem: str, kind: Any, key: str) -> str:
    """Say in TOML's words what msgspec says in its own."""
    if bad := re.fullmatch(r"Invalid enum value (.*)", problem):
        return f"unknown value {bad[1]}; known values: {', '.join(map(repr, _choices(kind, key)))}"
    text = re.sub(r"`([^`]*)`", lambda match: _kinds(match[1]), problem)
    return text[0].lower() + text[1:]


def _choices(kind: Any, key: str) -> list[str]:
    """Return the strings that a field takes."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    pending: list[Any] = [fields[key.partition("[")[0]]]
    found: list[str] = []
    while pending:
        inner = get_args(pending.pop())
        found += [one for one in inner if isinstance(one, str)]
        pending += [one for one in inner if not isinstance(one, str)]
    return found


def _kinds(words: str) -> str:
    names = [name for name in words.split(" | ") if name != "null"]
    return _UNIONS.get(frozenset(names)) or " or ".join(_KINDS.get(name, name) for name in names)
