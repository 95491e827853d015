"""Measure latencies around a deployment. A single call says little, so each check is called several times.

The extra calls come first and are not reported; the last call is the ordinary check.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Mapping

import pytest

from remediation.checks.errors import Slower
from remediation.checks.pytest_internals import TestCaseFunction, run_unreported
from remediation.config.model import LatencyLimits
from remediation.deployment.comparison import slowdown
from remediation.messages.message import english

_EARLIER = pytest.StashKey[list[float]]()
_LATENCY = pytest.StashKey[float | None]()


class Sampling:
    """The plugin that measures checks and, if a baseline is given, fails those that became slower."""

    def __init__(self, limits: LatencyLimits, baseline: Mapping[str, float | None]) -> None:
        """Call each check as often as `limits` say; `baseline` has the old latencies by node ID."""
        self._limits = limits
        self._baseline = baseline

    @staticmethod
    def is_sample(item: pytest.Item) -> bool:
        """Return whether the current call of a check only measures its latency."""
        return _LATENCY not in item.stash

    @staticmethod
    def latency(item: pytest.Item) -> float | None:
        """Return the median latency of a check's calls, in seconds; None before the last call."""
        return item.stash[_LATENCY]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Call a check for its latency before the ordinary run."""
        properties = list(item.user_properties)
        item.stash[_EARLIER] = []
        if _may_be_repeated(item):
            for _ in range(self._limits.calls - 1):
                reports = run_unreported(item)
                item.user_properties[:] = properties
                if any(not report.passed for report in reports):
                    break
                item.stash[_EARLIER] += [report.duration for report in reports if report.when == "call"]
        item.stash[_LATENCY] = None
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Take the median of all calls, and fail a check that is slower than its baseline."""
        began = time.perf_counter()
        yield
        if self.is_sample(item):
            return
        median = statistics.median([*item.stash[_EARLIER], time.perf_counter() - began])
        item.stash[_LATENCY] = median
        if slower := slowdown(median, self._baseline.get(item.nodeid), self._limits):
            raise Slower(english("takes_longer", now=slower.now, before=slower.before), retry_is_pointless=True)


def _may_be_repeated(item: pytest.Item) -> bool:
    """Return whether a check can be called unreported and with a deadline for each call.

    pytest reports subtests at once, and a deadline for all calls together would strike too early.
    """
    marker = item.get_closest_marker("timeout")
    has_subtests = isinstance(item, TestCaseFunction) or "subtests" in getattr(item, "fixturenames", ())
    return marker is not None and bool(marker.kwargs.get("func_only")) and not has_subtests
