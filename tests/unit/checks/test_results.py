"""The results that the history records: of each check in a round, and over all rounds and heals of a run."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from remediations import remediation

from remediation.checks.results import Attempt, CheckResult, Ends, Results, RoundFindings, over_all_rounds, places
from remediation.state.records import CheckOutcome, Result
from remediation.state.remediation import Remediation
from remediation.supervision.attempt_log import NOTE

Phase = Literal["setup", "call", "teardown"]
NODE, OTHER = "healthtests/test_a.py::test_a", "healthtests/test_b.py::test_b"


def report(when: Phase, outcome: Any, start: float = 0.0, nodeid: str = NODE, **noted: Any) -> pytest.TestReport:
    """Return a report of pytest that took half a second; its check is at line 7, which pytest counts as 6."""
    made = pytest.TestReport(
        nodeid, (nodeid.partition("::")[0], 6, ""), {}, outcome, None, when, duration=0.5, start=start, stop=start + 0.5
    )
    setattr(made, NOTE, {"check": nodeid[-6:], "services": ["api"], **noted})
    return made


# One round.

PASSED, FAILED, SKIPPED, RERUN = "passed", "failed", "skipped", "rerun"
# The reports of one check, phase by phase, each a second after the other, and what became of it.
ROUNDS: dict[str, tuple[list[tuple[Phase, str]], tuple[str, float | None, float | None]]] = {
    "it passes": ([("setup", PASSED), ("call", PASSED), ("teardown", PASSED)], (PASSED, 1.0, 0.5)),
    "it fails": ([("setup", PASSED), ("call", FAILED), ("teardown", PASSED)], (FAILED, None, None)),
    "its set-up fails": ([("setup", FAILED), ("teardown", PASSED)], (FAILED, None, None)),
    "its teardown fails": ([("setup", PASSED), ("call", PASSED), ("teardown", FAILED)], (FAILED, None, None)),
    "it skips itself": ([("setup", PASSED), ("call", SKIPPED), ("teardown", PASSED)], (SKIPPED, None, None)),
    "its set-up skips it": ([("setup", SKIPPED), ("teardown", PASSED)], (SKIPPED, None, None)),
    "it passes when tried again": (
        [("setup", PASSED), ("call", RERUN), ("teardown", PASSED),
         ("setup", PASSED), ("call", PASSED), ("teardown", PASSED)],
        (PASSED, 4.0, 0.5),
    ),
    "it fails when tried again": (
        [("setup", PASSED), ("call", RERUN), ("teardown", PASSED),
         ("setup", PASSED), ("call", FAILED), ("teardown", PASSED)],
        (FAILED, None, None),
    ),
    "its set-up is tried again": (
        [("setup", RERUN), ("teardown", PASSED), ("setup", PASSED), ("call", PASSED), ("teardown", PASSED)],
        (PASSED, 3.0, 0.5),
    ),
    "a plugin repeats it in a way of its own": (
        [("setup", PASSED), ("call", "retried"), ("teardown", PASSED)], (SKIPPED, None, None)
    ),
    "it broke off before another try": (
        [("setup", PASSED), ("call", RERUN), ("teardown", PASSED)], (SKIPPED, None, None)
    ),
}  # fmt: skip


@pytest.mark.parametrize(("reports", "expected"), ROUNDS.values(), ids=ROUNDS.keys())
def test_what_becomes_of_a_check_in_a_round(
    reports: list[tuple[Phase, str]], expected: tuple[str, float | None, float | None]
) -> None:
    results = Results()

    for second, (when, outcome) in enumerate(reports):
        results.add(report(when, outcome, float(second)))

    (result,) = results.all
    assert (result.outcome.value, result.passed_at, result.latency) == expected
    assert (result.nodeid, result.check, result.services, result.at) == (NODE, "test_a", ["api"], 0.0)


def test_checks_stay_apart_and_in_the_order_in_which_they_began() -> None:
    results = Results()

    for nodeid in (OTHER, NODE):
        results.add(report("setup", PASSED, nodeid=nodeid))
    results.add(report("call", FAILED, nodeid=NODE))
    results.add(report("call", PASSED, nodeid=OTHER))

    assert [(one.nodeid, one.outcome.value) for one in results.all] == [(OTHER, PASSED), (NODE, FAILED)]


def test_a_check_has_its_place() -> None:
    results = Results()

    results.add(report("setup", PASSED))
    results.add(report("call", FAILED))

    assert [(one.file, one.line) for one in results.all] == [("healthtests/test_a.py", 7)]


def test_a_check_that_is_no_function_has_no_line() -> None:
    results, made = Results(), report("call", PASSED)
    made.location = ("checks.yaml", None, "a check")

    results.add(made)

    assert [(one.file, one.line) for one in results.all] == [("checks.yaml", None)]


def test_the_places_of_all_rounds_are_known() -> None:
    first, second = Results(), Results()
    first.add(report("call", FAILED))
    second.add(report("call", PASSED, nodeid=OTHER))

    found = places([RoundFindings([], first.all), RoundFindings([], second.all)])

    assert found == {NODE: ("healthtests/test_a.py", 7), OTHER: ("healthtests/test_b.py", 7)}


# All rounds.


def attempt(at: float, nodeid: str = NODE, *, final: bool = True, message: str = "ill", number: int = 0) -> Attempt:
    """Return a failed attempt at a check of api."""
    return Attempt(nodeid, nodeid[-6:], False, message, "Failed", "", at, final, number, {"api": 0})


def became(outcome: str, passed_at: float | None = None, nodeid: str = NODE, at: float = 1.0) -> CheckResult:
    """Return the result of a check of api in a round."""
    latency = None if passed_at is None else 0.25
    return CheckResult(nodeid, nodeid[-6:], ["api"], at, CheckOutcome(outcome), passed_at, latency)


def healed(answered_at: float | None, *, ok: bool = True) -> Remediation:
    """Return a heal of api."""
    return remediation(ok=ok, answered_at=answered_at)


def results_of(*rounds: RoundFindings, done: list[Remediation] | None = None) -> dict[str, Result]:
    """Return the results for the history, by key."""
    found = over_all_rounds(rounds, {"api": done or []}, ["api", "db"])
    return {one.key: one for one in found}


def times(result: Result) -> tuple[float | None, float | None]:
    """Return when it failed, and when it passed again."""
    return result.failed_at, result.passed_at


def test_a_healthy_run_has_the_moments_and_the_latency_of_the_calls_that_passed() -> None:
    results = results_of(RoundFindings([], [became(PASSED, 3.0), became(PASSED, 5.0, OTHER, at=4.0)]))

    assert [times(results[key]) for key in (NODE, OTHER, "api")] == [(None, 3.0), (None, 5.0), (None, 3.0)]
    assert (results[NODE].latency, results[NODE].attempts, results[NODE].message) == (0.25, 1, None)
    assert [results[key].kind for key in (NODE, "api")] == ["check", "service"]
    assert not any(one.outcome.has_failed for one in results.values())


def test_a_service_that_no_check_asked_has_no_result() -> None:
    assert "db" not in results_of(RoundFindings([], [became(PASSED, 3.0)]))


def test_a_healed_run_failed_and_then_was_well_the_service_when_it_answered_again() -> None:
    first = RoundFindings([attempt(2.0)], [became(FAILED), became(SKIPPED, nodeid=OTHER)])
    second = RoundFindings([], [became(PASSED, 9.0), became(PASSED, 9.5, OTHER)])

    results = results_of(first, second, done=[healed(7.0)])

    assert [times(results[key]) for key in (NODE, OTHER, "api")] == [(2.0, 9.0), (None, 9.5), (2.0, 7.0)]
    assert (results[NODE].attempts, results[OTHER].attempts) == (2, 1)
    assert [results[key].message for key in (NODE, "api")] == ["ill", "ill"]


def test_of_several_heals_the_last_that_helped_is_when_it_answered_again() -> None:
    ill = RoundFindings([attempt(2.0)], [became(FAILED)])
    well = RoundFindings([], [became(PASSED, 9.0)])

    results = results_of(ill, ill, well, done=[healed(3.0), healed(None, ok=False), healed(8.0)])

    assert times(results["api"]) == (2.0, 8.0)


def test_a_run_that_ends_sick_leaves_check_and_service_sick() -> None:
    ill = RoundFindings([attempt(2.0)], [became(FAILED)])
    still = RoundFindings([attempt(8.0, message="worse")], [became(FAILED)])

    results = results_of(ill, still, done=[healed(7.0)])

    assert [times(results[key]) for key in (NODE, "api")] == [(2.0, None), (2.0, None)]
    assert all(one.outcome is CheckOutcome.FAILED for one in results.values())
    assert (results[NODE].attempts, results[NODE].message) == (2, "ill")


def test_a_service_is_sick_as_long_as_one_of_its_checks_is() -> None:
    ill = RoundFindings([attempt(2.0), attempt(3.0, OTHER)], [became(FAILED), became(FAILED, nodeid=OTHER)])
    half = RoundFindings([attempt(9.0, OTHER)], [became(PASSED, 9.0), became(FAILED, nodeid=OTHER)])

    results = results_of(ill, half, done=[healed(7.0)])

    assert [times(results[key]) for key in (NODE, OTHER, "api")] == [(2.0, 9.0), (3.0, None), (2.0, None)]


def test_a_pass_after_failed_attempts_is_no_failure_but_counts_them() -> None:
    failed = [attempt(1.0, final=False), attempt(2.0, final=False, number=1)]

    results = results_of(RoundFindings(failed, [became(PASSED, 3.0)]))

    assert times(results[NODE]) == times(results["api"]) == (None, 3.0)
    assert results[NODE].attempts == 3


def test_a_failure_began_with_the_first_of_its_attempts() -> None:
    failed = [attempt(1.0, final=False), attempt(2.0, final=False, number=1), attempt(3.0, number=2)]

    results = results_of(RoundFindings(failed, [became(FAILED)]))

    assert times(results["api"]) == (1.0, None)
    assert results[NODE].attempts == 3


def test_a_skip_after_a_failure_proves_nothing() -> None:
    ill = RoundFindings([attempt(2.0)], [became(FAILED)])

    results = results_of(ill, RoundFindings([], [became(SKIPPED)]), done=[healed(7.0)])

    assert times(results[NODE]) == times(results["api"]) == (2.0, None)


def test_a_check_that_is_gone_in_the_second_round_stays_what_it_was() -> None:
    ill = RoundFindings([attempt(2.0)], [became(FAILED)])

    results = results_of(ill, RoundFindings([], []), done=[healed(7.0)])

    assert times(results[NODE]) == times(results["api"]) == (2.0, None)


def test_a_service_that_was_skipped_says_nothing() -> None:
    results = results_of(RoundFindings([], [became(SKIPPED)]))

    assert times(results[NODE]) == times(results["api"]) == (None, None)
    assert results[NODE].attempts == 0


def test_a_service_healed_without_an_answer_was_well_when_its_check_passed() -> None:
    ill = RoundFindings([attempt(2.0)], [became(FAILED)])

    results = results_of(ill, RoundFindings([], [became(PASSED, 9.0)]), done=[healed(None)])

    assert times(results["api"]) == (2.0, 9.0)


def test_only_a_heal_after_which_it_was_ready_says_when_a_service_answered_again() -> None:
    ill = RoundFindings([attempt(2.0)], [became(FAILED)])

    results = results_of(ill, RoundFindings([], [became(PASSED, 9.0)]), done=[healed(5.0), healed(7.0, ok=False)])

    assert times(results["api"]) == (2.0, 5.0)


def test_the_result_of_a_service_names_it_and_begins_with_its_first_check() -> None:
    results = results_of(RoundFindings([], [became(PASSED, 5.0, at=4.0), became(PASSED, 3.0, OTHER, at=2.0)]))

    assert (results["api"].at, results["api"].services, results["api"].passed_at) == (2.0, ["api"], 3.0)


def test_a_service_of_which_a_check_was_skipped_is_well_since_another_passed() -> None:
    results = results_of(RoundFindings([], [became(SKIPPED), became(PASSED, 5.0, OTHER)]))

    assert times(results["api"]) == (None, 5.0)


def test_a_service_failed_when_the_first_of_its_checks_did() -> None:
    failures = [attempt(3.0, OTHER, message="later"), attempt(2.0, message="first")]
    ill = RoundFindings(failures, [became(FAILED, nodeid=OTHER), became(FAILED)])

    result = results_of(ill)["api"]

    assert (result.failed_at, result.message) == (2.0, "first")


def test_a_failure_without_an_attempt_began_with_its_check() -> None:
    results = results_of(RoundFindings([], [became(FAILED, at=4.0)]))

    assert (times(results[NODE]), results[NODE].message) == ((4.0, None), None)


def test_a_failure_for_being_slow_alone_stays_one_in_the_history() -> None:
    slow = msgspec.structs.replace(attempt(2.0), only_slower=True)

    assert results_of(RoundFindings([slow], [became(FAILED)]))[NODE].only_slower


def test_the_latency_of_a_check_is_the_one_that_its_client_measured() -> None:
    results = Results()

    results.add(report("call", PASSED, latency=0.125))

    assert results.all[0].latency == 0.125


def test_a_check_that_failed_for_good_does_not_pass_when_a_later_call_does() -> None:
    results = Results()

    for outcome in (FAILED, PASSED):
        results.add(report("call", outcome))

    assert results.all[0].outcome is CheckOutcome.FAILED


@pytest.mark.parametrize(("outcome", "expected"), [(FAILED, FAILED), (RERUN, SKIPPED)])
def test_a_check_that_passed_and_then_did_not_has_no_moment_at_which_it_passed(outcome: str, expected: str) -> None:
    results = Results()

    results.add(report("call", PASSED))
    results.add(report("teardown", outcome))

    (result,) = results.all
    assert (result.outcome.value, result.passed_at, result.latency) == (expected, None, None)


# The ends of checks.

ONCE: list[tuple[Phase, str]] = [("setup", PASSED), ("call", PASSED), ("teardown", PASSED)]


def missing(reports: list[tuple[Any, str]]) -> set[str]:
    """Return which of two checks are missing after these reports of the first."""
    ends = Ends()
    for when, outcome in reports:
        ends.add(report(when, outcome))
    return ends.missing([NODE, OTHER])


@pytest.mark.parametrize(
    "reports",
    [
        ONCE,
        [("setup", FAILED), ("teardown", PASSED)],
        [("setup", PASSED), ("call", RERUN), ("teardown", PASSED), *ONCE],
        [("setup", RERUN), ("teardown", PASSED), *ONCE],
    ],
    ids=["it passes", "its set-up fails", "it is tried again", "its set-up is tried again"],
)
def test_a_check_has_ended_with_the_teardown_of_its_last_attempt(reports: list[tuple[Phase, str]]) -> None:
    assert missing(reports) == {OTHER}


@pytest.mark.parametrize(
    "reports",
    [
        [],
        ONCE[:1],
        ONCE[:2],
        [("setup", PASSED), ("call", RERUN), ("teardown", PASSED)],
        [("setup", PASSED), ("call", RERUN), ("teardown", PASSED), *ONCE[:2]],
        [*ONCE, ("???", FAILED)],
    ],
    ids=["never began", "set-up alone", "no teardown", "to be tried again", "broke off again", "its worker crashed"],
)
def test_a_check_without_the_teardown_of_a_last_attempt_is_missing(reports: list[tuple[Any, str]]) -> None:
    assert missing(reports) == {NODE, OTHER}
