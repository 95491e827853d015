"""Which version of a service answers now: asked of the service itself, since nobody else can tell."""

from __future__ import annotations

import json
import time

from remediation.config.model import Service
from remediation.messages.message import english, printable
from remediation.probes import http

# An answer that tells a version is short; one beyond this is something else.
_MOST_BYTES = 65_536
# Of a problem, in characters: what is told of an answer from outside is to be read.
_LONGEST = 200


class NoVersionError(Exception):
    """The service tells no version now; the message is one short sentence without its name."""

    def __init__(self, problem: str) -> None:
        """Say why, safe for one line of a terminal."""
        text = printable(problem)
        super().__init__(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def answering(service: Service, *, timeout: float) -> str:
    """Return the version that answers at `service.version`, as text; takes at most about `timeout` seconds.

    Numbers are as JSON has them, so that 1.10 is not 1.1. NoVersionError if the service tells none.
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
        found = json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise NoVersionError(english("no_json")) from None
    if not isinstance(found, dict):
        raise NoVersionError(english("no_object"))
    return found


def _value(answer: dict[str, object], field: str) -> object:
    """Return the field of this very name or, with its dots, the way to it."""
    if field in answer:
        return answer[field]
    found: object = answer
    for name in field.split("."):
        if not isinstance(found, dict) or name not in found:
            raise NoVersionError(english("no_field", field=repr(field)))
        found = found[name]
    return found


def _text(value: object, field: str) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise NoVersionError(english("odd_field", field=repr(field)))
    if not (text := value.strip()):
        raise NoVersionError(english("empty_field", field=repr(field)))
    return printable(text)
