"""Tell people what became of a service: it is sick, it is healed, auto-heal gave up; each once an incident.

What there is to tell is decided here, from runs. Sending it is the work of other processes (`messenger`), so that
a notifier that hangs or fails never delays a heal.
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
from remediation.messages.catalog import Language, Level, Text
from remediation.messages.message import first_line, printable, seconds
from remediation.messages.translation import translated, translated_action
from remediation.monitor.notification_worker import Messengers, Notification, refused
from remediation.state.records import CheckOutcome, Result, Run
from remediation.state.remediation import Remediation
from remediation.system.secrets import redacted

Event = Literal["sick", "healed", "gave-up"]

# What comes from outside is cut to so many characters; some receivers take no message beyond a few thousand.
_LONGEST_VALUE = 500
_LONGEST_LOOK = 10_000
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")

_TEXTS = {
    "sick": Text(Level.ERROR, "auto-heal: {name} is sick ({where})", "auto-heal: {name} не работает ({where})"),
    "healed": Text(
        Level.SUCCESS, "auto-heal: {name} is healed ({where})", "auto-heal: {name} снова работает ({where})"
    ),
    "gave-up": Text(
        Level.ERROR,
        "auto-heal: gave up on {name} ({where})",
        "auto-heal: {name}: восстановить не удаётся, прекращаем ({where})",
    ),
    "where": Text(Level.INFO, "{folder} on {host}", "{folder} на {host}"),
    "cause": Text(Level.INFO, "Cause: {value}", "Причина: {value}"),
    "action": Text(Level.INFO, "Action: {value}", "Действие: {value}"),
    "no_action": Text(Level.INFO, "Action: none by this monitor", "Действие: монитор ничего не предпринимал"),
    "since": Text(Level.INFO, "Since: {value}", "Начало: {value}"),
    "downtime": Text(Level.INFO, "Downtime: {value}s", "Простой: {value} с"),
}


def require(project: Project) -> None:
    """See that messages could be sent, which takes about half a second; ConfigError if not."""
    if not project.notify.urls:
        return
    if importlib.util.find_spec("apprise") is None:
        raise ConfigError(f"{project.source.name}: notify needs a package: pip install apprise")
    if problem := refused(project.notify.urls):
        raise ConfigError(f"{project.source.name}: {problem}")


class _Incident(Struct):
    """What is kept of a service's trouble, from the first failed attempt until it is well again."""

    name: str
    since: float
    cause: str
    action: str = ""
    gave_up: bool = False


