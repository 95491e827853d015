"""What a cycle lets the fork server know without waking it: until when it is sure to have gone on, and what it does.

A few numbers in memory that forks share. A cycle that has not gone on by the moment that it named itself hangs
for good.
"""

from __future__ import annotations

import mmap
import struct
import time
from typing import Any, NamedTuple

import pytest

# So many forks at the same time have a place of their own.
SLOTS = 64
# The parts of a place: what the fork writes before each phase (deadline on the monotonic clock, index of the check or
# NO_CHECK, whether it heals), when it last began with a group, and, written by the server, whether it is helped.
_STATE, _CLAIMED, _HELPED = struct.Struct("dii"), struct.Struct("d"), struct.Struct("i")
_SIZE = _STATE.size + _CLAIMED.size + _HELPED.size
_HEADER = 8
# Beyond its own deadline, how long a phase of a check may take before it counts as hung: seconds.
GRACE = 10.0
NO_CHECK = -1
FOR_EVER = float("inf")


class Place(NamedTuple):
    """What one fork says of itself."""

    deadline: float
    """It goes on before this moment, or hangs for good."""
    check: int
    """The index of the check that it runs, or NO_CHECK."""
    heals: bool
    claimed: float
    """When it began with the group of checks that it runs now."""
    helped: bool
    """Whether other forks run a part of what it is for."""


class Board:
    """The shared memory, made before the first fork."""

    def __init__(self) -> None:
        """Begin with all places empty."""
        self._memory = mmap.mmap(-1, _HEADER + SLOTS * _SIZE)

    @property
    def finishing(self) -> bool:
        """Whether no heal may begin any more."""
        return self._memory[0] == 1

    def finish(self) -> None:
        """Let no heal begin any more."""
        self._memory[0] = 1

    def take(self, slot: int, deadline: float) -> None:
        """Begin with a fork at an empty place."""
        self.put(slot, deadline)
        self.claim(slot)
        _HELPED.pack_into(self._memory, self._at(slot) + _STATE.size + _CLAIMED.size, 0)

    def put(self, slot: int, deadline: float, check: int = NO_CHECK, *, heals: bool = False) -> None:
        """Say that the fork at `slot` goes on before `deadline`, on the monotonic clock."""
        _STATE.pack_into(self._memory, self._at(slot), deadline, check, int(heals))

    def claim(self, slot: int) -> None:
        """Say that the fork at `slot` begins with another group now."""
        _CLAIMED.pack_into(self._memory, self._at(slot) + _STATE.size, time.monotonic())

    def help(self, slot: int) -> None:
        """Say that another fork runs a part of what the one at `slot` is for; before that one begins."""
        _HELPED.pack_into(self._memory, self._at(slot) + _STATE.size + _CLAIMED.size, 1)

    def read(self, slot: int) -> Place:
        """Return what is said of a fork."""
        at = self._at(slot)
        deadline, check, heals = _STATE.unpack_from(self._memory, at)
        (claimed,) = _CLAIMED.unpack_from(self._memory, at + _STATE.size)
        (helped,) = _HELPED.unpack_from(self._memory, at + _STATE.size + _CLAIMED.size)
        return Place(deadline, check, bool(heals), claimed, bool(helped))

    @staticmethod
    def _at(slot: int) -> int:
        return _HEADER + slot * _SIZE


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
