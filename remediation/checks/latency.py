"""Beside a deployment: call each check several times, since a single latency says little.

The further calls come first and are not reported; the last one is the check as ever.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Mapping
from typing import Any, cast

import pytest
from _pytest.runner import runtestprotocol
from _pytest.unittest import TestCaseFunction

from remediation.checks.errors import Slower
from remediation.config.model import LatencyLimits
from remediation.deployment.comparison import slowdown
from remediation.messages.message import english

_EARLIER = pytest.StashKey[list[float]]()
_LATENCY = pytest.StashKey[float | None]()


class Sampling:
    """The plugin that measures checks; where one may fail for it, it compares with the latencies of before."""

    def __init__(self, limits: LatencyLimits, before: Mapping[str, float | None]) -> None:
        """Call each check as often as `limits` say; fail those that are slower than `before`, by node ID."""
        self._limits = limits
        self._before = before

    @staticmethod
    def is_sample(item: pytest.Item) -> bool:
        """Return whether a check is called only for its latency now."""
        return _LATENCY not in item.stash

    @staticmethod
    def latency(item: pytest.Item) -> float | None:
        """Return the median of the calls of a check, in seconds; None before it was called."""
        return item.stash[_LATENCY]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Call a check for its latency, before it is run as ever."""
        properties = list(item.user_properties)
        item.stash[_EARLIER] = []
        if _may_be_repeated(item):
            for _ in range(self._limits.calls - 1):
                # Nothing but the check itself is torn down, as if another one of the same place followed.
                reports = runtestprotocol(item, log=False, nextitem=cast("Any", item.parent))
                item.user_properties[:] = properties
                item._report_sections.clear()  # noqa: SLF001 - what it printed is that of no report
                if any(not report.passed for report in reports):
                    break
                item.stash[_EARLIER] += [report.duration for report in reports if report.when == "call"]
        item.stash[_LATENCY] = None
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Take the median of all calls, and fail a check that is slower than before if that is asked for."""
        began = time.perf_counter()
        yield
        if self.is_sample(item):
            return
        median = statistics.median([*item.stash[_EARLIER], time.perf_counter() - began])
        item.stash[_LATENCY] = median
        if found := slowdown(median, self._before.get(item.nodeid), self._limits):
            raise Slower(english("takes_longer", now=found.now, before=found.before), hopeless=True)


def _may_be_repeated(item: pytest.Item) -> bool:
    """Return whether a check can be called without being reported, and with a deadline for each call.

    Subtests are reported at once, and a deadline over all calls would strike too early.
    """
    marker = item.get_closest_marker("timeout")
    has_subtests = isinstance(item, TestCaseFunction) or "subtests" in getattr(item, "fixturenames", ())
    return marker is not None and bool(marker.kwargs.get("func_only")) and not has_subtests
