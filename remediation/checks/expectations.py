"""Compare an answer with what a declared check expects of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from remediation.config.checks import Check
from remediation.messages.message import english
from remediation.probes.deadline_io import beginning

if TYPE_CHECKING:
    from remediation.checks.transport import Answer

_SUCCESS = 2
# How many characters of a value to show.
_LONGEST = 60


def mismatch(check: Check, answer: Answer) -> str | None:
    """Return the first thing in an answer that is not as expected, or None. ServiceDown if its JSON cannot be read."""
    return next(_mismatches(check, answer), None)


def _mismatches(check: Check, answer: Answer) -> Iterator[str]:
    status = answer.status_code
    if check.statuses and status not in check.statuses:
        expected = " / ".join(map(str, check.statuses))
        yield _with_body(english("unexpected_status", status=status, expected=expected), answer)
    if not check.statuses and status // 100 != _SUCCESS:
        yield _with_body(english("status", status=status), answer)
    for name, text in check.headers.items():
        value = answer.headers.get(name)
        if value is None:
            yield english("no_header", name=name)
        elif text.lower() not in value.lower():
            yield english("unexpected_header", name=name, value=beginning(value), text=text)
    if check.json is not UNSET:
        yield from differences(check.json, answer.json())
    body = _text(answer) if check.texts or check.matches else ""
    for text in check.texts:
        if text not in body:
            yield _with_body(english("text_missing", text=_json(text)), answer)
    if check.matches and not re.search(check.matches, body):
        yield _with_body(english("no_match", expression=check.matches), answer)


def _text(answer: Answer) -> str:
    """Decode the body in the encoding that the server declares, or else in UTF-8.

    Then requests takes text for ISO 8859-1, as RFC 2616 had it; RFC 9110 dropped that, and static pages are in UTF-8.
    """
    if "charset" in answer.headers.get("Content-Type", "").lower():
        return answer.text
    return answer.content.decode("utf-8-sig", "replace")


def _with_body(problem: str, answer: Answer) -> str:
    """Add the beginning of the body, which often says why."""
    if not answer.content.strip():
        return problem
    return english("with_body", problem=problem, start=beginning(answer.content))


def differences(expected: Any, value: Any, place: str = "") -> Iterator[str]:
    """Yield what a value of JSON lacks of the expected one.

    A table has to have the expected keys, and may have others. A list has to have an item that fits each expected one.
    """
    if isinstance(expected, Mapping) and isinstance(value, Mapping):
        for key, part in expected.items():
            inner = f"{place}.{key}" if place else key
            if key in value:
                yield from differences(part, value[key], inner)
            else:
                yield english("no_key", place=inner)
    elif isinstance(expected, list) and isinstance(value, list):
        for part in expected:
            if not any(next(differences(part, item), None) is None for item in value):
                yield english("no_item", place=place or english("the_json"), expected=_json(part))
    elif isinstance(expected, bool) is not isinstance(value, bool) or expected != value:
        yield english(
            "unexpected_value", place=place or english("the_json"), value=_json(value), expected=_json(expected)
        )


def _json(value: Any) -> str:
    """Return the beginning of a value as JSON."""
    # Not by msgspec, which refuses half of a surrogate pair and writes NaN as null.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
