"""The workers of pytest-xdist, seen from the supervisor: one that hangs is ended, and its controller replaces it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from remediation.config.model import Project
from remediation.supervision.death import STACK_SIGNAL, await_stack
from remediation.supervision.family import end_family
from remediation.supervision.heartbeat import FOR_EVER, SLOTS, Heartbeats, Phase
from remediation.system.process import Identity

# How often workers are looked at, in seconds.
_LOOK = 0.5


class End(msgspec.Struct):
    """Why a worker was ended."""

    phase: int
    hung_for: float


class WorkerWatch:
    """The workers, seen from the supervisor."""

    def __init__(self, folder: Path, project: Project) -> None:
        """Watch those that share `folder`."""
        self._folder = folder
        self._project = project
        self._heartbeats = Heartbeats(folder / "board")

    @property
    def moment(self) -> float:
        """When to look after them at the latest, on the monotonic clock; they may begin something at any moment."""
        return min([time.monotonic() + _LOOK, *(self._heartbeats.read(slot).deadline for slot, _ in self._alive())])

    def end_overdue(self) -> None:
        """End those that do not go on, once they have left their stacks; their controller notices."""
        for slot, worker in self._alive():
            place = self._heartbeats.read(slot)
            if time.monotonic() < place.deadline:
                continue
            end = End(place.phase, place.limit)
            (self._folder / f"{worker.pid}.end").write_bytes(msgspec.json.encode(end))
            self._heartbeats.put(slot, FOR_EVER, place.phase)
            with suppress(ProcessLookupError):
                os.kill(worker.pid, STACK_SIGNAL)
            _await_stack(self._folder, slot)
            end_family(worker.pid, self._project)

    @property
    def all_wait(self) -> bool:
        """Whether each waits to be told what to do."""
        places = [self._heartbeats.read(slot) for slot, _ in self._alive()]
        return all(place.phase is Phase.OUTSIDE and place.deadline == FOR_EVER for place in places)

    @property
    def begun(self) -> int:
        """A number that grows with each attempt that they begin."""
        return sum(path.stat().st_size for path in self._folder.glob("gw*.log"))

    def end_all(self) -> None:
        """End those that have outlived their controller."""
        for _, worker in self._alive():
            end_family(worker.pid, self._project)

    def _alive(self) -> list[tuple[int, Identity]]:
        signed = ((slot, self._heartbeats.signed(slot)) for slot in range(SLOTS))
        found = [(slot, Identity(*who)) for slot, who in signed if who[0]]
        return [(slot, worker) for slot, worker in found if worker.alive]


def slot_of(name: str) -> int:
    """Return the place of a worker, which xdist calls gw0 and so on."""
    return int(name.removeprefix("gw")) % SLOTS


def _await_stack(folder: Path, slot: int) -> None:
    """Wait until the worker at a place has left its stack."""
    for path in folder.glob("gw*.stack"):
        if slot_of(path.stem) == slot:
            with path.open("rb") as file:
                await_stack(file.fileno())
