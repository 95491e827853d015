"""The messages of an incident: each event once, with what, where and why, and safe to read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from incidents import SICK, WELL, Make, configured, heal, idle, notifying, observe, result, run, waiting
from msgspec import structs
from receiving import SECRET, messengers
from remediations import remediation
from sandbox import Sandbox

from remediation.healing.hooks import HealEvent
from remediation.monitor import notification_worker
from remediation.state.records import CheckOutcome, Result

EVIL = "a\x1b[31mred\r\n2025-01-01 forged\x00\x07\u2028\u202e\udcffb"


@pytest.fixture
def make(project: Sandbox) -> Iterator[Make]:
    """Make a notifier for these URLs."""
    with notifying(project, told=[]) as make:
        yield make


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep messages in the queue, and send none."""
    monkeypatch.setattr(notification_worker, "MOST_AT_WORK", 0)


# Once an incident.


@pytest.mark.usefixtures("unsent")
@pytest.mark.parametrize(
    ("runs", "events"),
    [
        (["api=well"], []),
        (["api=skipped"], []),
        ([""], []),
        (["api=sick"], ["api is sick"]),
        (["api=sick", "api=sick", "api=sick"], ["api is sick"]),
        (["api=sick", "api=skipped", "", "api=sick"], ["api is sick"]),
        (["api=healed"], ["api is sick", "api is healed"]),
        (["api=sick", "api=healed"], ["api is sick", "api is healed"]),
        (["api=sick", "api=well"], ["api is sick", "api is healed"]),
        (["api=sick", "api=well", "api=well"], ["api is sick", "api is healed"]),
        (["api=healed", "api=healed"], ["api is sick", "api is healed"] * 2),
        (["api=sick", "api=well", "api=sick"], ["api is sick", "api is healed", "api is sick"]),
        (["api=sick api+gave-up"] * 3, ["api is sick", "gave up on api"]),
        (["api=sick", "api=sick api+gave-up"], ["api is sick", "gave up on api"]),
        (["api=healed api+gave-up"], ["api is sick", "gave up on api", "api is healed"]),
        (["api=sick api+gave-up", "api=well"] * 2, ["api is sick", "gave up on api", "api is healed"] * 2),
        (["api=sick", "api=sick db=sick", "api=well db=sick"], ["api is sick", "db is sick", "api is healed"]),
        # A service that no check names, but another one depends on.
        (["api=healed db+healed"], ["api is sick", "api is healed"]),
        (["db+gave-up"] * 2, ["db is sick", "gave up on db"]),
        (["db+gave-up", "db+healed", "db+healed"], ["db is sick", "gave up on db", "db is healed"]),
        # A check that names no service.
        (["/x=sick", "/x=sick", "/x=well"], ["/x is sick", "/x is healed"]),
        (["/x=sick", "api=well", "/x=sick"], ["/x is sick"]),
        (["/x=sick", "/y=well", "/x=sick"], ["/x is sick", "/x is sick"]),
        (["/api=sick api=sick api+gave-up"], ["api is sick", "gave up on api", "/api is sick"]),
    ],
)
def test_each_event_is_told_once_an_incident(make: Make, runs: list[str], events: list[str]) -> None:
    notifier = make("json://127.0.0.1:9/")

    for words in runs:
        observe(notifier, words)

    titles = [message.title.removeprefix("auto-heal: ").partition(" (")[0] for message in waiting(notifier)]
    assert titles == events


