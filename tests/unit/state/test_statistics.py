"""The statistics: each rule on a small history worked out by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from past import BEGIN, SINCE, Round, chapters, no_past, record, result, service, well

from remediation.state.history import History
from remediation.state.records import CheckOutcome, Measurement, Result, Run
from remediation.state.statistics import Measured, Percentiles


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return the history of an empty project."""
    return no_past(tmp_path)


# Uptime.


def test_uptime_of_checks_is_the_share_of_runs_without_a_failure_for_good(history: History) -> None:
    found = service(history, [*well(0, 10, 20), (30, 30, 35), (40, 40, None), (50, None, None)])

    assert (found.runs, found.passed, found.skipped) == (5, 3, 1)
    assert found.uptime_of_checks == 0.6


@pytest.mark.parametrize(
    ("interval", "moments", "watched"),
    [
        (None, [0, 100, 300], 300 + 600),
        (None, [0, 1_000], 600 + 600),
        (None, [9_900], 100),
        (30.0, [0, 30, 60], 60 + 90),
        (30.0, [0, 89, 179.5], 89 + 90 + 90),
        (1000.0, [0, 2_500], 2_500 + 3_000),
        (1000.0, [9_000], 1_000),
    ],
)
def test_a_result_vouches_until_the_next_one_or_now_but_only_for_so_long(
    history: History, interval: float | None, moments: list[float], watched: float
) -> None:
    found = service(history, well(*moments), interval=interval)

    assert found.watched == pytest.approx(watched)
    assert found.down == 0
    assert found.uptime_of_time == 1.0


@pytest.mark.parametrize(
    ("rounds", "down"),
    [
        ([(0, 2, 30)], 28),
        ([(0, 0, None)], 600),
        ([(0, 5, None), (100, None, 100)], 95),
        ([(0, 0, None), (100, 101, None), (200, 200, 260)], 100 + 99 + 60),
        ([(0, 0, 700)], 600),
        ([(0, 0, 150), (100, None, 100)], 100),
        ([(0, 120, 150), (100, None, 100)], 0),
        ([(50, 40, 60), (700, None, 700)], 10),
    ],
    ids=[
        "healed in the run", "until the end of the credit", "until the next one", "through three runs",
        "longer than the credit", "longer than until the next one", "after the credit", "before the credit",
    ],
)  # fmt: skip
def test_within_the_credit_it_is_down_from_the_first_failed_attempt_until_it_passed(
    history: History, rounds: list[Round], down: float
) -> None:
    found = service(history, rounds)

    assert found.down == pytest.approx(down)
    assert found.uptime_of_time == pytest.approx(1 - down / found.watched)


def test_a_skipped_check_neither_vouches_nor_ends_what_its_predecessor_vouches_for(history: History) -> None:
    found = service(history, [(0, None, 0), (100, None, None), (5_000, None, None)])

    assert found.watched == pytest.approx(600)
    assert (found.runs, found.skipped) == (1, 2)


def test_what_was_only_skipped_has_no_uptime(history: History) -> None:
    found = service(history, [(0, None, None)])

    assert (found.uptime_of_checks, found.uptime_of_time, found.skipped) == (None, None, 1)


def test_a_run_vouches_from_its_end_on_however_long_it_took(history: History) -> None:
    record(history, result(0, 0, 25), interval=2.0, took=30)

    (found,) = [chapter.service for chapter in chapters(history) if chapter.service]

    assert (found.watched, found.down) == (36, 25)


def test_only_results_of_the_window_count(history: History) -> None:
    found = service(history, [*well(-1, 100), (SINCE, None, SINCE), (SINCE + 1, SINCE + 1, None)])

    assert (found.runs, found.failures) == (2, 0)
    assert found.watched == pytest.approx(600)


# Incidents.


