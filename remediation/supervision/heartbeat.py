"""The heartbeats of sessions in memory that they share with their supervisor, so that no message has to wake it.

Each session sets a deadline for its next step, and says what it does. A session that misses its deadline hangs for
good. This also holds in C code, which no signal interrupts.
"""

from __future__ import annotations

import mmap
import struct
import time
from enum import IntEnum
from pathlib import Path

from msgspec import Struct

# The number of sessions that can run at the same time.
SLOTS = 64
# The parts of a slot, as the session writes them. Before each phase: the deadline on the monotonic clock, the limit of
# the phase in seconds, and the phase. Then: when it last began a group of checks; whether other processes help it;
# whether it was interrupted; and its identity, PID and birth as text.
_STATE, _CLAIMED, _HELPED, _ACKNOWLEDGED, _WHO = (struct.Struct(parts) for parts in ("ddi", "d", "i", "i", "i80s"))
_AT_CLAIMED = 24
_AT_HELPED = _AT_CLAIMED + _CLAIMED.size
_AT_ACKNOWLEDGED = _AT_HELPED + _HELPED.size
_AT_WHO = _AT_ACKNOWLEDGED + _ACKNOWLEDGED.size
_SIZE = 128
_HEADER = 8
# How far beyond its own limit a phase outside of checks may go before the session counts as hung, in seconds.
GRACE = 10.0
FOR_EVER = float("inf")


class Phase(IntEnum):
    """The phase that a session is in."""

    OUTSIDE = 0
    """Outside of checks: it starts, reports, or ends."""
    COLLECT = 1
    SETUP = 2
    CALL = 3
    TEARDOWN = 4
    HEAL = 5
    END = 6
    """All checks are over, or no more will run."""

    @property
    def of_check(self) -> bool:
        """Whether a check runs."""
        return self in (Phase.SETUP, Phase.CALL, Phase.TEARDOWN)


class Heartbeat(Struct, frozen=True):
    """The heartbeat of one session."""

    deadline: float
    """A session without a new heartbeat by this moment, on the monotonic clock, hangs for good."""
    limit: float
    """The limit of the phase, in seconds."""
    phase: Phase
    claimed: float
    """When it began the current group of checks."""
    helped: bool
    """Whether other processes run a part of its checks."""

    @property
    def heals(self) -> bool:
        """Whether the session is healing."""
        return self.phase is Phase.HEAL


class Heartbeats:
    """The shared memory: inherited by a fork, or shared through a file where there is no fork."""

    def __init__(self, file: Path | None = None) -> None:
        """Begin with all slots empty. With a `file`, join the processes that share it."""
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
        """Allow no more heals."""
        self._state[0] = 1

    def take(self, slot: int, deadline: float, limit: float = 0.0) -> None:
        """Assign an empty slot to a session."""
        self.put(slot, deadline, limit=limit)
        self.claim(slot)
        self._write(slot, _AT_HELPED, _HELPED, 0)
        self._write(slot, _AT_ACKNOWLEDGED, _ACKNOWLEDGED, 0)

    def put(self, slot: int, deadline: float, phase: Phase = Phase.OUTSIDE, limit: float = 0.0) -> None:
        """Set the `deadline` of the session at `slot`, on the monotonic clock, and its phase."""
        self._write(slot, 0, _STATE, deadline, limit, phase)

    def claim(self, slot: int) -> None:
        """Note that the session at `slot` begins another group now."""
        self._write(slot, _AT_CLAIMED, _CLAIMED, time.monotonic())

    def help(self, slot: int) -> None:
        """Note that another process is about to run a part of the checks of the session at `slot`."""
        self._write(slot, _AT_HELPED, _HELPED, 1)

    def acknowledge(self, slot: int) -> None:
        """Acknowledge an interrupt for the session at `slot`."""
        self._write(slot, _AT_ACKNOWLEDGED, _ACKNOWLEDGED, 1)

    def has_acknowledged(self, slot: int) -> bool:
        """Return whether the session at `slot` has acknowledged an interrupt."""
        return bool(_ACKNOWLEDGED.unpack_from(self._state, self._at(slot) + _AT_ACKNOWLEDGED)[0])

    def sign(self, slot: int, pid: int, born: str) -> None:
        """Store the identity of the process at `slot`, so that its PID can be verified."""
        self._write(slot, _AT_WHO, _WHO, pid, born.encode()[:80])

    def signed(self, slot: int) -> tuple[int, str]:
        """Return PID and birth of the process at `slot`; PID 0 if there is none."""
        pid, born = _WHO.unpack_from(self._state, self._at(slot) + _AT_WHO)
        return pid, born.rstrip(b"\0").decode()

    def read(self, slot: int) -> Heartbeat:
        """Return the heartbeat of the session at `slot`."""
        at = self._at(slot)
        deadline, limit, phase = _STATE.unpack_from(self._state, at)
        (claimed,) = _CLAIMED.unpack_from(self._state, at + _AT_CLAIMED)
        (helped,) = _HELPED.unpack_from(self._state, at + _AT_HELPED)
        return Heartbeat(deadline, limit, Phase(phase), claimed, bool(helped))

    def _write(self, slot: int, place: int, parts: struct.Struct, *values: object) -> None:
        """Write over a part of a slot. Not by pack_into, which clears it first: a deadline of 0 is over."""
        start = self._at(slot) + place
        self._state[start : start + parts.size] = parts.pack(*values)

    @staticmethod
    def _at(slot: int) -> int:
        return _HEADER + slot * _SIZE
