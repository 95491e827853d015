"""Send the heartbeats of a session: before each phase of each check, and between checks."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import Any, NoReturn

import pytest

from remediation.supervision.heartbeat import FOR_EVER, GRACE, Heartbeats, Phase

# A signal enforces the deadline of an attempt where it can. An attempt counts as hung this long after its deadline,
# in seconds. All attempts at a check share _GRACE_OF_ALL.
_LONGEST_GRACE, _SHORTEST_GRACE, _GRACE_OF_ALL = 1.0, 0.3, 4.0


class HeartbeatPlugin:
    """The plugin that sends the heartbeats of a session, with the time until the next one is due."""

    def __init__(self, heartbeats: Heartbeats, slot: int, between: float, *, waits: bool = False) -> None:
        """Use `slot` of `heartbeats`; work outside checks may take `between` seconds.

        A process that `waits`, a worker of xdist, has no time limit for the wait for its next check.
        """
        self.heartbeats = heartbeats
        self.slot = slot
        self._between = between
        self._waits = waits
        self._is_held = False
        self._began_by = 0

    def outside(self) -> None:
        """Begin work outside checks."""
        self._put(self._between)

    def hold(self, phase: Phase = Phase.OUTSIDE) -> None:
        """Begin work without a deadline here, because it has its own or a person is at work."""
        self.heartbeats.put(self.slot, FOR_EVER, phase)

    def _put(self, seconds: float, phase: Phase = Phase.OUTSIDE, grace: float = GRACE) -> None:
        if not self._is_held:
            self.heartbeats.put(self.slot, time.monotonic() + seconds + grace, phase, seconds)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Begin the session."""
        self.outside()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self) -> None:
        """Begin the selection."""
        self.outside()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Begin the checks."""
        self.outside()

    def collects(self, seconds: float) -> None:
        """Begin the collection of a module, with a time limit in seconds."""
        self._put(seconds, Phase.COLLECT, _LONGEST_GRACE)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Wait for the first check."""
        self._wait()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Wait for the next check after one."""
        result = yield
        self._wait()
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a phase."""
        self._beat(item, Phase.SETUP)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Begin a phase."""
        self._beat(item, Phase.CALL)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Begin a phase."""
        self._beat(item, Phase.TEARDOWN)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
        """Send a heartbeat at the end of a phase, because making its report may run code of the check."""
        if os.getpid() != self._began_by:
            _end_fork_of_check(call)
        self._beat(item, Phase[call.when.upper()])
        report = yield
        if call.when == "teardown":
            # Includes the delay before the next attempt, and the work of other plugins on the reports.
            self._put(self._between + _delay(item))
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """End the checks."""
        self._put(self._between, Phase.END)
        result = yield
        self._wait()
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_enter_pdb(self) -> None:
        """Suspend the deadline while a person debugs."""
        self.hold(self.heartbeats.read(self.slot).phase)
        self._is_held = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_leave_pdb(self) -> None:
        """Resume the deadlines."""
        self._is_held = False

    def _beat(self, item: pytest.Item, phase: Phase) -> None:
        self._began_by = os.getpid()
        self._put(deadline_of(item), phase, _grace(item))

    def _wait(self) -> None:
        if self._waits:
            self.hold()


def _end_fork_of_check(call: pytest.CallInfo[Any]) -> NoReturn:
    """End a child process that a check has forked and that returned from the check: only its parent continues."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        os._exit(error.code & 0xFF)
    os._exit(error is not None and not isinstance(error, SystemExit))


def deadline_of(item: pytest.Item) -> float:
    """Return the time limit of a phase of a check in seconds, infinite if the check has none."""
    marker: Any = item.get_closest_marker("timeout")
    option = item.config.getoption("timeout", None)
    seconds = marker.args[0] if marker and marker.args else marker.kwargs.get("timeout") if marker else option
    return float(seconds) if seconds else FOR_EVER


def _delay(item: pytest.Item) -> float:
    marker = item.get_closest_marker("flaky")
    return float(marker.kwargs.get("reruns_delay", 0.0)) if marker else 0.0


def _grace(item: pytest.Item) -> float:
    """Return how long after the deadline an attempt at a check counts as hung, in seconds."""
    marker = item.get_closest_marker("flaky")
    attempts = 1 + int(marker.kwargs.get("reruns", 0)) if marker else 1
    return max(_SHORTEST_GRACE, min(_LONGEST_GRACE, _GRACE_OF_ALL / attempts))
