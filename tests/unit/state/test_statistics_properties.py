"""For any history, shares are shares, durations are not negative, and counts add up."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import outcome_of
from past import BEGIN, NOW, SINCE, chapters, no_past
from properties import looking_at
from remediations import remediation

from remediation.checks.results import Attempt, CheckResult, RoundFindings, over_all_rounds
from remediation.messages.formatting import duration, spoken
from remediation.state.records import CheckOutcome, Result, Run
from remediation.state.remediation import Remediation, RemediationResult
from remediation.state.statistics import Figures

# Seconds after the begin of the window: also before it, after its end, and the same moment several times.
MOMENTS = st.sampled_from([-100.0, 0.0, 1.0, 1.0, 5_000.0, SINCE, SINCE + 100]) | st.floats(-SINCE, 2 * SINCE)
SPANS = st.sampled_from([0.0, 0.001, 30.0, 700.0]) | st.floats(-100, 5_000)
SUBJECTS = st.sampled_from([("service", "api"), ("service", "db"), ("check", "x::a"), ("check", "x::b")])


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Return a run with passed, failed, healed and skipped checks, by any clock."""
    at, took = BEGIN + draw(MOMENTS), draw(SPANS)
    results = []
    for kind, key in draw(st.lists(SUBJECTS, min_size=1, max_size=3, unique=True)):
        failed_at = draw(st.none() | SPANS.map(lambda span: at + span))
        passed_at = draw(st.none() | SPANS.map(lambda span: at + span))
        latency = draw(st.none() | st.floats(0, 10))
        services = ["api"] if key == "x::a" else []
        outcome, began = outcome_of(failed_at, passed_at), at + draw(SPANS)
        results.append(
            Result(kind, key, key, services, began, outcome, failed_at, passed_at, latency, message="m")  # type: ignore[arg-type]
        )
    interval = draw(st.none() | st.sampled_from([1.0, 30.0, 3_600.0]))
    return Run(at, at + took, "monitor" if interval else "check", "", interval, results)


HEALS = st.builds(
    remediation, st.sampled_from(["api", "db", "gone"]), MOMENTS.map(lambda at: BEGIN + at), ok=st.booleans()
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one history after another."""
    return tmp_path_factory.mktemp("past")


@looking_at(60)
@given(past=st.lists(runs(), min_size=1, max_size=6), heals=st.lists(HEALS, max_size=3))
def test_shares_are_shares_and_durations_are_not_negative(
    root: Path, past: list[Run], heals: list[Remediation]
) -> None:
    history = no_past(root)
    for stale in (root / ".auto-heal").glob("history.db*"):
        stale.unlink()
    for run in past:
        history.record_run(run)
    for heal in heals:
        history.record_remediation(heal)

    found = chapters(history)

    for chapter in found:
        for one in filter(None, [chapter.service, *chapter.checks]):
            is_sound(one)


def is_sound(one: Figures) -> None:
    """Assert that statistics are plausible."""
    assert 0 <= one.passed <= one.runs
    for share in (one.uptime_of_checks, one.uptime_of_time):
        assert share is None or 0 <= share <= 1, one
    # Adding up what SQLite has rounded differs in the last digits.
    assert -1e-6 <= one.down <= one.watched + 1e-6, one
    assert one.watched <= SINCE + 1e-6
    assert one.mtbf is None or one.mtbf >= -1e-6
    for percentiles in filter(None, (one.mttr, one.latency)):
        assert 0 <= percentiles.median <= percentiles.p95
    for bucket in one.timeline:
        assert -1e-6 <= bucket.down <= bucket.watched + 1e-6
    if one.heals:
        assert 0 <= one.heals.helped <= one.heals.ok <= one.heals.total
    assert one.down_since is None or one.down_since <= 2 * NOW


# Over all rounds.

CHECKS = st.sampled_from(["x::a", "x::b"])
OUTCOMES = st.sampled_from([CheckOutcome.PASSED, CheckOutcome.FAILED, CheckOutcome.SKIPPED])


@st.composite
def findings(draw: st.DrawFn) -> RoundFindings:
    """Return the findings of a round, in any combination."""
    results, attempts = [], []
    for nodeid in draw(st.lists(CHECKS, unique=True)):
        at, outcome = draw(st.floats(0, 1e6)), draw(OUTCOMES)
        passed = outcome is CheckOutcome.PASSED
        results.append(
            CheckResult(nodeid, nodeid, ["api"], at, outcome, at + 1 if passed else None, 0.5 if passed else None)
        )
        for number in range(draw(st.integers(0, 2))):
            final = outcome is CheckOutcome.FAILED and number == 0
            attempts.append(Attempt(nodeid, nodeid, False, "m", "E", "t", at + number, final, number, {"api": 0}))
    return RoundFindings(attempts, results)


@looking_at(150)
@given(
    rounds=st.lists(findings(), max_size=3),
    remediations=st.lists(
        st.builds(
            remediation,
            result=st.sampled_from(RemediationResult),
            answered_at=st.none() | st.floats(0, 1e6),
        ),
        max_size=2,
    ),
)
def test_each_check_and_service_has_one_result_whose_end_is_that_of_the_last_round(
    rounds: list[RoundFindings], remediations: list[Remediation]
) -> None:
    results = over_all_rounds(rounds, {"api": remediations} if remediations else {}, ["api"])

    keys = [(result.kind, result.key) for result in results]
    seen = {result.nodeid for found in rounds for result in found.results}
    assert len(keys) == len(set(keys))
    assert {key for kind, key in keys if kind == "check"} == seen
    assert ("service", "api") in keys or not seen
    for result in results:
        assert result.attempts >= 0
        assert result.outcome is outcome_of(result.failed_at, result.passed_at)
        if result.kind == "check":
            ends = [one.outcome for found in rounds for one in found.results if one.nodeid == result.key]
            said = [end for end in ends if end is not CheckOutcome.SKIPPED]
            assert result.outcome.is_well == (said[-1:] == [CheckOutcome.PASSED])
            assert result.outcome.has_failed == (CheckOutcome.FAILED in said)
    sick = any(result.outcome is CheckOutcome.FAILED for result in results if result.kind == "check")
    assert all(result.passed_at is None for result in results if result.kind == "service") or not sick


# Durations.


@looking_at(200)
@given(st.text("0123456789.dhmsDHMS -+eE_\t٣", max_size=14) | st.text(max_size=8))
def test_a_duration_is_positive_and_finite_or_is_told(text: str) -> None:
    with suppress(argparse.ArgumentTypeError):
        assert 0 < duration(text) <= 3_153_600_000


@looking_at(200)
@given(st.integers(0, 999), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_of_several_units_is_their_sum(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = 86_400 * days + 3_600 * hours + 60 * minutes + seconds
    if total:
        assert duration(f"{days}d{hours}h{minutes}m{seconds}s") == total
        assert duration(str(total)) == total


@looking_at(200)
@given(st.floats(-1e9, 1e11))
def test_a_duration_that_is_told_is_told_in_two_units_at_most(seconds: float) -> None:
    told = spoken(seconds)

    assert 1 <= len(told.split()) <= 2
    assert "-" not in told


def test_the_longest_duration_that_is_read_can_be_told() -> None:
    longest: Any = duration("36500d")

    assert spoken(longest) == "36500d"
