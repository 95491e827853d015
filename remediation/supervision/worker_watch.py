"""The workers of pytest-xdist, seen from the supervisor. It kills hung workers, and their controller replaces them.

The session may end, and remove the folder that it shares with its workers, at any moment.
"""

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
from remediation.system.files import matching
from remediation.system.process import Identity

# How often to check the workers, in seconds.
_POLL = 0.5


class End(msgspec.Struct):
    """Why a worker was killed."""

    phase: int
    hung_for: float


class WorkerWatch:
    """Watches the workers of one session."""

    def __init__(self, folder: Path, project: Project) -> None:
        """Watch the workers that share `folder`."""
        self._folder = folder
        self._project = project
        self._heartbeats = Heartbeats(folder / "board")

    @property
    def moment(self) -> float:
        """When to check the workers at the latest, on the monotonic clock. A new phase may set an earlier deadline."""
        return min([time.monotonic() + _POLL, *(self._heartbeats.read(slot).deadline for slot, _ in self._alive())])

    def end_overdue(self) -> None:
        """Kill the workers that have missed their deadlines, once they have written their stacks."""
        for slot, worker in self._alive():
            heartbeat = self._heartbeats.read(slot)
            if time.monotonic() < heartbeat.deadline:
                continue
            end = End(heartbeat.phase, heartbeat.limit)
            with suppress(FileNotFoundError):
                (self._folder / f"{worker.pid}.end").write_bytes(msgspec.json.encode(end))
            self._heartbeats.put(slot, FOR_EVER, heartbeat.phase)
            with suppress(ProcessLookupError):
                os.kill(worker.pid, STACK_SIGNAL)
            _await_stack(self._folder, slot)
            end_family(worker.pid, self._project)

    @property
    def all_wait(self) -> bool:
        """Whether all workers wait for their controller."""
        heartbeats = [self._heartbeats.read(slot) for slot, _ in self._alive()]
        return all(heartbeat.phase is Phase.OUTSIDE and heartbeat.deadline == FOR_EVER for heartbeat in heartbeats)

    @property
    def begun(self) -> int:
        """A number that grows with each attempt that a worker begins."""
        size = 0
        for path in matching(self._folder, "gw*.log"):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def end_all(self) -> None:
        """Kill the workers that have outlived their controller."""
        for _, worker in self._alive():
            end_family(worker.pid, self._project)

    def _alive(self) -> list[tuple[int, Identity]]:
        signed = ((slot, *self._heartbeats.signed(slot)) for slot in range(SLOTS))
        workers = [(slot, Identity(pid, born)) for slot, pid, born in signed if pid]
        return [(slot, worker) for slot, worker in workers if worker.alive]


def slot_of(name: str) -> int:
    """Return the slot of a worker. xdist names workers gw0, gw1 and so on."""
    return int(name.removeprefix("gw")) % SLOTS


def _await_stack(folder: Path, slot: int) -> None:
    """Wait until the worker at a slot has written its stack."""
    for path in matching(folder, "gw*.stack"):
        if slot_of(path.stem) == slot:
            with suppress(FileNotFoundError), path.open("rb") as file:
                await_stack(file.fileno())
