"""Builds incidents from short descriptions, and the notifiers that observe them."""

from __future__ import annotations

import json
import selectors
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from outcomes import outcome_of
from receiving import messengers
from remediations import remediation
from sandbox import DEADLINE, Sandbox

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.monitor import notification_worker
from remediation.monitor.notifications import Notifier
from remediation.state.records import Kind, Result, Run
from remediation.state.remediation import Remediation

Make = Callable[..., Notifier]

_DB = '[services.db]\nurl = "http://127.0.0.1:9"\nrestart = ["true"]'


# Events.


def run(*results: Result, ended: float = 1000.0) -> Run:
    """Return a run of a monitor."""
    return Run(0.0, ended, "monitor", "sick", 1.0, list(results))


def result(name: str, state: str, *, ended: float = 1000.0) -> Result:
    """Return the result of a service or, with a slash in its name, of a check that names no service."""
    failed_at = ended - 100 if state in ("sick", "healed") else None
    passed_at = ended - 10 if state in ("healed", "well") else None
    kind: Kind = "check" if "/" in name else "service"
    services = [name] if kind == "service" else []
    return Result(
        kind, name, name, services, 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at, message="no answer"
    )


def heal(name: str, *, ok: bool = True, reason: str = "") -> Remediation:
    """Return a heal."""
    answered_at = 990.0 if ok else None
    return remediation(
        name, 950.0, ok=ok, origin="monitor", cause="no answer", reason=reason, since=900.0, answered_at=answered_at
    )


SICK = run(result("api", "sick"))
WELL = run(result("api", "well"))


def observe(notifier: Notifier, words: str, *, ended: float = 1000.0, down: Collection[str] = ()) -> None:
    """Observe a run, described as `api=sick db=well db+healed db+gave-up`."""
    pairs = [word.split("=") for word in words.split() if "=" in word]
    heals = [heal(word.partition("+")[0]) for word in words.split() if word.endswith("+healed")]
    gave_up = [word.partition("+")[0] for word in words.split() if word.endswith("+gave-up")]
    found = run(*(result(name, state, ended=ended) for name, state in pairs), ended=ended)
    notifier.observe(found, heals, gave_up, down=down)


# Observers.


def configured(
    project: Sandbox, *urls: str, on: list[str] | None = None, top: str = "", more: str | None = None
) -> Project:
    """Return the project with these URLs."""
    events = f"on = {json.dumps(on)}\n" if on is not None else ""
    notify = f"[notify]\nurls = {json.dumps(list(urls))}\n{events}"
    project.configure(top=top, more=f"{_DB if more is None else more}\n{notify}")
    return load_project(project.root, {})


@contextmanager
def notifying(project: Sandbox, told: list[str]) -> Iterator[Make]:
    """Yield a function that makes a notifier for these URLs, which reports problems; end its processes afterwards."""
    made: list[Notifier] = []

    def make(*urls: str, on: list[str] | None = None, top: str = "", more: str | None = None) -> Notifier:
        def tell(key: str, **values: object) -> None:
            assert key in ("not_notified", "incident")
            if key == "not_notified":
                told.append(str(values["problem"]))

        made.append(Notifier(configured(project, *urls, on=on, top=top, more=more), log=tell))
        return made[-1]

    try:
        yield make
    finally:
        for notifier in made:
            notifier.close(0)
    assert not messengers()


def titles(notifier: Notifier) -> list[str]:
    """Return what the messages that are not sent yet are about."""
    return [message.title.removeprefix("auto-heal: ").partition(" (")[0] for message in waiting(notifier)]


def waiting(notifier: Notifier) -> list[notification_worker.Notification]:
    """Return the messages that are not sent yet."""
    return [message for queue in notifier._messengers._waiting.values() for message in queue]


def attended(notifier: Notifier, condition: Callable[[], object]) -> None:
    """Wait as an event loop does, until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "not attended in time"
        with selectors.DefaultSelector() as selector:
            for fd in notifier.fds():
                selector.register(fd, selectors.EVENT_READ)
            deadline = notifier.deadline()
            selector.select(max(0.0, (end if deadline is None else min(end, deadline)) - time.monotonic()))
        notifier.attend()


def idle(notifier: Notifier) -> bool:
    """Return whether there is nothing to wait for."""
    return not notifier.fds() and notifier.deadline() is None
