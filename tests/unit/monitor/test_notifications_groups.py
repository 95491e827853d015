"""One message for a cause and all that fails because of it, and one for what flaps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from incidents import Make, heal, notifying, observe, result, run, titles, waiting
from msgspec import structs
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.monitor import notification_worker
from remediation.state.records import CheckOutcome, Result
from remediation.state.service_state import ServiceState, Store

# app needs web, which needs db and cache.
SHOP = """
[services.db]
command = "true"
budget = { restarts = 2, window = 600 }
[services.cache]
command = "true"
[services.web]
command = "true"
depends_on = ["db", "cache"]
[services.app]
command = "true"
depends_on = ["web"]
"""
URL = "json://127.0.0.1:9/"


@pytest.fixture
def make(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a notifier whose messages stay in the queue."""
    monkeypatch.setattr(notification_worker, "MOST_AT_WORK", 0)
    with notifying(project, told=[]) as make:
        yield make


# A cause and its dependents.


@pytest.mark.parametrize(
    ("runs", "events"),
    [
        # In one cycle, whichever check ran first.
        (["web=sick db=sick"], ["db is sick"]),
        (["db=healed web=healed app=healed"], ["db is sick", "db is healed"]),
        (["db=sick web=sick", "db=well web=well"], ["db is sick", "db is healed"]),
        # Over several levels, also where the one between is well.
        (["app=sick web=sick db=sick"], ["db is sick"]),
        (["app=sick web=well db=sick"], ["db is sick"]),
        # Two causes.
        (["web=sick db=sick cache=sick"], ["cache is sick", "db is sick"]),
        (["web=sick db=sick cache=sick", "db=sick cache=well"], ["cache is sick", "db is sick", "cache is healed"]),
        # It stays sick when the cause is over: in the same run, in the next, and after a cycle of the cause alone.
        (["db=healed web=sick"], ["web is sick", "db is sick", "db is healed"]),
        (["db=sick web=sick", "db=well web=sick"], ["db is sick", "web is sick", "db is healed"]),
        (["db=sick web=sick", "db=well", "web=sick"], ["db is sick", "db is healed", "web is sick"]),
        (["db=sick web=sick", "db=well", "web=well"], ["db is sick", "db is healed"]),
        # It was sick before, for a reason of its own.
        (["web=sick", "web=sick db=sick", "web=well db=sick"], ["web is sick", "db is sick", "web is healed"]),
        (["db=sick", "db=sick web=sick web+gave-up", "db=well web=well"], ["db is sick", "db is healed"]),
        # The cause has no checks.
        (["web=healed db+healed"], ["db is sick", "db is healed"]),
        (["web=sick db+gave-up", "web=sick db+gave-up"], ["db is sick", "gave up on db"]),
    ],
)  # fmt: skip
def test_who_depends_on_the_cause_says_nothing_of_its_own(make: Make, runs: list[str], events: list[str]) -> None:
    notifier = make(URL, more=SHOP)

    for words in runs:
        observe(notifier, words)

    assert sorted(titles(notifier)) == sorted(events)


