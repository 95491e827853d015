"""A service that keeps failing is restarted ever more rarely; once it stays healthy, the budget resets."""

from __future__ import annotations

import time
from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.config.model import Budget, Service
from remediation.healing import backoff
from remediation.healing.backoff import LONGEST_DELAY, Spent
from remediation.state.service_state import ServiceState

START = 1_000_000.0


class Clock:
    """The time of day, and a service that asks for restarts by it."""

    def __init__(self, service: Service) -> None:
        """Begin with an empty state."""
        self.now = START
        self.service = service
        self.state = ServiceState()

    def ask(self) -> str:
        """Ask for a restart; do it if it is allowed, and return the reason if not."""
        refused = backoff.refusal(self.service, self.state)
        if refused is None:
            self.state.restarts.append(self.now)
            return ""
        return f"{refused.why.key}, first" if refused.first else refused.why.key

    def sick_for(self, seconds: float, *, step: float = 1.0) -> list[float]:
        """Ask at every step for this long, and return the moments of the restarts since the beginning."""
        end, allowed = self.now + seconds, []
        while self.now < end:
            if not self.ask():
                allowed.append(self.now - START)
            self.now += step
        return allowed


@pytest.fixture
def clock(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, for a service with three restarts in thirty seconds."""
    service = load_project(project.root, {}).services["api"]
    made = Clock(replace(service, budget=Budget(3, 30.0, calm=30.0)))
    monkeypatch.setattr(time, "time", lambda: made.now)
    return made


def test_nothing_is_refused_while_the_budget_lasts(clock: Clock) -> None:
    assert [clock.ask() for _ in range(3)] == ["", "", ""]
    assert not backoff.waits(clock.state)


def test_the_budget_is_found_spent_once(clock: Clock) -> None:
    answers = [clock.ask() for _ in range(6)]

    assert answers == ["", "", "", "budget, first", "budget", "budget"]
    assert backoff.waits(clock.state)


def test_restarts_out_of_the_window_do_not_count(clock: Clock) -> None:
    clock.sick_for(2)

    clock.now += 30
    answers = [clock.ask() for _ in range(4)]

    assert answers == ["", "", "", "budget, first"]


def test_single_restarts_follow_each_after_twice_the_time(clock: Clock) -> None:
    restarts = clock.sick_for(700)

    # Three as budgeted. The first leaves the window at 30; from then on 20, 40, 80 and so on lie between.
    assert restarts == [0, 1, 2, 30, 50, 90, 170, 330, 650]


def test_the_reason_names_the_moment_until_which_it_waits(clock: Clock) -> None:
    clock.sick_for(31)

    refused = backoff.refusal(clock.service, clock.state)

    assert refused is not None
    assert not refused.first
    assert refused.why.key == "budget_wait"
    moment = time.strftime("%H:%M:%S", time.localtime(START + 50))
    assert f"the next restart is tried after {moment}, or now by `auto-heal restart api`" in str(refused.why)


def test_the_delay_does_not_grow_beyond_an_hour(clock: Clock) -> None:
    restarts = clock.sick_for(12 * 3600, step=5)

    gaps = [later - earlier for earlier, later in pairwise(restarts)]
    assert max(gaps) == LONGEST_DELAY
    assert gaps[-2:] == [LONGEST_DELAY, LONGEST_DELAY]


def test_the_budget_begins_anew_when_nobody_asked_for_its_window(clock: Clock) -> None:
    clock.sick_for(100)

    clock.now += 30
    answers = [clock.ask() for _ in range(4)]

    assert answers == ["", "", "", "budget, first"]


def test_a_service_that_stays_well_for_less_than_the_window_has_to_wait(clock: Clock) -> None:
    clock.sick_for(100)

    clock.now += 28

    assert clock.ask() == "budget_wait"


def test_a_clock_that_is_set_back_does_not_put_a_restart_off_for_longer_than_the_longest_delay(clock: Clock) -> None:
    clock.sick_for(12 * 3600, step=5)

    clock.now -= 30 * 86_400
    restarts = clock.sick_for(LONGEST_DELAY + 60, step=10)

    assert restarts


def test_a_clock_that_is_set_forward_is_a_window_without_trouble(clock: Clock) -> None:
    clock.sick_for(12 * 3600, step=5)

    clock.now += 30 * 86_400

    assert clock.ask() == ""


def test_a_budget_of_nothing_allows_nothing_and_says_so_once(clock: Clock) -> None:
    clock.service = replace(clock.service, budget=Budget(0, 30.0, calm=30.0))

    answers = [clock.ask() for _ in range(3)]

    assert answers == ["budget, first", "budget", "budget"]
    assert clock.sick_for(7200, step=10) == []


def test_what_is_remembered_of_it_survives_a_change_of_the_budget(clock: Clock) -> None:
    clock.sick_for(100)

    clock.service = replace(clock.service, budget=Budget(100, 600.0, calm=600.0))

    assert clock.ask() == "budget_wait"
    assert clock.state.delay > 0


# What is left of the budget.


def test_what_is_left_counts_down_to_the_refusal(clock: Clock) -> None:
    found = []
    for _ in range(4):
        found.append(backoff.left(clock.service, clock.state))
        clock.ask()

    assert found == [3, 2, 1, 0]


def test_a_service_that_was_stopped_by_hand_has_nothing_left(clock: Clock) -> None:
    clock.state.stopped_by_hand = True

    assert backoff.left(clock.service, clock.state) == 0


@pytest.mark.parametrize(("seconds", "left"), [(4, 0), (30, 1), (31, 0), (50, 1)])
def test_one_restart_is_left_when_the_delay_of_a_spent_budget_is_over_and_none_before(
    clock: Clock, seconds: float, left: int
) -> None:
    clock.sick_for(seconds)

    assert backoff.left(clock.service, clock.state) == left


def test_no_restart_waits_while_the_budget_lasts(clock: Clock) -> None:
    clock.sick_for(3)

    assert (clock.state.delay, clock.state.not_before) == (0.0, 0.0)


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_budget_of_one_restart_or_none_waits_for_its_whole_window(clock: Clock, restarts: int) -> None:
    clock.service = replace(clock.service, budget=Budget(restarts, 30.0, calm=30.0))

    clock.sick_for(restarts + 1)

    assert clock.state.delay == 30.0


def test_asking_what_is_left_spends_nothing(clock: Clock) -> None:
    clock.sick_for(30)
    before = msgspec.json.encode(clock.state)

    backoff.left(clock.service, clock.state)

    assert msgspec.json.encode(clock.state) == before


def test_a_spent_budget_waits_for_its_share_of_the_window_before_the_next_restart(clock: Clock) -> None:
    clock.sick_for(4)

    # Found spent three seconds after the start; ten seconds are a third of the window.
    assert (clock.state.delay, clock.state.not_before) == (10.0, START + 3 + 10)


def test_a_restart_that_is_taken_back_leaves_the_budget_as_it_was(clock: Clock) -> None:
    clock.sick_for(31)
    before, encoded = Spent.of(clock.state), msgspec.json.encode(clock.state)
    clock.now += 60
    assert clock.ask() == ""

    before.put(clock.state)

    assert msgspec.json.encode(clock.state) == encoded
    assert Spent.of(ServiceState()) == Spent()
    # What is restored later must not change with the state.
    assert before.restarts == tuple(clock.state.restarts)
    clock.state.restarts.append(0.0)
    assert before.restarts != tuple(clock.state.restarts)


@pytest.mark.parametrize(("quiet", "waits"), [(29.0, True), (30.0, True), (31.0, False)])
def test_a_spent_budget_waits_until_the_service_was_well_for_as_long_as_it_says(
    clock: Clock, quiet: float, *, waits: bool
) -> None:
    clock.state.delay, clock.state.troubled_at = 0.5, clock.now

    clock.now += quiet

    assert backoff.waits_still(clock.service, clock.state) is waits
    assert backoff.waits(clock.state)


def test_a_budget_that_was_not_spent_waits_for_nothing(clock: Clock) -> None:
    clock.state.troubled_at = clock.now

    assert not backoff.waits_still(clock.service, clock.state)


# Starts that fail.


def fail_for(clock: Clock, seconds: float) -> list[float]:
    """Try a start that fails whenever it may be tried, for this long; return the moments of the tries."""
    end, tries = clock.now + seconds, list[float]()
    while clock.now < end:
        if backoff.refusal(clock.service, clock.state) is None:
            backoff.count_restart(clock.state)
            backoff.count_failed_start(clock.service, clock.state)
            tries.append(clock.now - START)
        clock.now += 1.0
    return tries


def test_a_start_that_fails_is_tried_again_after_twice_the_time_up_to_a_minute(clock: Clock) -> None:
    tries = fail_for(clock, 260)

    assert [after - before for before, after in pairwise(tries)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_tries_of_ten_minutes_are_one_restart_of_the_budget(clock: Clock) -> None:
    clock.service = replace(clock.service, budget=Budget(3, 7_200.0, calm=7_200.0))

    fail_for(clock, 600)
    first = len(clock.state.restarts)
    fail_for(clock, 600)

    assert (first, len(clock.state.restarts)) == (1, 2)


def test_a_budget_that_tries_have_spent_is_waited_for_like_any_other(clock: Clock) -> None:
    clock.service = replace(clock.service, budget=Budget(1, 7_200.0, calm=7_200.0))

    fail_for(clock, 661)

    assert clock.ask() == "budget"
    assert clock.state.delay == LONGEST_DELAY


def test_a_start_that_becomes_ready_ends_the_tries(clock: Clock) -> None:
    fail_for(clock, 1)

    backoff.count_ready_start(clock.state)

    assert clock.ask() == ""
    assert clock.state.delay == 0


def test_tries_of_an_earlier_incident_are_over(clock: Clock) -> None:
    fail_for(clock, 8)
    clock.now += 1

    refused = backoff.refusal(clock.service, clock.state, since=clock.now - 0.5)

    assert refused is None
    assert clock.state.failed_starts == 0
    assert not backoff.is_another_try(clock.state)


def test_tries_of_this_incident_go_on(clock: Clock) -> None:
    fail_for(clock, 8)

    refused = backoff.refusal(clock.service, clock.state, since=START - 1)

    assert refused is not None
    assert refused.waits_for_try
    assert refused.why.key == "next_try"


def test_a_failed_start_after_a_spent_budget_keeps_the_longer_delay(clock: Clock) -> None:
    clock.sick_for(40)
    delay, not_before = clock.state.delay, clock.state.not_before

    backoff.count_failed_start(clock.service, clock.state)

    assert delay > 0
    assert (clock.state.delay, clock.state.not_before, clock.state.failed_starts) == (delay, not_before, 0)


def test_a_process_that_may_still_be_booting_gets_more_time_than_the_delay(clock: Clock) -> None:
    assert backoff.refusal(clock.service, clock.state) is None
    backoff.count_restart(clock.state)
    backoff.count_failed_start(clock.service, clock.state, patience=90.0)

    answers = []
    for _ in range(6):
        clock.now += 15
        answers.append(clock.ask())

    assert answers == ["next_try"] * 5 + [""]
    assert clock.state.delay == 1
