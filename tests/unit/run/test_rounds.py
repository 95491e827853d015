"""One round of a run: its code is the worst of its processes, and what cannot be read is no pass."""

from __future__ import annotations

import pytest

from remediation.run.rounds import worst
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, NO_CHECKS, PASSED, USAGE_ERROR

# Other plugins end a session with codes of their own; a killed process has the signal's number, below zero.
UNKNOWN = 6


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], PASSED),
        ([PASSED], PASSED),
        ([NO_CHECKS], PASSED),
        ([PASSED, NO_CHECKS], PASSED),
        ([NO_CHECKS, FAILED], FAILED),
        ([FAILED, PASSED], FAILED),
        ([FAILED, INTERRUPTED], INTERRUPTED),
        ([INTERRUPTED, USAGE_ERROR], USAGE_ERROR),
        ([USAGE_ERROR, INTERNAL_ERROR], INTERNAL_ERROR),
        ([PASSED, UNKNOWN], INTERNAL_ERROR),
        ([FAILED, UNKNOWN], INTERNAL_ERROR),
        ([PASSED, -9], INTERNAL_ERROR),
    ],
)
def test_the_code_of_a_round_is_the_worst_of_its_processes(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected
    assert worst(reversed(codes)) == expected
