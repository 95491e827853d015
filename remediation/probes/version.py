"""The version of a service that answers now: only the service itself knows it."""

from __future__ import annotations

import json
import time

from remediation.config.model import Service
from remediation.messages.message import english, printable
from remediation.probes import http

# A version answer is short; a longer one is something else.
_MOST_BYTES = 65_536
# The longest problem in characters: it may quote an answer from outside, and must stay readable.
_LONGEST = 200


class NoVersionError(Exception):
    """The service reports no version now; the message is one short sentence without its name."""

    def __init__(self, problem: str) -> None:
        """Report the problem, safe for one line of a terminal."""
        text = printable(problem)
        super().__init__(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def answering(service: Service, *, timeout: float) -> str:
    """Return the version that answers at `service.version`, as text, after at most about `timeout` seconds.

    Numbers keep their spelling in the JSON, so that 1.10 is not 1.1. NoVersionError if the service reports none.
    """
    version, deadline = service.version, time.monotonic() + timeout
    if version is None:
        raise NoVersionError(english("version_unset"))
    try:
        answer = http.get(service, version.path, deadline=deadline, most=_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise NoVersionError(http.why(error, service, deadline)) from None
    if answer.problem:
        raise NoVersionError(answer.problem)
    return _text(_value(_object(answer.body), version.field), version.field)


def _object(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise NoVersionError(english("no_json")) from None
    if not isinstance(answer, dict):
        raise NoVersionError(english("no_object"))
    return answer


def _value(answer: dict[str, object], field: str) -> object:
    """Return the field of exactly this name or, failing that, the nested field at this dotted path."""
    if field in answer:
        return answer[field]
    value: object = answer
    for name in field.split("."):
        if not isinstance(value, dict) or name not in value:
            raise NoVersionError(english("no_field", field=repr(field)))
        value = value[name]
    return value


def _text(value: object, field: str) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise NoVersionError(english("odd_field", field=repr(field)))
    if not (text := value.strip()):
        raise NoVersionError(english("empty_field", field=repr(field)))
    return printable(text)
