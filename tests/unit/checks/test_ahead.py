"""Attempts that are made ahead of pytest: all at once, in their order, and no more than are wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty

import pytest

from remediation.checks.ahead import Ahead

LONG = 30.0


def made(attempt: Callable[[str], int], *, attempts: int = 1, good: int = 99) -> Ahead[str, int]:
    """Return what makes up to so many attempts, until one gives `good`."""
    return Ahead(
        attempt, wants_another=lambda _, result, number: result != good and number < attempts, delay=lambda _: 0
    )


def test_announced_checks_run_at_the_same_time() -> None:
    together = threading.Barrier(20)
    ahead = made(lambda _: together.wait(LONG))
    items = [str(number) for number in range(20)]
    ahead.announce(items)

    assert sorted(ahead.next(item, LONG) for item in items) == list(range(20))


def test_the_attempts_at_a_check_are_taken_in_their_order() -> None:
    numbers = iter(range(10))
    ahead = made(lambda _: next(numbers), attempts=3)
    ahead.announce(["a"])

    assert [ahead.next("a", LONG) for _ in range(3)] == [0, 1, 2]


def test_a_further_attempt_is_made_when_it_is_asked_for() -> None:
    numbers = iter(range(10))
    ahead = made(lambda _: next(numbers), attempts=1)
    ahead.announce(["a"])

    assert [ahead.next("a", LONG) for _ in range(3)] == [0, 1, 2]


def test_no_attempt_follows_a_good_one() -> None:
    results = iter([1, 99, 3])
    ahead = made(lambda _: next(results), attempts=3)
    ahead.announce(["a"])

    assert [ahead.next("a", LONG), ahead.next("a", LONG)] == [1, 99]
    assert next(results) == 3


def test_what_was_not_announced_is_made_when_it_is_asked_for() -> None:
    assert made(int, attempts=3).next("5", LONG) == 5


def test_an_attempt_that_hangs_is_abandoned_and_the_next_is_made_anew() -> None:
    hangs, released = iter([True, False]), threading.Event()
    ahead = made(lambda _: int(released.wait(LONG)) if next(hangs) else 7)
    ahead.announce(["a"])

    with pytest.raises(Empty):
        ahead.next("a", 0.05)
    assert ahead.next("a", LONG) == 7
    released.set()


def test_a_check_that_waits_keeps_no_other_waiting() -> None:
    released = threading.Event()
    ahead = made(lambda item: int(item) if item != "0" else int(released.wait(LONG)))
    items = [str(number) for number in range(60)]
    ahead.announce(items)

    assert [ahead.next(item, LONG) for item in items[1:]] == list(range(1, 60))
    released.set()
    assert ahead.next("0", LONG) == 1
