"""The exit codes are an interface: pipelines compare these numbers."""

from __future__ import annotations

import pytest

from remediation.system import exit_codes


def test_the_first_exit_codes_are_those_of_pytest() -> None:
    ours = [
        exit_codes.PASSED, exit_codes.FAILED, exit_codes.INTERRUPTED, exit_codes.INTERNAL_ERROR,
        exit_codes.USAGE_ERROR, exit_codes.NO_CHECKS,
    ]  # fmt: skip

    assert ours == [*pytest.ExitCode][:6] == [0, 1, 2, 3, 4, 5]


def test_our_own_exit_codes_are_ten_and_eleven() -> None:
    assert (exit_codes.HEALED, exit_codes.ROLLED_BACK) == (10, 11)


def test_only_these_codes_report_the_health_of_the_services() -> None:
    assert exit_codes.VERDICTS == (0, 1, 10, 11)
