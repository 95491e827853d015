"""Processes send messages in order without delaying the monitor; failures are reported, and no process outlives it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from incidents import SICK, WELL, Make, attended, idle, notifying, observe, waiting
from receiving import SECRET, Receiver, answering, hanging, messengers
from sandbox import DEADLINE, Sandbox, free_port, wait_for

from remediation.monitor import notification_worker


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers."""
    with answering() as receiver:
        yield receiver


@pytest.fixture
def hung() -> Iterator[str]:
    """The URL of a receiver that accepts connections and never answers."""
    with hanging() as url:
        yield url


@pytest.fixture
def told() -> list[str]:
    """The messages to the user."""
    return []


@pytest.fixture
def make(project: Sandbox, told: list[str]) -> Iterator[Make]:
    """Make a notifier for these URLs."""
    with notifying(project, told) as make:
        yield make


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep messages in the queue, and send none."""
    monkeypatch.setattr(notification_worker, "MOST_AT_WORK", 0)


# Sending.


def test_what_happened_arrives_in_its_order(receiver: Receiver, make: Make, told: list[str]) -> None:
    notifier = make(receiver.url)

    observe(notifier, "api=healed")
    observe(notifier, "api=sick db=sick")
    attended(notifier, lambda: idle(notifier))

    assert receiver.titles == [
        f"auto-heal: {event}" for event in ("api is sick", "api is healed", "api is sick", "db is sick")
    ]
    assert [got["type"] for got in receiver.got] == ["failure", "success", "failure", "failure"]
    assert receiver.got[0]["message"].startswith("Cause: no answer\n")
    assert told == []


def test_one_that_hangs_delays_neither_the_monitor_nor_another(
    receiver: Receiver, hung: str, make: Make, told: list[str]
) -> None:
    notifier = make(hung, receiver.url)

    for words in ("api=sick", "api=well"):
        observe(notifier, words)
    attended(notifier, lambda: len(receiver.got) == 2 and len(notifier.fds()) == 1)

    assert [process.is_running() for process in messengers()] == [True]
    assert told == []


def test_one_that_hangs_is_killed_when_it_is_late(
    hung: str, make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_worker, "LIMIT", 0.5)
    notifier = make(hung)

    notifier.observe(SICK, [], ())
    attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): not done within 0.5s"]
    assert not messengers()


@pytest.mark.soak
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_one_that_refuses_is_told_once_with_its_status(
    receiver: Receiver, make: Make, told: list[str], status: int
) -> None:
    receiver.status = status
    notifier = make(receiver.url)

    observe(notifier, "api=healed")
    attended(notifier, lambda: idle(notifier))

    assert told == [f"notify.urls[0] (json): the answer was status {status}"]


def test_one_that_is_not_there_is_told_and_the_next_message_is_tried_again(make: Make, told: list[str]) -> None:
    notifier = make(f"json://user:{SECRET}@127.0.0.1:{free_port()}/{SECRET}/")

    for words in ("api=sick", "api=well"):
        observe(notifier, words)
        attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): it could not be reached"] * 2


def test_a_messenger_that_is_killed_is_told(hung: str, make: Make, told: list[str]) -> None:
    notifier = make(hung)
    notifier.observe(SICK, [], ())

    [process] = wait_for(messengers)
    process.send_signal(signal.SIGKILL)
    attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): the messenger was killed by SIGKILL"]
    assert not process.is_running()


def test_a_messenger_that_is_stopped_is_killed_when_it_is_late(
    hung: str, make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_worker, "LIMIT", 0.5)
    notifier = make(hung)
    notifier.observe(SICK, [], ())

    wait_for(messengers)[0].send_signal(signal.SIGSTOP)
    attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): not done within 0.5s"]
    assert not messengers()


def test_a_messenger_that_cannot_be_started_is_told(
    make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_worker, "_COMMAND", ["/no/such/python"])
    notifier = make("json://127.0.0.1:9/")

    notifier.observe(SICK, [], ())

    assert told == ["notify.urls[0] (json): no messenger can be started: No such file or directory"]
    assert idle(notifier)


def test_few_are_at_work_at_a_time_and_one_for_each_url(hung: str, make: Make) -> None:
    notifier = make(*(f"{hung}&n={number}" for number in range(7)))

    for words in ("api=healed", "api=healed"):
        observe(notifier, words)

    assert len(notifier.fds()) == notification_worker.MOST_AT_WORK
    wait_for(lambda: len(messengers()) == notification_worker.MOST_AT_WORK)


def test_urls_take_turns(
    receiver: Receiver, make: Make, hung: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_worker, "MOST_AT_WORK", 1)
    notifier = make(hung, receiver.url)
    notifier.observe(SICK, [], ())
    wait_for(messengers)[0].kill()
    notifier.observe(WELL, [], ())

    attended(notifier, lambda: len(receiver.got) == 2)

    assert receiver.titles == ["auto-heal: api is sick", "auto-heal: api is healed"]
    assert len(told) == 1


@pytest.mark.usefixtures("unsent")
def test_when_too_many_wait_the_oldest_go_and_it_is_told_once(make: Make, told: list[str]) -> None:
    notifier = make("json://127.0.0.1:9/", on=["sick", "healed"])

    for _ in range(notification_worker.MOST_WAITING):
        observe(notifier, "api=healed")
    observe(notifier, "db=sick")

    assert told == [
        f"notify.urls[0] (json): more than {notification_worker.MOST_WAITING} messages wait, the oldest are dropped"
    ]
    assert len(waiting(notifier)) == notification_worker.MOST_WAITING
    assert waiting(notifier)[-1].title.startswith("auto-heal: db is sick")


def test_a_messenger_is_alone_in_its_session_and_inherits_nothing(project: Sandbox, hung: str, make: Make) -> None:
    notifier = make(hung)
    with open(project.root / "inherited", "w", encoding="ascii") as file:
        os.set_inheritable(file.fileno(), True)

        notifier.observe(SICK, [], ())

    [process] = wait_for(messengers)
    assert os.getsid(process.pid) == process.pid
    assert not [opened for opened in process.open_files() if opened.path.endswith("inherited")]


# The end.


def test_the_end_waits_for_what_is_under_way(receiver: Receiver, make: Make, told: list[str]) -> None:
    notifier = make(receiver.url)
    observe(notifier, "api=healed")
    observe(notifier, "db=sick")

    notifier.close(DEADLINE)

    assert len(receiver.got) == 3
    assert told == []
    assert idle(notifier)


def test_the_end_waits_no_longer_than_it_may(
    receiver: Receiver, hung: str, make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_worker, "MOST_AT_WORK", 1)
    notifier = make(hung, receiver.url)
    notifier.observe(SICK, [], ())

    notifier.close(0.1)
    notifier.close(0.1)

    assert told == [f"notify.urls[{number}] (json): not done when the monitor ended" for number in (0, 1)]
    assert idle(notifier)
    assert not messengers()
