"""What a cycle lets the fork server know without waking it: until when it is sure to have gone on, and what it does.

A few numbers in memory that forks share. A cycle that has not gone on by the moment that it named itself hangs
for good.
"""

from __future__ import annotations

import mmap
import struct
import time
from typing import Any

import pytest

# So many forks at the same time have a place of their own.
SLOTS = 64
# Deadline on the monotonic clock, index of the check (or -1), whether it heals.
_SLOT = struct.Struct("dii")
_HEADER = 8
# Beyond its own deadline, how long a phase of a check may take before it counts as hung: seconds.
GRACE = 10.0
NO_CHECK = -1
FOR_EVER = float("inf")


class Board:
    """The shared memory, made before the first fork."""

    def __init__(self) -> None:
        """Begin with all places empty."""
        self._memory = mmap.mmap(-1, _HEADER + SLOTS * _SLOT.size)

    @property
    def finishing(self) -> bool:
        """Whether no heal may begin any more."""
        return self._memory[0] == 1

    def finish(self) -> None:
        """Let no heal begin any more."""
        self._memory[0] = 1

    def put(self, slot: int, deadline: float, check: int = NO_CHECK, *, heals: bool = False) -> None:
        """Say that the fork at `slot` goes on before `deadline`, on the monotonic clock."""
        _SLOT.pack_into(self._memory, _HEADER + slot * _SLOT.size, deadline, check, int(heals))

    def read(self, slot: int) -> tuple[float, int, bool]:
        """Return a fork's deadline, the index of its check or NO_CHECK, and whether it heals."""
        deadline, check, heals = _SLOT.unpack_from(self._memory, _HEADER + slot * _SLOT.size)
        return deadline, check, bool(heals)


class Pulse:
    """The plugin by which a fork says that it goes on: before each phase of each check, and before the end."""

    def __init__(self, board: Board, indexes: dict[str, int]) -> None:
        """Say so on `board`, where checks go by their index."""
        self._board = board
        self._indexes = indexes
        self.slot = 0
        """The place of this process, once it is a fork."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a phase."""
        self._beat(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Begin a phase."""
        self._beat(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Begin a phase, which the delay before the next attempt may follow."""
        marker = item.get_closest_marker("flaky")
        self._beat(item, more=float(marker.kwargs.get("reruns_delay", 0.0)) if marker else 0.0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """End the checks; what follows has deadlines of its own."""
        self._board.put(self.slot, time.monotonic() + GRACE)

    def _beat(self, item: pytest.Item, more: float = 0.0) -> None:
        limit = deadline_of(item)
        self._board.put(self.slot, time.monotonic() + limit + more + GRACE, self._indexes.get(item.nodeid, NO_CHECK))


def deadline_of(item: pytest.Item) -> float:
    """Return the seconds that a phase of a check may take; infinite if somebody took its deadline away."""
    marker: Any = item.get_closest_marker("timeout")
    option = item.config.getoption("timeout", None)
    seconds = marker.args[0] if marker and marker.args else marker.kwargs.get("timeout") if marker else option
    return float(seconds) if seconds else FOR_EVER
