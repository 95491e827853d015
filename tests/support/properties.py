"""The settings of the property tests: the same examples in every run, and a number that fits the test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def looking_at(examples: int) -> settings:
    """Return settings for this many examples, which are the same in every run, however slow the machine is."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
