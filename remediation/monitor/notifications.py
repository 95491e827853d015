"""Notify people that a service is sick, is healed, flaps or was given up, each once per incident and its dependents.

This module decides from runs what to send. Other processes send it (`notification_worker`), so a notification service
that hangs or fails never delays a heal.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from remediation.config.model import Event, Project
from remediation.config.schema import ConfigError
from remediation.healing.hooks import HealEvent
from remediation.monitor.flapping import Flapping
from remediation.monitor.notification_texts import Incident, Texts, described
from remediation.monitor.notification_worker import Messengers, Notification, refused
from remediation.state import incidents
from remediation.state.records import CheckOutcome, Kind, Result, Run
from remediation.state.remediation import Remediation

Key = tuple[Kind, str]


def require(project: Project) -> None:
    """Check that notifications can be sent, in about half a second. ConfigError if they cannot."""
    if not project.notify.urls:
        return
    if importlib.util.find_spec("apprise") is None:
        raise ConfigError(f"{project.source.name}: notify needs a package: pip install apprise")
    if problem := refused(project.notify.urls):
        raise ConfigError(f"{project.source.name}: {problem}")


class Notifier:
    """Finds incidents in runs, and sends notifications about them: one for a cause and all that fails because of it.

    An event loop waits for `fds` to become readable and for `deadline`, and calls `attend` on either.
    """

    def __init__(self, project: Project, *, log: Callable[..., None]) -> None:
        """Notify the URLs of the project. Each failure is logged once, as `not_notified`."""
        self._log = log
        self._messengers = Messengers(log)
        self._incidents: dict[Key, Incident] = {}
        self._over: dict[str, float] = {}
        """When the last incident of each service was over, in epoch seconds."""
        self._flapping = Flapping[Key]()
        self._tell: Callable[[HealEvent], None] | None = None
        self.reload(project)

    def listen(self, tell: Callable[[HealEvent], None] | None) -> None:
        """Tell each event to this listener, too."""
        self._tell = tell

    @property
    def _has_recipient(self) -> bool:
        return bool(self._project.notify.urls) or self._tell is not None

    def reload(self, project: Project) -> None:
        """Notify the URLs of the new configuration, and forget the services that it no longer has."""
        self._project = project
        self._texts = Texts(project)
        self._messengers.address(project.notify.urls)
        for kind, key in list(self._incidents):
            if kind == "service" and key not in project.services:
                self._forget((kind, key))

    def observe(
        self,
        run: Run,
        remediations: Iterable[Remediation],
        gave_up: Collection[str],
        *,
        whole: bool = True,
        down: Collection[str] = (),
    ) -> None:
        """Process a run that ended, its remediations, and the services whose restart budget it found exhausted.

        A run that is not `whole` checked only some of the services; `down` names those that are down by other signs.
        """
        if not self._has_recipient:
            return
        done: dict[str, list[Remediation]] = {}
        for remediation in remediations:
            done.setdefault(remediation.service, []).append(remediation)
        results = self._with_incidents(run, done, gave_up)
        changed: dict[Key, Incident] = {
            (result.kind, result.key): incident
            for result in results
            if (incident := self._follow(result, done.get(result.key, ()), gave_up=result.key in gave_up))
        }
        self._gather(run, changed)
        ended = {(result.kind, result.key): result for result in results if result.outcome.is_well}
        for key in ended:
            self._incidents.pop(key, None)
            if key[0] == "service":
                self._over[key[1]] = run.ended
        sick = {name for kind, name in self._incidents if kind == "service"} | set(down)
        involved = sick | {name for kind, name in changed if kind == "service"}
        for key, incident in changed.items():
            # Whoever depends on the cause says nothing of its own, unless it stays sick when the cause is over.
            just_over = {name for name, moment in self._over.items() if moment >= incident.since}
            needs = self._needs(key) & (involved | just_over if key in ended else sick)
            if not incident.is_known and (needs or (incident.is_held and key in ended)):
                incident.is_held = True
                continue
            self._report(key, incident, run.ended, needs=bool(needs), healed=ended.get(key))
        self._settle(run.ended)
        if whole:
            self._forget_checks_but(result.key for result in run.results if result.kind == "check")
        self.attend()

    def report_down(self, name: str, since: float, cause: str, down: Collection[str] = ()) -> None:
        """Report a service as sick since a moment in epoch seconds, before a run has ended that says so.

        A service is silent if one that it needs is `down`, too.
        """
        key: Key = ("service", name)
        if not self._has_recipient or key in self._incidents or self._needs(key) & set(down):
            return
        opened = incidents.begin(self._project, {name: since}, self._log)
        incident = self._incidents[key] = Incident(name, since, cause, opened[name].id)
        incident.dependents = {other: None for other in down if name in self._needs(("service", other))}
        self._report(key, incident, time.time())
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

    def _with_incidents(
        self, run: Run, done: Mapping[str, list[Remediation]], gave_up: Collection[str]
    ) -> list[Result]:
        """Return the results that have incidents, and one for each service that was healed and no check names."""
        results = [result for result in run.results if result.has_incidents]
        checked = {result.key for result in results}
        for name in {**done, **dict.fromkeys(gave_up)}:
            if name not in checked:
                failed = [one for one in results if one.outcome.has_failed and name in self._needs((one.kind, one.key))]
                results.append(_unchecked(name, run, done.get(name, []), failed, gave_up=name in gave_up))
        return sorted(results, key=lambda result: result.kind == "check")

    def _follow(self, result: Result, done: Iterable[Remediation], *, gave_up: bool) -> Incident | None:
        """Bring the incident of a result up to date, and return it; None if there is none."""
        key, done = (result.kind, result.key), list(done)
        if result.failed_at is not None and key not in self._incidents:
            # The incident may be older than this monitor.
            since = min([result.failed_at, *(item.since for item in done if item.since is not None)])
            self._incidents[key] = Incident(result.name, since, result.message or "", result.incident)
        if (incident := self._incidents.get(key)) is None:
            return None
        for remediation in done:
            action = described(remediation.action, "" if remediation.ok else remediation.reason)
            incident.tried += [action] if action else []
        incident.gave_up |= gave_up
        return incident

    def _gather(self, run: Run, changed: Mapping[Key, Incident]) -> None:
        """Note for each incident which services fail because of it, and which checks fail."""
        needs = {key: self._needs(key) for key in {**self._incidents, **changed}}
        for (kind, name), incident in changed.items():
            affected = [other for (_, other), names in needs.items() if kind == "service" and name in names]
            incident.dependents |= dict.fromkeys(affected)
            incident.checks |= {
                result.name: None
                for result in run.results
                if result.kind == "check"
                and result.outcome.has_failed
                and not {name, *affected}.isdisjoint(result.services)
            }

    def _needs(self, key: Key) -> set[str]:
        """Return all direct and indirect dependencies of a service."""
        kind, name = key
        found, pending = set[str](), [name] if kind == "service" else []
        while pending:
            service = self._project.services.get(pending.pop())
            new = set(service.depends_on) - found if service else set()
            found |= new
            pending += new
        return found

    def _report(
        self, key: Key, incident: Incident, moment: float, *, needs: bool = False, healed: Result | None = None
    ) -> None:
        """Send what people do not know yet of an incident; with `needs`, only that it is over."""
        if not incident.is_known:
            incident.is_known = True
            self._turned_sick(key, incident, moment)
        if incident.gave_up and not incident.is_given_up and not needs:
            incident.is_given_up = True
            self._add("gave-up", key, incident, moment)
        if healed and ("flapping" not in self._project.notify.on or self._flapping.turned_well(key, now=moment)):
            self._add("healed", key, incident, moment if healed.passed_at is None else healed.passed_at)

    def _add(self, event: Event, key: Key, incident: Incident, until: float) -> None:
        if event in self._project.notify.on:
            service = self._project.services.get(key[1])
            notification = self._texts.message(event, incident, until, service)
            self._messengers.add(notification)
            self._tell_listener(event, incident.name, notification, incident.id)

    def _tell_listener(self, event: Event, name: str, notification: Notification, incident: str = "") -> None:
        if self._tell:
            self._tell(HealEvent(event, name, notification.title, notification.body, incident))

    def _turned_sick(self, key: Key, incident: Incident, now: float) -> None:
        """Send that something is sick or, once, that it flaps."""
        notify = self._project.notify
        event: Event | None = "sick"
        if "flapping" in notify.on:
            event = self._flapping.turned_sick(key, incident.since, now=now, window=notify.flap_window)
        if event:
            self._add(event, key, incident, now)

    def _settle(self, now: float) -> None:
        """Send what flaps no more."""
        for key, changed in self._flapping.settled(now=now, window=self._project.notify.flap_window).items():
            if "flapping" in self._project.notify.on:
                incident = self._incidents.get(key)
                name = incident.name if incident else key[1]
                notification = self._texts.steady(name, incident, changed)
                self._messengers.add(notification)
                self._tell_listener("flapping", name, notification, incident.id if incident else "")

    def _forget(self, key: Key) -> None:
        self._incidents.pop(key, None)
        self._flapping.forget(key)

    def _forget_checks_but(self, keys: Iterable[str]) -> None:
        """Forget the checks that a run no longer has, unless the run had no checks at all."""
        present = set(keys)
        for kind, key in list(self._incidents):
            if present and kind == "check" and key not in present:
                self._forget((kind, key))


def _unchecked(name: str, run: Run, done: list[Remediation], failed: list[Result], *, gave_up: bool) -> Result:
    """Return the result of a service that no check names, from its remediations alone.

    It failed if it could not be healed, or if services that need it have `failed`.
    """
    since = next((item.since for item in done if item.since is not None), run.began)
    answered = [item.answered_at or run.ended for item in done if item.ok]
    outcome = CheckOutcome.FAILED if gave_up else CheckOutcome.SKIPPED
    if answered and not gave_up:
        outcome = CheckOutcome.HEALED if failed else CheckOutcome.PASSED
    ids = [*(item.incident for item in done), *(result.incident for result in failed)]
    return Result(
        "service", name, name, [name], run.began, outcome,
        failed_at=since if outcome.has_failed else None,
        passed_at=answered[-1] if outcome.is_well else None,
        message=done[0].cause if done else None,
        incident=next(filter(None, ids), ""),
    )  # fmt: skip
