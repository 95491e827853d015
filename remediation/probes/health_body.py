"""What the body of a health answer says, in the words that frameworks use, and what of it stays the same while well.

Sources of the words: Spring Boot's Status, ASP.NET's HealthStatus, "Health Check Response Format for HTTP APIs"
(draft-inadarei-api-health-check), gRPC's ServingStatus, Elasticsearch's colours, JSend.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import NamedTuple

# The fields that say how a service is, the likeliest first.
_FIELDS = ("status", "state", "health", "healthy", "ok", "up", "alive", "ready")
_WELL = frozenset({
    "active", "alive", "available", "good", "green", "healthy", "live", "normal", "ok", "okay", "online", "operational",
    "pass", "passed", "passing", "pong", "ready", "running", "serving", "success", "up", "working",
})  # fmt: skip
# What a service says when it is sick, and what the same service says when it is well.
_OPPOSITES = {
    "critical": "passing", "dead": "alive", "down": "up", "failing": "passing", "ko": "ok", "nok": "ok", "not ok": "ok",
    "not ready": "ready", "not_ready": "ready", "not_serving": "serving", "offline": "online", "out_of_service": "up",
    "red": "green", "stopped": "running", "unavailable": "available", "unhealthy": "healthy",
}  # fmt: skip
# Neither: it works, with concerns, or does not know, or will work soon. Or it fails, and may call the opposite ok,
# success or healthy: a wrong guess would have it restarted while it is well.
_DOUBTFUL = frozenset({
    "bad", "degraded", "err", "error", "fail", "failed", "initializing", "maintenance", "partial",
    "starting", "unknown", "warn", "warning", "yellow",
})  # fmt: skip
# A table in a table in a table is no plain answer any more.
_DEEPEST = 3


class Says(Enum):
    """How the service is, by its own words."""

    WELL = "well"
    SICK = "sick"
    DOUBTFUL = "doubtful"


class Health(NamedTuple):
    """What a health answer says."""

    says: Says
    expected: dict[str, object]
    """What a declared check expects of the body when the service is well, besides the path; empty if nothing."""


def read(body: bytes) -> Health | None:
    """Return what the body of an answer says about the health of its service; None if it says nothing of it."""
    try:
        text = body.decode()
        document = json.loads(text)
    except (UnicodeDecodeError, RecursionError):
        return None
    except ValueError:
        return _of_text(text)
    if isinstance(document, dict):
        health = _of_table(document)
        return health and Health(health.says, {"json": health.expected} if health.expected else {})
    return _of_text(text)


def _of_text(text: str) -> Health | None:
    """Return what a text says that is one well-known word, perhaps in the quotes of JSON."""
    stripped = text.strip()
    word = stripped.strip('"')
    health = _of_word(word)
    if health is None:
        return None
    says, well = health
    # The expression matches somewhere in the body, and "not ok" or "unhealthy" must not pass.
    space = "" if text.removesuffix("\n") == stripped else r"\s*"
    expression = f"^{space}{stripped.replace(word, well)}{space}$"
    return Health(says, {"matches": expression} if well else {})


def _of_table(table: dict[str, object], depth: int = 1) -> Health | None:
    """Return what the likeliest field of a table says; the expectation is a table with this field alone."""
    names = {name.lower(): name for name in reversed(list(table))}
    for field in _FIELDS:
        name = names.get(field)
        health = None if name is None else _of_value(field, table[name], depth)
        if name is not None and health:
            return Health(health.says, {name: health.expected["value"]} if health.expected else {})
    return None


def _of_value(field: str, value: object, depth: int) -> Health | None:
    if isinstance(value, bool):
        # {"ok": false} is also how an API answers a wrong request.
        if not value and field == "ok":
            return None
        return Health(Says.WELL if value else Says.SICK, {"value": True})
    if isinstance(value, str) and (health := _of_word(value)):
        return Health(health[0], {"value": health[1]} if health[1] else {})
    if isinstance(value, dict) and depth < _DEEPEST and (inner := _of_table(value, depth + 1)):
        return Health(inner.says, {"value": inner.expected} if inner.expected else {})
    return None


def _of_word(word: str) -> tuple[Says, str] | None:
    """Return what a word says, and the word, in the same case, for a well service; empty if that is not known."""
    low = word.lower()
    if low in _WELL:
        return Says.WELL, word
    if low in _DOUBTFUL:
        return Says.DOUBTFUL, ""
    well = _OPPOSITES.get(low, "")
    if not well:
        return None
    return Says.SICK, well.upper() if word.isupper() else well.capitalize() if word[0].isupper() else well
