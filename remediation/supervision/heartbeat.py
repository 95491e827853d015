"""What a session lets its supervisor know without waking it: until when it is sure to have gone on, and what it does.

A few numbers in memory that both share. A session that has not gone on by the moment that it named itself hangs for
good, wherever it hangs: also in C, where no signal interrupts it.
"""

from __future__ import annotations

import mmap
import struct
import time
from enum import IntEnum
from pathlib import Path

from msgspec import Struct

# So many sessions at the same time have a place of their own.
SLOTS = 64
# The parts of a place, as the session writes them: before each phase the deadline on the monotonic clock, the seconds
# that its own deadline gives it, and the phase; when it last began with a group of checks; whether it is helped;
# whether it was interrupted; and who it is, PID and birth as text.
_STATE, _CLAIMED, _HELPED, _HEARD, _WHO = (struct.Struct(parts) for parts in ("ddi", "d", "i", "i", "i80s"))
_AT_CLAIMED = 24
_AT_HELPED = _AT_CLAIMED + _CLAIMED.size
_AT_HEARD = _AT_HELPED + _HELPED.size
_AT_WHO = _AT_HEARD + _HEARD.size
_SIZE = 128
_HEADER = 8
# Beyond its own deadline, how long what is no check may take before it counts as hung, in seconds.
GRACE = 10.0
FOR_EVER = float("inf")


class Phase(IntEnum):
    """What a session does."""

    OUTSIDE = 0
    """Nothing of a check: it starts, reports, ends."""
    COLLECT = 1
    SETUP = 2
    CALL = 3
    TEARDOWN = 4
    HEAL = 5
    END = 6
    """All checks are over, or no more are run."""

    @property
    def of_check(self) -> bool:
        """Whether a check runs."""
        return self in (Phase.SETUP, Phase.CALL, Phase.TEARDOWN)


class Place(Struct, frozen=True):
    """What one session says of itself."""

    deadline: float
    """It goes on before this moment, or hangs for good."""
    limit: float
    """So many seconds the phase may take by its own deadline."""
    phase: Phase
    claimed: float
    """When it began with the group of checks that it runs now."""
    helped: bool
    """Whether other processes run a part of what it is for."""

    @property
    def heals(self) -> bool:
        """Whether it heals."""
        return self.phase is Phase.HEAL


class Heartbeats:
    """The shared memory: handed on by a fork or, where no fork can, by a file."""

    def __init__(self, file: Path | None = None) -> None:
        """Begin with all places empty; with a `file`, join those who share it."""
        size = _HEADER + SLOTS * _SIZE
        if file is None:
            self._state = mmap.mmap(-1, size)
            return
        with file.open("r+b") as shared:
            shared.truncate(size)
            self._state = mmap.mmap(shared.fileno(), size)

    @property
    def finishing(self) -> bool:
        """Whether no heal may begin any more."""
        return self._state[0] == 1

    def finish(self) -> None:
        """Let no heal begin any more."""
        self._state[0] = 1

    def take(self, slot: int, deadline: float, limit: float = 0.0) -> None:
        """Begin with a session at an empty place."""
        self.put(slot, deadline, limit=limit)
        self.claim(slot)
        _HELPED.pack_into(self._state, self._at(slot) + _AT_HELPED, 0)
        _HEARD.pack_into(self._state, self._at(slot) + _AT_HEARD, 0)

    def put(self, slot: int, deadline: float, phase: Phase = Phase.OUTSIDE, limit: float = 0.0) -> None:
        """Say that the session at `slot` goes on before `deadline`, on the monotonic clock."""
        _STATE.pack_into(self._state, self._at(slot), deadline, limit, phase)

    def claim(self, slot: int) -> None:
        """Say that the session at `slot` begins with another group now."""
        _CLAIMED.pack_into(self._state, self._at(slot) + _AT_CLAIMED, time.monotonic())

    def help(self, slot: int) -> None:
        """Say that another process runs a part of what the one at `slot` is for; before that one begins."""
        _HELPED.pack_into(self._state, self._at(slot) + _AT_HELPED, 1)

    def hear(self, slot: int) -> None:
        """Say that the session at `slot` was interrupted, and knows it."""
        _HEARD.pack_into(self._state, self._at(slot) + _AT_HEARD, 1)

    def has_heard(self, slot: int) -> bool:
        """Return whether the session at `slot` knows that it was interrupted."""
        return bool(_HEARD.unpack_from(self._state, self._at(slot) + _AT_HEARD)[0])

    def sign(self, slot: int, pid: int, born: str) -> None:
        """Say which process is at `slot`, so that it can be proven to be the one."""
        _WHO.pack_into(self._state, self._at(slot) + _AT_WHO, pid, born.encode()[:80])

    def signed(self, slot: int) -> tuple[int, str]:
        """Return PID and birth of the process at `slot`; PID 0 for nobody."""
        pid, born = _WHO.unpack_from(self._state, self._at(slot) + _AT_WHO)
        return pid, born.rstrip(b"\0").decode()

    def read(self, slot: int) -> Place:
        """Return what is said of a session."""
        at = self._at(slot)
        deadline, limit, phase = _STATE.unpack_from(self._state, at)
        (claimed,) = _CLAIMED.unpack_from(self._state, at + _AT_CLAIMED)
        (helped,) = _HELPED.unpack_from(self._state, at + _AT_HELPED)
        return Place(deadline, limit, Phase(phase), claimed, bool(helped))

    @staticmethod
    def _at(slot: int) -> int:
        return _HEADER + slot * _SIZE