@pytest.mark.parametrize(
    ("rounds", "failures", "repairs"),
    [
        (well(0, 10), 0, []),
        ([(0, 1, 5)], 1, [4]),
        ([(0, 0, 5), (10, 10, 15)], 2, [5, 5]),
        ([*well(0), (10, 11, None), (20, 20, None), (30, 30, None), (40, None, 41)], 1, [30]),
        ([(0, 0, None), (10, 10, 17), *well(20)], 1, [17]),
        ([(0, 0, None), (10, None, 10), (20, 20, None), (30, None, 33)], 2, [10, 13]),
        ([(0, 0, None), (10, None, None), (20, 20, None), (30, None, 30)], 1, [30]),
        ([(10, 10, 9)], 1, [0]),
    ],
    ids=[
        "none", "closed in its run", "two in two runs", "over several runs", "closed by a run that failed too",
        "two over several runs", "with a skip in between", "a clock that was set back",
    ],
)  # fmt: skip
def test_an_incident_lasts_from_its_first_failure_until_it_passes(
    history: History, rounds: list[Round], failures: int, repairs: list[float]
) -> None:
    found = service(history, rounds)

    assert found.failures == failures
    assert found.down_since is None
    assert found.mttr == (Percentiles(repairs[0], repairs[-1]) if repairs else None)


def test_an_incident_that_is_open_counts_and_has_no_repair_time(history: History) -> None:
    found = service(history, [(0, 0, 5), *well(10), (20, 21, None), (30, 30, None)])

    assert found.failures == 2
    assert found.down_since == BEGIN + 21
    assert found.mttr == Percentiles(5, 5)


def test_an_incident_that_was_open_when_the_window_began_begins_with_its_first_result_in_it(history: History) -> None:
    found = service(history, [(-50, -50, None), (-20, -20, None), (10, 10, None), (40, None, 40)])

    assert found.failures == 1
    assert found.mttr == Percentiles(30, 30)


def test_percentiles_are_by_nearest_rank(history: History) -> None:
    durations = list(range(1, 21))
    random.Random(5).shuffle(durations)

    found = service(history, [(100 * n, 100 * n, 100 * n + length) for n, length in enumerate(durations)])

    assert found.mttr == Percentiles(10, 19)


def test_mean_time_between_failures_is_the_time_it_was_well_by_the_number_of_failures(history: History) -> None:
    assert service(history, well(0)).mtbf is None

    found = service(history, [(100, 100, 150), (200, 200, None)])

    assert found.mtbf == pytest.approx((800 - 50 - 600) / 2)


def test_latency_is_that_of_what_passed(history: History) -> None:
    for n, latency in enumerate([0.3, 0.1, None, 0.2, 0.9]):
        record(history, result(n, None if latency else n, n, latency=latency))

    assert service(history).latency == Percentiles(0.2, 0.9)


# The timeline.


def test_the_timeline_says_when_it_was_well_and_down_and_when_nobody_looked(history: History) -> None:
    rounds = [*well(50), (250, 275, None), (300, None, 310), *well(450)]

    timeline = service(history, rounds, since=6_000, now=BEGIN + 6_000).timeline

    assert [(one.watched, one.down) for one in timeline[:11]] == [
        (50, 0), (100, 0), (100, 25), (100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (50, 0)
    ]  # fmt: skip
    assert {(one.watched, one.down) for one in timeline[11:]} == {(0, 0)}
    assert len(timeline) == 60


# Measurements.


def test_a_measurement_is_told_by_its_last_value_and_percentiles(history: History) -> None:
    for number in range(20):
        measured = [Measurement("memory", float((number * 7) % 20), "B"), Measurement("tcp", 0.5, "s")]
        check = Result(
            "check", "t.py::a", "/a", ["api"], BEGIN + number, CheckOutcome.PASSED, passed_at=BEGIN + number,
            measurements=measured,
        )  # fmt: skip
        history.record_run(Run(BEGIN + number, BEGIN + number, "check", "healthy", None, [check]))

    (chapter,) = chapters(history)

    assert chapter.checks[0].measurements == [
        Measured("memory", "B", 13.0, 9.0, 18.0),
        Measured("tcp", "s", 0.5, 0.5, 0.5),
    ]