class Notifier:
    """Watches runs for incidents, and has what there is to tell of them sent.

    An event loop waits for `fds` to become readable and for `deadline`, and calls `attend` on either.
    """

    def __init__(self, project: Project, *, tell: Callable[..., None]) -> None:
        """Notify those whom the project names; each failure to do so is told once, as `not_notified`."""
        self._messengers = Messengers(tell)
        self._incidents: dict[tuple[str, str], _Incident] = {}
        self.reload(project)

    def reload(self, project: Project) -> None:
        """Notify those whom the configuration names now, and forget the services that it no longer has."""
        self._project = project
        self._messengers.address(project.notify.urls)
        for kind, key in list(self._incidents):
            if kind == "service" and key not in project.services:
                del self._incidents[kind, key]

    def observe(
        self, run: Run, remediations: Iterable[Remediation], gave_up: Collection[str], *, whole: bool = True
    ) -> None:
        """Take a run that ended, what was done in it, and the services whose restart budget it found spent.

        One that is not `whole` checked only some of the services.
        """
        if not self._project.notify.urls:
            return
        by_service: dict[str, list[Remediation]] = {}
        for one in remediations:
            by_service.setdefault(one.service, []).append(one)
        services = {result.key: result for result in run.results if result.kind == "service"}
        for name in {**by_service, **dict.fromkeys(gave_up)}:
            services.setdefault(name, _unchecked(name, run, by_service.get(name, []), gave_up=name in gave_up))
        for name, result in services.items():
            self._follow(result, run, by_service.get(name, []), gave_up=name in gave_up)
        # A check that names services is their business; one that names none is its own.
        checks = [result for result in run.results if result.kind == "check"]
        for result in checks:
            if not result.services:
                self._follow(result, run)
        if whole:
            self._forget_checks_but(result.key for result in checks)
        self.attend()

    def tell_down(self, name: str, since: float, cause: str) -> None:
        """Take a service for sick since a moment in epoch seconds, though no run has ended that says so."""
        if self._project.notify.urls and ("service", name) not in self._incidents:
            incident = self._incidents["service", name] = _Incident(name, since, cause)
            self._add("sick", incident, time.time())
            self.attend()

    def fds(self) -> list[int]:
        """Return the descriptors that turn readable when there is something to attend to."""
        return self._messengers.fds()

    def deadline(self) -> float | None:
        """Return the moment of the monotonic clock by which to attend, or None if there is none."""
        return self._messengers.deadline()

    def attend(self) -> None:
        """See to the messages under way. Does not wait."""
        self._messengers.attend()

    def close(self, timeout: float) -> None:
        """Wait for the messages under way, at most `timeout` seconds."""
        self._messengers.close(timeout)

    def _follow(self, result: Result, run: Run, done: Iterable[Remediation] = (), *, gave_up: bool = False) -> None:
        key, events = (result.kind, result.key), list[Event]()
        if result.failed_at is not None and key not in self._incidents:
            # It may have begun before this monitor did.
            since = min([result.failed_at, *(one.since for one in done if one.since is not None)])
            self._incidents[key] = _Incident(result.name, since, result.message or "")
            events.append("sick")
        if (incident := self._incidents.get(key)) is None:
            return
        for one in done:
            incident.action = ": ".join(filter(None, [one.action, "" if one.ok else one.reason]))
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
        """Forget the checks that a run no longer has, unless it had none at all."""
        present = set(keys)
        for known in list(self._incidents):
            if present and known[0] == "check" and known[1] not in present:
                del self._incidents[known]

    def _message(self, event: Event, incident: _Incident, until: float) -> Notification:
        where = self._text("where", folder=_safe(self._project.root.name or "/"), host=_safe(os.uname().nodename))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(incident.since))
        language = self._project.language
        lines = [
            self._text("cause", value=translated(_safe(incident.cause), language)) if incident.cause else "",
            self._text("action", value=_in(language, _safe(incident.action))) if incident.action else "",
            self._text("no_action") if event == "healed" and not incident.action else "",
            self._text("since", value=since),
            # Until then it is not over.
            self._text("downtime", value=seconds(max(0.0, until - incident.since))) if event == "healed" else "",
        ]
        return Notification(
            title=self._text(event, name=_safe(incident.name), where=where),
            body="\n".join(filter(None, lines)),
            kind="success" if event == "healed" else "failure",
        )

    def _text(self, key: str, **values: str) -> str:
        return _TEXTS[key].template(self._project.language, named=False).format_map(values)


def _unchecked(name: str, run: Run, done: list[Remediation], *, gave_up: bool) -> Result:
    """Return what a run tells by its remediations alone of a service that no check names."""
    since = next((one.since for one in done if one.since is not None), run.began)
    answered = [one.answered_at or run.ended for one in done if one.ok]
    outcome = CheckOutcome.FAILED if gave_up else CheckOutcome.PASSED if answered else CheckOutcome.SKIPPED
    return Result(
        "service", name, name, [name], run.began, outcome,
        failed_at=since if outcome is CheckOutcome.FAILED else None,
        passed_at=answered[-1] if outcome is CheckOutcome.PASSED else None,
        message=done[0].cause if done else None,
    )  # fmt: skip


def _in(language: Language, action: str) -> str:
    """Say what was done, and why it did not help, in the language."""
    done, colon, reason = action.partition(": ")
    return f"{translated_action(done, language)}{colon}{translated(reason, language)}"


def _safe(text: str) -> str:
    """Return text from outside on one line, of bounded length, without the credentials of URLs in it."""
    shown = printable(first_line(_CREDENTIALS.sub("", redacted(text[:_LONGEST_LOOK]))))
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[: _LONGEST_VALUE - 1]}…"
