"""Every failed attempt at a check, collected as pytest reports it.

junitxml drops the text of a report whose outcome is `rerun`, and with it all that an attempt could tell.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from remediation.checks.errors import Slower
from remediation.supervision.attempt_log import NOTE, ReportOutcome
from remediation.system.secrets import redacted

# What pytest colours a difference with on a terminal, ECMA-48 section 8.3.117.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# Of a message, in characters; the whole text stands in the report.
_LONGEST_MESSAGE = 2_000


class Attempt(msgspec.Struct, frozen=True):
    """One failed attempt. `final` says that no other followed in its round."""

    nodeid: str
    check: str
    error: bool
    """Whether it was set-up or teardown that failed rather than the check itself."""
    message: str
    type: str
    text: str
    started: float
    final: bool
    number: int
    heals: dict[str, int]
    """The services that a failure may heal, each with the number of heals that had ended before the attempt."""
    only_slower: bool = False
    """Whether it failed only because it takes longer than before a deployment."""


def note(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
    *,
    heals: dict[str, int],
    services: list[str],
    latency: float | None = None,
) -> dict[str, Any]:
    """Return what a report of an item has to carry besides what pytest puts there."""
    return {
        "check": label(item),
        # Reports of subtests are made before rerunfailures numbers those of the attempt.
        "number": getattr(item, "execution_count", 1) - 1,
        "heals": heals,
        "services": services,
        "latency": latency,
        "type": call.excinfo.typename if call.excinfo else "",
        "only_slower": call.excinfo is not None and isinstance(call.excinfo.value, Slower),
    }


def label(item: pytest.Item) -> str:
    """Name a check for people: the first line of its docstring, or its name; with its parameters."""
    doc = getattr(getattr(item, "obj", None), "__doc__", None)
    if not doc or not doc.strip():
        return item.name
    first: str = doc.strip().splitlines()[0].rstrip(".") or item.name
    # As the name has them, without secrets.
    _, bracket, parameters = item.name.partition("[")
    return f"{redacted(first)} [{parameters}" if bracket and hasattr(item, "callspec") else first


def outcome(report: pytest.TestReport) -> ReportOutcome:
    """Return the outcome of a report, which rerunfailures also sets to `rerun`."""
    return ReportOutcome(report.outcome)


def attempt(report: pytest.TestReport) -> Attempt | None:
    """Return the failed attempt that a report tells of, or None if it tells of none."""
    said = outcome(report)
    if said not in (ReportOutcome.FAILED, ReportOutcome.REPEATED):
        return None
    noted: dict[str, Any] = getattr(report, NOTE, {})
    text, message = _told(report)
    kind = noted.get("type") or "Failed"
    return Attempt(
        nodeid=report.nodeid,
        check=noted.get("check", report.nodeid),
        error=report.when != "call",
        # junitxml and our own texts name the type beside the message.
        message=message.removeprefix(f"{kind}: ").strip() or kind,
        type=kind,
        text=text,
        started=report.start,
        final=said is ReportOutcome.FAILED,
        number=noted.get("number", getattr(report, "rerun", 0)),
        heals=noted.get("heals", {}),
        only_slower=noted.get("only_slower", False),
    )


def _told(report: pytest.TestReport) -> tuple[str, str]:
    """Return all that a report says of a failure, and what sums it up."""
    crash = getattr(report.longrepr, "reprcrash", None)
    # Not longreprtext, which under xdist begins with the worker's name and version.
    text = _plain(str(report.longrepr or "")).strip()
    return text, (_plain(crash.message) if crash else _sentence(text))[:_LONGEST_MESSAGE]


def first_line(report: pytest.TestReport) -> str:
    """Return the first line of what sums up a failure."""
    return _told(report)[1].partition("\n")[0]


def _sentence(text: str) -> str:
    """Return the line of a text that says what happened: pytest marks it with an E."""
    lines = text.splitlines() or [""]
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[0])


def _plain(text: str) -> str:
    """Return text without the colours of pytest's terminal, and with lone surrogates made visible.

    Neither JSON nor a log can hold these.
    """
    text = _COLOUR.sub("", text)
    return text.encode("utf-8", "backslashreplace").decode()


class Attempts:
    """The failed attempts of one round, in order."""

    def __init__(self) -> None:
        """Start with none."""
        self.all: list[Attempt] = []

    @property
    def failures(self) -> int:
        """How many checks failed for good."""
        return sum(attempt.final for attempt in self.all)

    @property
    def failed_services(self) -> set[str]:
        """The services that a check which failed for good may heal."""
        return {name for attempt in self.all if attempt.final for name in attempt.heals}

    def add(self, new: Attempt) -> None:
        """Add an attempt; a teardown that failed as well joins the attempt that it belongs to."""
        for index, known in enumerate(self.all):
            if (known.nodeid, known.number) == (new.nodeid, new.number):
                text = f"{known.text}\n\n{new.text}"
                self.all[index] = msgspec.structs.replace(known, text=text, final=known.final and new.final)
                return
        self.all.append(new)
