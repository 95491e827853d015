"""A declared check: what `checks = [...]` of a service asks for, without Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, field
from msgspec.structs import force_setattr

from remediation.config import quantities
from remediation.config.errors import InvalidValueError
from remediation.config.fields import HTTP_PATH, Positive, Text
from remediation.config.schema import NAME
from remediation.messages.message import printable
from remediation.system.secrets import redacted

Status = Annotated[int, Meta(ge=100, le=599)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]

_REQUESTS = ("get", "post", "head")
# The kinds of checks, by the key that says what is checked. A check has exactly one.
KINDS = (
    *_REQUESTS, "tcp", "dns", "tls_expires_in", "memory_below", "cpu_below", "open_files_below", "disk_free",
    "log_without", "heartbeat", "process",
)  # fmt: skip
# What else a check may say, and beside which kinds.
BESIDE = {
    "status": _REQUESTS, "headers": _REQUESTS, "json": ("get", "post"), "contains": ("get", "post", "dns"),
    "matches": ("get", "post"), "body": ("post",), "path": ("disk_free",),
    "within": (*_REQUESTS, "tcp", "dns"),
    "for": (*_REQUESTS, "tcp", "dns", "memory_below", "cpu_below", "open_files_below", "disk_free"),
}  # fmt: skip
_WORDS = {"tcp": "TCP", "dns": "DNS", "tls_expires_in": "TLS expires in"}
# The runs in which an answer has to be slower than `within` before its service is healed, unless `for` says.
SLOW_RUNS = 3
# What `held_for` is where a limit fails, and heals, the first time that it is exceeded.
AT_ONCE = (0.0, 1)


class HeartbeatLimit(Struct, frozen=True):
    """`heartbeat = { name = "backup", within = "25h" }`: the longest time since the last `auto-heal beat backup`."""

    name: Text
    within: Text


class Check(Struct, frozen=True, kw_only=True):
    """One entry of `checks`: exactly one thing to check, and what is expected of it."""

    get: Text | None = None
    """A path to GET."""
    post: Text | None = None
    head: Text | None = None
    status: Status | tuple[Status, ...] = ()
    """The expected status, or several; any 2xx if none is given."""
    json: Any = UNSET
    """What the JSON of the answer has to contain."""
    contains: Text | tuple[Text, ...] = ()
    """Text that the body, or an address of a name, has to contain."""
    matches: Text | None = None
    """A regular expression, as of Python, that has to match somewhere in the body."""
    headers: Mapping[str, Text] = {}
    """Text that a header of the answer has to contain, by the header's name."""
    body: Text | Mapping[str, Any] | None = None
    """What to post: text, or a table as JSON."""
    tcp: Literal[True] | Text | None = None
    """A host and port to connect to; true for the service's own."""
    dns: Text | None = None
    tls_expires_in: Text | None = None
    """The least time for which the certificate of the url has to be valid."""
    memory_below: Text | None = None
    cpu_below: Text | None = None
    """The limit of the processor's use; 100% is one core."""
    open_files_below: Count | Text | None = None
    """A number, or a share of the process's own limit."""
    disk_free: Text | None = None
    path: Text | None = None
    """A path on the disk of `disk_free`; the default is `cwd`."""
    log_without: Text | None = None
    """A regular expression that no new line of the service's log may match."""
    heartbeat: HeartbeatLimit | None = None
    process: Literal[True] | None = None
    """The process behind the PID file is the service's, lives, and owns the port."""
    within: Positive | Text | None = None
    """The longest time that an answer may take, in seconds or as `500ms`."""
    hold: Count | Text | None = field(name="for", default=None)
    """How long, or in how many runs, a limit has to be exceeded before its service is healed."""
    every: Positive | Text | None = None
    """How often a monitor checks this; the default is in each cycle."""
    heals: tuple[Text, ...] | None = None
    """The services that a failure may heal; the default is the check's own."""

    def __post_init__(self) -> None:
        """Refuse contradictions, and what cannot be parsed."""
        given = [name for name in KINDS if getattr(self, name) is not None]
        if not given:
            raise InvalidValueError(f"says nothing to check; give one of {', '.join(KINDS)}", "")
        if len(given) > 1:
            raise InvalidValueError(f"has {' and '.join(given)}; make it one check each", "")
        for key, kinds in BESIDE.items():
            if self._has(key) and given[0] not in kinds:
                raise InvalidValueError(f"does not go with {given[0]}, only with {', '.join(kinds)}", key)
        if self.hold is not None and given[0] in BESIDE["within"] and self.within is None:
            raise InvalidValueError("needs within beside it: it says for how long that may be exceeded", "for")
        for key, value in (("json", self.json), ("body", self.body)):
            _refuse_no_json(value, key)
        self._check_request()
        self._check_quantities()

    def _has(self, key: str) -> bool:
        value = getattr(self, "hold" if key == "for" else key)
        return value is not UNSET if key == "json" else value not in (None, (), {})

    def _check_request(self) -> None:
        if self.is_request and not HTTP_PATH.fullmatch(self.target):
            raise InvalidValueError(
                f'{self.target!r} is no path such as "/health" (other characters percent-encoded)', self.kind
            )
        for key in ("matches", "log_without"):
            if expression := getattr(self, key):
                try:
                    re.compile(expression)
                except (re.error, RecursionError, OverflowError) as error:
                    raise InvalidValueError(f"{expression!r} is no regular expression: {error}", key) from None

    def _check_quantities(self) -> None:
        parsers: dict[str, Callable[[str], float]] = {
            "tls_expires_in": quantities.seconds, "memory_below": quantities.size, "cpu_below": quantities.share,
            "open_files_below": _part, "disk_free": _free, "within": _short, "every": quantities.seconds,
            "for": quantities.seconds,
        }  # fmt: skip
        for key, parse in parsers.items():
            name = "hold" if key == "for" else key
            if isinstance(text := getattr(self, name), str) and not _parsed(parse, text, key):
                raise InvalidValueError(f"{text!r}: must be more than 0", key)
        if self.heartbeat:
            _parsed(quantities.seconds, self.heartbeat.within, "heartbeat.within")
            if not NAME.fullmatch(self.heartbeat.name):
                raise InvalidValueError(
                    f"{self.heartbeat.name!r}: up to 64 letters, digits, - and _ only", "heartbeat.name"
                )
        for key in ("within", "every"):
            if isinstance(text := getattr(self, key), str):
                force_setattr(self, key, _parsed(parsers[key], text, key))

    @property
    def kind(self) -> str:
        """What is checked, as one of KINDS."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def is_request(self) -> bool:
        """Whether it sends an HTTP request."""
        return self.kind in _REQUESTS

    @property
    def target(self) -> str:
        """The path of a request."""
        return str(getattr(self, self.kind))

    @property
    def statuses(self) -> tuple[int, ...]:
        """The expected statuses; empty for any that means success."""
        return (self.status,) if isinstance(self.status, int) else self.status

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that have to be contained."""
        return (self.contains,) if isinstance(self.contains, str) else self.contains

    @property
    def may_match_for_ever(self) -> bool:
        """Whether it has a regular expression that may take longer than linear time: one that repeats something."""
        return any(sign in (self.matches or self.log_without or "") for sign in "*+{")

    @property
    def longest(self) -> float | None:
        """`within`, in seconds."""
        return self.within if isinstance(self.within, float) else None

    @property
    def held_for(self) -> tuple[float, int]:
        """How long a limit has to be exceeded before a heal: at least so many seconds, and in so many runs."""
        if isinstance(self.hold, str):
            return quantities.seconds(self.hold), 1
        if self.hold is None:
            return 0.0, SLOW_RUNS if self.within is not None else 1
        return 0.0, self.hold

    @property
    def name(self) -> str:
        """The name as part of a node ID: `GET /api/health`, `memory below 500 MiB`.

        pytest divides node IDs by `::`, and prints them as they are.
        """
        return printable(self._full_name.replace("::", ":"))

    @property
    def _full_name(self) -> str:
        value = getattr(self, self.kind)
        if self.is_request:
            return redacted(f"{self.kind.upper()} {value}")
        words = _WORDS.get(self.kind, self.kind.replace("_", " "))
        if isinstance(value, HeartbeatLimit):
            value = value.name
        return f"{words}{'' if value is True else f' {value}'}{f' at {self.path}' if self.path else ''}"


