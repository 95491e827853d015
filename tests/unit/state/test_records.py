"""The outcomes of checks and services: which have failed, which are well, and which is the worst."""

from __future__ import annotations

from itertools import combinations

import pytest

from remediation.state.records import CheckOutcome, Result

FROM_BAD_TO_GOOD = [CheckOutcome.FAILED, CheckOutcome.HEALED, CheckOutcome.PASSED, CheckOutcome.SKIPPED]


@pytest.mark.parametrize(
    ("outcome", "has_failed", "is_well"),
    [
        (CheckOutcome.FAILED, True, False),
        (CheckOutcome.HEALED, True, True),
        (CheckOutcome.PASSED, False, True),
        (CheckOutcome.SKIPPED, False, False),
    ],
)
def test_a_healed_check_has_failed_and_is_well_and_a_skipped_one_is_neither(
    outcome: CheckOutcome, *, has_failed: bool, is_well: bool
) -> None:
    assert (outcome.has_failed, outcome.is_well) == (has_failed, is_well)


@pytest.mark.parametrize(("worse", "better"), list(combinations(FROM_BAD_TO_GOOD, 2)))
def test_the_worst_outcome_is_the_one_that_users_must_hear_of_first(worse: CheckOutcome, better: CheckOutcome) -> None:
    assert CheckOutcome.worst([worse, better]) is worse
    assert CheckOutcome.worst([better, worse]) is worse


def test_the_worst_of_no_outcomes_is_a_skip() -> None:
    assert CheckOutcome.worst([]) is CheckOutcome.SKIPPED


def test_a_result_stands_for_one_attempt_that_was_not_slow_alone() -> None:
    result = Result("check", "t.py::a", "/a", ["api"], 0.0, CheckOutcome.PASSED)

    assert (result.attempts, result.only_slower) == (1, False)