def test_who_depends_on_what_is_down_by_other_signs_waits_for_its_result(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    observe(notifier, "web=sick", down=["db", "web"])
    before = titles(notifier)
    observe(notifier, "db=healed")
    observe(notifier, "web=well")

    assert before == []
    assert titles(notifier) == ["db is sick", "db is healed"]


def test_who_depended_on_a_cause_that_another_cycle_has_healed_says_nothing_of_its_own(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    observe(notifier, "db=healed")
    observe(notifier, "web=healed app=healed")

    assert titles(notifier) == ["db is sick", "db is healed"]


def test_a_message_names_the_dependents_the_failing_checks_and_the_incident(make: Make) -> None:
    notifier = make(URL, more=SHOP)
    checks = [
        Result("check", f"t.py::{name}", f"/{name}", [name], 0.0, CheckOutcome.FAILED, 900.0) for name in ("web", "db")
    ]
    db = structs.replace(result("db", "sick"), incident="3f9a01c7")

    notifier.observe(run(*checks, result("web", "sick"), result("app", "sick"), db), [], ())

    [message] = waiting(notifier)
    assert message.body.splitlines() == [
        "Cause: no answer", "Failing checks: /web, /db", "Dependents: web, app",
        f"Since: {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(900))}", "Incident: 3f9a01c7",
    ]  # fmt: skip


def test_a_message_names_at_most_ten_checks(make: Make) -> None:
    notifier = make(URL, more=SHOP)
    checks = [
        Result("check", f"t.py::{number}", f"/{number}", ["db"], 0.0, CheckOutcome.FAILED, 900.0)
        for number in range(12)
    ]

    notifier.observe(run(*checks, result("db", "sick")), [], ())

    assert "Failing checks: /0, /1, /2, /3, /4, /5, /6, /7, /8, /9 and 2 more" in waiting(notifier)[0].body


def test_a_dependent_that_is_down_for_long_is_not_reported_while_the_cause_is_down(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    notifier.report_down("app", 900.0, "no answer", ["app", "db", "web"])
    notifier.report_down("db", 900.0, "db: its process died", ["app", "db", "web"])
    notifier.report_down("db", 900.0, "db: its process died", ["app", "db", "web"])

    [message] = waiting(notifier)
    assert titles(notifier) == ["db is sick"]
    assert "Dependents: app, web" in message.body
    assert "Incident: " in message.body


# What was given up.


def test_giving_up_says_what_was_tried_and_when_it_is_tried_again(project: Sandbox, make: Make) -> None:
    notifier = make(URL, more=SHOP)
    found, now = load_project(project.root, {}), time.time()
    Store(found).keep(found.services["db"], ServiceState(restarts=[now - 200, now - 100], not_before=now + 50))
    failed = heal("db", ok=False, reason="db: did not start")

    notifier.observe(run(result("db", "sick")), [failed, failed], ["db"])

    body = waiting(notifier)[-1].body
    assert "Tried: 2× restart: db: did not start\n" in body
    # The older of both restarts leaves the window of 600 seconds then.
    assert f"Next try: after {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now + 400))}\n" in body
    assert "Action:" not in body


def test_giving_up_without_a_heal_in_this_incident_names_the_last_one(project: Sandbox, make: Make) -> None:
    notifier = make(URL, more=SHOP)
    found = load_project(project.root, {})
    Store(found).keep(found.services["db"], ServiceState(last_heal=heal("db")))

    notifier.observe(run(result("db", "sick")), [], ["db"])

    assert f"Tried: {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(950))}, restart\n" in waiting(notifier)[-1].body


def test_a_budget_of_no_restarts_is_never_tried_again(make: Make) -> None:
    notifier = make(URL, more=SHOP.replace("restarts = 2", "restarts = 0"))

    notifier.observe(run(result("db", "sick")), [], ["db"])

    body = waiting(notifier)[-1].body
    assert "Tried: nothing by this monitor\nNext try: never (restarts = 0)\n" in body


# What flaps.


def test_the_third_incident_within_the_window_is_flapping_until_nothing_changes_for_a_window(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    for number in range(5):
        observe(notifier, "db=sick", ended=1000.0 + 200 * number)
        observe(notifier, "db=well", ended=1100.0 + 200 * number)
    told = titles(notifier)
    observe(notifier, "db=well", ended=2400.0)
    before = len(titles(notifier))
    observe(notifier, "db=well", ended=2500.0)
    observe(notifier, "db=sick", ended=9000.0)

    assert told == ["db is sick", "db is healed"] * 2 + ["db is flapping"]
    assert before == len(told)
    assert titles(notifier)[before:] == ["db is steady again: healthy", "db is sick"]
    assert "until nothing has changed for 600s" in waiting(notifier)[len(told) - 1].body


def test_what_stays_sick_after_flapping_is_told_with_its_end(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    for number in range(3):
        observe(notifier, "db=healed", ended=1000.0 + 100 * number)
    observe(notifier, "db=sick", ended=1300.0)
    observe(notifier, "db=sick", ended=1900.0)
    observe(notifier, "db=well", ended=2000.0)

    assert titles(notifier)[4:] == ["db is flapping", "db is steady again: sick", "db is healed"]


def test_incidents_far_apart_are_no_flapping(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    for number in range(5):
        observe(notifier, "db=healed", ended=1000.0 + 400 * number)

    assert titles(notifier) == ["db is sick", "db is healed"] * 5


def test_a_check_that_names_no_service_flaps_as_well(make: Make) -> None:
    notifier = make(URL, more=SHOP, on=["flapping"])

    for _ in range(4):
        observe(notifier, "/x=healed")

    assert titles(notifier) == ["/x is flapping"]


def test_giving_up_is_told_while_a_service_flaps(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    for words in ("db=healed", "db=healed", "db=sick", "db=sick db+gave-up"):
        observe(notifier, words)

    assert titles(notifier)[4:] == ["db is flapping", "gave up on db"]


def test_dependents_of_what_flaps_do_not_flap(make: Make) -> None:
    notifier = make(URL, more=SHOP)

    for _ in range(4):
        observe(notifier, "db=healed web=healed")

    assert [title for title in titles(notifier) if "web" in title] == []


def test_without_flapping_among_the_events_every_change_is_told(make: Make) -> None:
    notifier = make(URL, more=SHOP, on=["sick", "healed", "gave-up"])

    for _ in range(5):
        observe(notifier, "db=healed")

    assert titles(notifier) == ["db is sick", "db is healed"] * 5


def test_the_window_of_flapping_is_configurable(project: Sandbox, make: Make) -> None:
    notifier = make(URL, more=SHOP)
    text = (project.root / "auto-heal.toml").read_text()
    (project.root / "auto-heal.toml").write_text(text.replace("[notify]", "[notify]\nflap_window = 50"))
    notifier.reload(load_project(project.root, {}))

    for number in range(4):
        observe(notifier, "db=healed", ended=1000.0 + 60 * number)

    assert titles(notifier) == ["db is sick", "db is healed"] * 4