def _refuse_no_json(value: Any, key: str) -> None:
    """Raise InvalidValueError for what TOML has and JSON has not: dates, times, infinity and what is no number."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_no_json(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_no_json(inner, f"{key}[{number}]")
    elif value in (None, UNSET):
        return
    elif not isinstance(value, str | int | float) or (isinstance(value, float) and not isfinite(value)):
        raise InvalidValueError(f"JSON has no {value}; write it in quotes", key)


def _part(text: str) -> float:
    """Return the percent of a share that is no more than all."""
    percent = quantities.share(text)
    if percent > 100:  # noqa: PLR2004
        raise ValueError(f"{text!r} is more than 100%")
    return percent


def _free(text: str) -> float:
    """Return the number of a share or of a size."""
    if text.rstrip().endswith("%"):
        return _part(text)
    try:
        return quantities.size(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a size such as 500 MiB nor a share such as 80%") from None


def _short(text: str) -> float:
    """Return the seconds of a duration, which may be in milliseconds."""
    number, milliseconds, rest = text.strip().lower().partition("ms")
    if milliseconds and not rest:
        return quantities.seconds(number.strip()) / 1000
    return quantities.seconds(text)


def _parsed(parse: Callable[[str], float], text: str, key: str) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidValueError(str(error), key) from None
