"""What the messages about an incident say, in the user's language and with nothing unsafe in them."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from remediation.config.model import Event, Project, Service
from remediation.healing import backoff
from remediation.messages.message import first_line, printable, seconds
from remediation.messages.texts.notification import NOTIFICATION
from remediation.messages.translation import translated, translated_action
from remediation.monitor.notification_worker import Colour, Notification
from remediation.state.service_state import Store
from remediation.system.secrets import redacted

# The most names in a line of a message, and the most actions.
_MOST_NAMES = 10
# External text is cut to this many characters: some receivers refuse messages beyond a few thousand.
_LONGEST_VALUE = 500
# How much of an external text is examined, in characters.
_LONGEST_INPUT = 10_000
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")


class Incident(Struct):
    """The incident of a service or check, from the first failed attempt until it passes again."""

    name: str
    since: float
    cause: str
    id: str = ""
    tried: list[str] = []
    """The actions so far and why they failed, in order."""
    dependents: dict[str, None] = {}
    """The services that failed with it and depend on it, in order."""
    checks: dict[str, None] = {}
    """The names of the checks that failed, its own and those of its dependents, in order."""
    gave_up: bool = False
    """Whether its restart budget was found spent."""
    is_known: bool = False
    """Whether a message about it was sent, or held back because it flaps."""
    is_held: bool = False
    """Whether it had no message because something that it needs was down."""
    is_given_up: bool = False
    """Whether a message said that it was given up."""


class Texts:
    """The texts of a project's messages."""

    def __init__(self, project: Project) -> None:
        """Write in the language of `project`."""
        self._project = project

    def message(self, event: Event, incident: Incident, until: float, service: Service | None) -> Notification:
        """Return the message of an event. `service` is that of the incident, if it has one."""
        lines = [
            ("cause", self._cause(incident)),
            ("checks", "" if event == "healed" else self._names(incident.checks)),
            ("dependents", self._names(incident.dependents)),
            *self._actions(event, incident, service),
            ("since", _moment(incident.since)),
            # Until the heal, the downtime is not final.
            ("downtime", seconds(max(0.0, until - incident.since)) if event == "healed" else ""),
            ("window", seconds(self._project.notify.flap_window) if event == "flapping" else ""),
            ("incident", incident.id),
        ]
        colour: Colour = "success" if event == "healed" else "warning" if event == "flapping" else "failure"
        return self._notification(event, incident.name, lines, colour)

    def steady(self, name: str, incident: Incident | None, changed: float) -> Notification:
        """Return the message that something flaps no more, and is sick if it has an incident."""
        if incident is None:
            return self._notification("steady-well", name, [("since", _moment(changed))], "success")
        lines = [("cause", self._cause(incident)), ("since", _moment(incident.since)), ("incident", incident.id)]
        return self._notification("steady-sick", incident.name, lines, "failure")

    def _notification(self, title: str, name: str, lines: Iterable[tuple[str, str]], colour: Colour) -> Notification:
        where = self._text("where", folder=_safe(self._project.root.name or "/"), host=_safe(os.uname().nodename))
        body = "\n".join(self._text(key, value=value) for key, value in lines if value)
        return Notification(title=self._text(title, name=_safe(name), where=where), body=body, kind=colour)

    def _text(self, key: str, **values: str) -> str:
        return NOTIFICATION[key].template(self._project.language, named=False).format_map(values)

    def _cause(self, incident: Incident) -> str:
        return translated(_safe(incident.cause), self._project.language)

    def _names(self, names: Iterable[str]) -> str:
        """Return names in one line, at most some of them."""
        shown = [_safe(name) for name in names]
        listed, more = ", ".join(shown[:_MOST_NAMES]), len(shown) - _MOST_NAMES
        return self._text("and_more", value=listed, count=str(more)) if more > 0 else listed

    def _actions(self, event: Event, incident: Incident, service: Service | None) -> list[tuple[str, str]]:
        """Return what was done in an incident; of one that was given up also when it will be tried again."""
        tried = [self._action(action) for action in incident.tried[-_MOST_NAMES:]]
        if event == "gave-up" and service:
            return self._outlook(tried, service)
        if event == "healed" and not tried:
            return [("no_action", " ")]
        return [("action", tried[-1])] if tried and event in ("sick", "healed") else []

    def _outlook(self, tried: list[str], service: Service) -> list[tuple[str, str]]:
        state = Store(self._project).recall(service)
        if not tried and (last := state.last_heal):
            reason = "" if last.ok else last.reason
            tried = [f"{_moment(last.at)}, {self._action(described(last.action, reason))}"]
        listed = "; ".join(f"{count}× {text}" if count > 1 else text for text, count in Counter(tried).items())
        lines = [("tried", listed) if tried else ("not_tried", " ")]
        moment = backoff.next_try(service, state)
        if moment is None:
            return [*lines, ("no_next_try", " ")]
        return [*lines, ("next_try", _moment(moment))] if moment > time.time() else lines

    def _action(self, action: str) -> str:
        """Translate an action and the reason why it failed."""
        done, colon, reason = _safe(action).partition(": ")
        language = self._project.language
        return f"{translated_action(done, language)}{colon}{translated(reason, language)}"


def described(action: str, reason: str) -> str:
    """Return an action with the reason why it failed, if it did."""
    return ": ".join(filter(None, [action, reason]))


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _safe(text: str) -> str:
    """Return external text as one line of limited length, without the credentials in its URLs."""
    shown = printable(first_line(_CREDENTIALS.sub("", redacted(text[:_LONGEST_INPUT]))))
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[: _LONGEST_VALUE - 1]}…"
