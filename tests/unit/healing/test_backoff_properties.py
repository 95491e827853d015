"""Restarts and delays stay bounded, however often a service fails and however the clock is set."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from properties import looking_at

from remediation.config.load import load_project
from remediation.config.model import Budget, Service
from remediation.healing import backoff
from remediation.healing.backoff import LONGEST_DELAY
from remediation.state.service_state import ServiceState

# From one question to the next, in seconds.
STEPS = st.sampled_from([0.0, 0.001, 1.0, 7.0, 60.0, 601.0, 3_600.0]) | st.floats(0, 5_000)
JUMPS = STEPS | st.sampled_from([-86_400.0, -3_600.0, -1.0, 1e7, -1e6, 86_400.0]) | st.floats(-1e5, 1e5)
BUDGETS = st.tuples(st.integers(0, 6), st.sampled_from([1.0, 30.0, 600.0, 7_200.0]))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service."""
    (tmp_path / "auto-heal.toml").write_text('[services.api]\ncommand = "x"\n')
    return load_project(tmp_path, {}).services["api"]


@pytest.fixture
def ask(service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[[ServiceState, Budget, float], bool]:
    """Ask for a restart at a moment; record it if it is allowed, and return whether it is."""
    moment = 0.0
    monkeypatch.setattr(time, "time", lambda: moment)

    def asked(state: ServiceState, limits: Budget, now: float) -> bool:
        nonlocal moment
        moment = now
        limited: Service = replace(service, budget=limits)
        if backoff.refusal(limited, state):
            return False
        state.restarts.append(now)
        return True

    return asked


Ask = Callable[[ServiceState, Budget, float], bool]


@looking_at(300)
@given(
    limits=BUDGETS,
    steps=st.lists(JUMPS, max_size=40),
    calm=st.sampled_from([1.0, 600.0, 7_200.0]),
    stopped=st.booleans(),
)
def test_what_is_left_of_a_budget_is_what_would_be_granted_and_looking_changes_nothing(
    ask: Ask, service: Service, limits: tuple[int, float], steps: list[float], calm: float, *, stopped: bool
) -> None:
    restarts, window = limits
    budgeted, state, now = Budget(restarts, window, calm=max(window, calm)), ServiceState(), 1e9
    for step in steps:
        now += step
        ask(state, budgeted, now)
    state.stopped_by_hand = stopped
    before = msgspec.json.encode(state)

    left = backoff.left(replace(service, budget=budgeted), state)

    assert msgspec.json.encode(state) == before
    granted = 0
    # A stop by hand is a refusal of its own.
    while not stopped and ask(state, budgeted, now):
        granted += 1
    assert left == granted


@looking_at(300)
@given(limits=BUDGETS, steps=st.lists(STEPS, max_size=60))
def test_no_window_has_more_restarts_than_the_budget(ask: Ask, limits: tuple[int, float], steps: list[float]) -> None:
    restarts, window = limits
    state, now, allowed = ServiceState(), 1e9, list[float]()

    for step in steps:
        now += step
        if ask(state, Budget(restarts, window, calm=window), now):
            allowed.append(now)

    for moment in allowed:
        assert sum(moment - window < one <= moment for one in allowed) <= restarts


@looking_at(300)
@given(limits=BUDGETS, steps=st.lists(JUMPS, max_size=60))
def test_a_clock_that_jumps_neither_blocks_for_ever_nor_lets_run_free(
    ask: Ask, limits: tuple[int, float], steps: list[float]
) -> None:
    restarts, window = limits
    state, now = ServiceState(), 1e9

    for step in steps:
        now += step
        ask(state, Budget(restarts, window, calm=window), now)
        assert 0 <= state.delay <= LONGEST_DELAY
        assert state.not_before <= now + LONGEST_DELAY
        assert len(state.restarts) <= restarts
        assert all(moment <= now for moment in state.restarts)

    # Long enough after the last trouble, all begins anew, if there is any restart to be had.
    assert ask(state, Budget(restarts, window, calm=window), now + LONGEST_DELAY + window + 1) == (restarts > 0)


@looking_at(200)
@given(limits=BUDGETS.filter(lambda limits: limits[0] > 0), step=st.floats(0.5, 30.0))
def test_once_the_budget_is_spent_each_restart_doubles_the_wait_for_the_next(
    ask: Ask, limits: tuple[int, float], step: float
) -> None:
    restarts, window = limits
    state, now, waits = ServiceState(), 1e9, list[float]()

    for _ in range(300):
        now += step
        before = state.delay
        if ask(state, Budget(restarts, window, calm=max(window, 2 * step)), now) and before:
            waits.append(state.delay)
            assert state.delay == min(LONGEST_DELAY, 2 * before)
            assert state.not_before == now + state.delay

    assert waits == sorted(waits)