@pytest.mark.usefixtures("unsent")
def test_a_check_of_a_service_is_that_services_business(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")

    notifier.observe(
        run(Result("check", "a", "/a", ["api"], 0.0, CheckOutcome.FAILED, 900.0), result("api", "sick")), [], ()
    )

    assert [message.title.partition(" (")[0] for message in waiting(notifier)] == ["auto-heal: api is sick"]


@pytest.mark.usefixtures("unsent")
@pytest.mark.parametrize(
    ("on", "events"),
    [
        ([], []),
        (["sick"], ["api is sick"]),
        (["healed"], ["api is healed"]),
        (["gave-up"], ["gave up on api"]),
        (["healed", "sick"], ["api is sick", "api is healed"]),
    ],
)
def test_only_the_events_that_are_wanted_are_told(make: Make, on: list[str], events: list[str]) -> None:
    notifier = make("json://127.0.0.1:9/", on=on)

    for words in ("api=sick", "api=sick api+gave-up", "api=well"):
        observe(notifier, words)

    titles = [message.title.removeprefix("auto-heal: ").partition(" (")[0] for message in waiting(notifier)]
    assert titles == events


def test_without_urls_nothing_happens_at_all(make: Make) -> None:
    notifier = make()

    observe(notifier, "api=sick api+gave-up")

    assert idle(notifier)
    assert not messengers()


def test_a_hook_learns_of_the_same_events_also_without_urls(make: Make) -> None:
    events: list[HealEvent] = []
    notifier = make(on=["sick", "healed"])

    notifier.listen(events.append)
    for words in ("api=sick", "api=sick", "api=sick api+gave-up", "api=healed", "db=well"):
        observe(notifier, words)
    notifier.listen(None)
    observe(notifier, "api=sick")

    assert [(event.kind, event.name, event.title.partition(" (")[0]) for event in events] == [
        ("sick", "api", "auto-heal: api is sick"), ("healed", "api", "auto-heal: api is healed"),
    ]  # fmt: skip
    assert events[1].text.startswith("Cause: no answer\n")
    assert notifier.fds() == []


@pytest.mark.usefixtures("unsent")
def test_a_service_that_is_configured_no_longer_is_forgotten(project: Sandbox, make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    observe(notifier, "api=sick db=sick")

    notifier.reload(configured(project, "json://127.0.0.1:9/", more=""))
    notifier.reload(configured(project, "json://127.0.0.1:9/"))
    observe(notifier, "api=sick db=sick")

    titles = [message.title.partition(" (")[0] for message in waiting(notifier)]
    assert titles == [f"auto-heal: {name} is sick" for name in ("api", "db", "db")]


@pytest.mark.usefixtures("unsent")
def test_what_waits_for_a_url_that_is_no_longer_configured_is_dropped(project: Sandbox, make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    observe(notifier, "api=sick")

    notifier.reload(configured(project, "json://127.0.0.1:8/"))

    assert waiting(notifier) == []


# The message.


@pytest.mark.usefixtures("unsent")
@pytest.mark.parametrize(
    ("language", "titles", "bodies"),
    [
        (
            "en",
            ["auto-heal: api is sick ({} on {})", "auto-heal: gave up on api ({} on {})",
             "auto-heal: api is healed ({} on {})"],
            ["Cause: no answer|Action: restart: did not start|Since: {}",
             "Cause: no answer|Tried: restart: did not start|Since: {}",
             "Cause: no answer|Action: restart|Since: {}|Downtime: 90s"],
        ),
        (
            "ru",
            ["auto-heal: api не работает ({} на {})", "auto-heal: api: восстановить не удаётся, прекращаем ({} на {})",
             "auto-heal: api снова работает ({} на {})"],
            ["Причина: no answer|Действие: перезапуск: did not start|Начало: {}",
             "Причина: no answer|Предпринято: перезапуск: did not start|Начало: {}",
             "Причина: no answer|Действие: перезапуск|Начало: {}|Простой: 90 с"],
        ),
    ],
)  # fmt: skip
def test_a_message_says_what_where_why_and_for_how_long(
    project: Sandbox, make: Make, language: str, titles: list[str], bodies: list[str]
) -> None:
    notifier = make("json://127.0.0.1:9/", top=f'language = "{language}"\n')

    notifier.observe(SICK, [heal("api", ok=False, reason="did not start")], ["api"])
    notifier.observe(run(result("api", "healed")), [heal("api")], ())

    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(900))
    where = project.root.name, os.uname().nodename
    messages = waiting(notifier)
    assert [message.title for message in messages] == [title.format(*where) for title in titles]
    assert [message.body for message in messages] == [body.format(began).replace("|", "\n") for body in bodies]
    assert [message.kind for message in messages] == ["failure", "failure", "success"]


@pytest.mark.usefixtures("unsent")
def test_an_incident_that_began_before_the_monitor_is_told_from_its_beginning(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    healed = structs.replace(heal("api"), since=500.0)

    notifier.observe(run(result("api", "healed")), [healed], ())

    told = waiting(notifier)[-1].body
    assert f"Since: {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(500))}" in told
    assert "Downtime: 490s" in told


@pytest.mark.usefixtures("unsent")
def test_of_what_came_back_without_the_monitor_it_claims_nothing(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")

    notifier.observe(SICK, [], ())
    notifier.observe(WELL, [], ())

    assert "Action: none by this monitor" in waiting(notifier)[-1].body


@pytest.mark.usefixtures("unsent")
def test_what_comes_from_outside_is_harmless_in_a_message(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    long = (
        f"{EVIL.replace(chr(10), chr(9))} http://user:{SECRET}@127.0.0.1/x@y ftp://{SECRET}@host " + "long " * 100_000
    )
    ill = Result("service", "api", EVIL, ["api"], 0.0, CheckOutcome.FAILED, 900.0, message=long)

    notifier.observe(run(ill), [remediation(ok=False, origin="monitor", cause=long, action=long, reason=long)], ["api"])

    for message in waiting(notifier):
        for line in (message.title, *message.body.split("\n")):
            assert line.isprintable(), line
            assert SECRET not in line
        assert "http://127.0.0.1/x@y" in message.body
        assert len(message.title) + len(message.body) < 3000
