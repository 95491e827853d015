"""Notify people that a service is sick, is healed, or was given up, each once per incident.

This module decides from runs what to send. Other processes send it (`notification_worker`), so a notification service
that hangs or fails never delays a heal.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from typing import Literal

from msgspec import Struct

from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.messages.catalog import Language
from remediation.messages.message import first_line, printable, seconds
from remediation.messages.texts.notification import NOTIFICATION
from remediation.messages.translation import translated, translated_action
from remediation.monitor.notification_worker import Messengers, Notification, refused
from remediation.state.records import CheckOutcome, Result, Run
from remediation.state.remediation import Remediation
from remediation.system.secrets import redacted

Event = Literal["sick", "healed", "gave-up"]

# External text is cut to this many characters: some receivers refuse messages beyond a few thousand.
_LONGEST_VALUE = 500
# How much of an external text is examined, in characters.
_LONGEST_INPUT = 10_000
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")


def require(project: Project) -> None:
    """Check that notifications can be sent, in about half a second. ConfigError if they cannot."""
    if not project.notify.urls:
        return
    if importlib.util.find_spec("apprise") is None:
        raise ConfigError(f"{project.source.name}: notify needs a package: pip install apprise")
    if problem := refused(project.notify.urls):
        raise ConfigError(f"{project.source.name}: {problem}")


class _Incident(Struct):
    """The incident of a service or check, from the first failed attempt until it passes again."""

    name: str
    since: float
    cause: str
    action: str = ""
    gave_up: bool = False


class Notifier:
    """Finds incidents in runs, and sends notifications about them.

    An event loop waits for `fds` to become readable and for `deadline`, and calls `attend` on either.
    """

    def __init__(self, project: Project, *, log: Callable[..., None]) -> None:
        """Notify the URLs of the project. Each failure is logged once, as `not_notified`."""
        self._messengers = Messengers(log)
        self._incidents: dict[tuple[str, str], _Incident] = {}
        self.reload(project)

    def reload(self, project: Project) -> None:
        """Notify the URLs of the new configuration, and forget the services that it no longer has."""
        self._project = project
        self._messengers.address(project.notify.urls)
        for kind, key in list(self._incidents):
            if kind == "service" and key not in project.services:
                del self._incidents[kind, key]

    def observe(
        self, run: Run, remediations: Iterable[Remediation], gave_up: Collection[str], *, whole: bool = True
    ) -> None:
        """Process a run that ended, its remediations, and the services whose restart budget it found exhausted.

        A run that is not `whole` checked only some of the services.
        """
        if not self._project.notify.urls:
            return
        by_service: dict[str, list[Remediation]] = {}
        for remediation in remediations:
            by_service.setdefault(remediation.service, []).append(remediation)
        services = {result.key: result for result in run.results if result.kind == "service"}
        for name in {**by_service, **dict.fromkeys(gave_up)}:
            services.setdefault(name, _unchecked(name, run, by_service.get(name, []), gave_up=name in gave_up))
        for name, result in services.items():
            self._follow(result, run, by_service.get(name, []), gave_up=name in gave_up)
        # A check that names services counts as part of them. A check that names none has incidents of its own.
        checks = [result for result in run.results if result.kind == "check"]
        for result in checks:
            if not result.services:
                self._follow(result, run)
        if whole:
            self._forget_checks_but(result.key for result in checks)
        self.attend()

    def report_down(self, name: str, since: float, cause: str) -> None:
        """Report a service as sick since a moment in epoch seconds, before a run has ended that says so."""
        if self._project.notify.urls and ("service", name) not in self._incidents:
            incident = self._incidents["service", name] = _Incident(name, since, cause)
            self._add("sick", incident, time.time())
            self.attend()

    def fds(self) -> list[int]:
        """Return the descriptors that turn readable when there is something to attend to."""
        return self._messengers.fds()

    def deadline(self) -> float | None:
        """Return when to call `attend` at the latest, on the monotonic clock; None if there is no need to."""
        return self._messengers.deadline()

    def attend(self) -> None:
        """Advance the deliveries under way, without waiting."""
        self._messengers.attend()

    def close(self, timeout: float) -> None:
        """Wait for the deliveries under way, at most `timeout` seconds."""
        self._messengers.close(timeout)

    def _follow(self, result: Result, run: Run, done: Iterable[Remediation] = (), *, gave_up: bool = False) -> None:
        key, events = (result.kind, result.key), list[Event]()
        if result.failed_at is not None and key not in self._incidents:
            # The incident may be older than this monitor.
            since = min([result.failed_at, *(item.since for item in done if item.since is not None)])
            self._incidents[key] = _Incident(result.name, since, result.message or "")
            events.append("sick")
        if (incident := self._incidents.get(key)) is None:
            return
        for remediation in done:
            reason = "" if remediation.ok else remediation.reason
            incident.action = ": ".join(filter(None, [remediation.action, reason]))
        if gave_up and not incident.gave_up:
            incident.gave_up = True
            events.append("gave-up")
        if result.outcome.is_well:
            del self._incidents[key]
            events.append("healed")
        until = run.ended if result.passed_at is None else result.passed_at
        for event in events:
            self._add(event, incident, until)

    def _add(self, event: Event, incident: _Incident, until: float) -> None:
        if event in self._project.notify.on:
            self._messengers.add(self._message(event, incident, until))

    def _forget_checks_but(self, keys: Iterable[str]) -> None:
        """Forget the checks that a run no longer has, unless the run had no checks at all."""
        present = set(keys)
        for kind, key in list(self._incidents):
            if present and kind == "check" and key not in present:
                del self._incidents[kind, key]

    def _message(self, event: Event, incident: _Incident, until: float) -> Notification:
        where = self._text("where", folder=_safe(self._project.root.name or "/"), host=_safe(os.uname().nodename))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(incident.since))
        language = self._project.language
        lines = [
            self._text("cause", value=translated(_safe(incident.cause), language)) if incident.cause else "",
            self._text("action", value=_translate(language, _safe(incident.action))) if incident.action else "",
            self._text("no_action") if event == "healed" and not incident.action else "",
            self._text("since", value=since),
            # Until the heal, the downtime is not final.
            self._text("downtime", value=seconds(max(0.0, until - incident.since))) if event == "healed" else "",
        ]
        return Notification(
            title=self._text(event, name=_safe(incident.name), where=where),
            body="\n".join(filter(None, lines)),
            kind="success" if event == "healed" else "failure",
        )

    def _text(self, key: str, **values: str) -> str:
        return NOTIFICATION[key].template(self._project.language, named=False).format_map(values)


def _unchecked(name: str, run: Run, done: list[Remediation], *, gave_up: bool) -> Result:
    """Return the result of a service that no check names, from its remediations alone."""
    since = next((item.since for item in done if item.since is not None), run.began)
    answered = [item.answered_at or run.ended for item in done if item.ok]
    outcome = CheckOutcome.FAILED if gave_up else CheckOutcome.PASSED if answered else CheckOutcome.SKIPPED
    return Result(
        "service", name, name, [name], run.began, outcome,
        failed_at=since if outcome is CheckOutcome.FAILED else None,
        passed_at=answered[-1] if outcome is CheckOutcome.PASSED else None,
        message=done[0].cause if done else None,
    )  # fmt: skip


def _translate(language: Language, action: str) -> str:
    """Translate an action and the reason why it failed."""
    done, colon, reason = action.partition(": ")
    return f"{translated_action(done, language)}{colon}{translated(reason, language)}"


def _safe(text: str) -> str:
    """Return external text as one line of limited length, without the credentials in its URLs."""
    shown = printable(first_line(_CREDENTIALS.sub("", redacted(text[:_LONGEST_INPUT]))))
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[: _LONGEST_VALUE - 1]}…"
