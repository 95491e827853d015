"""How long a command takes: wall time from outside, CPU time of it and of all that it waited for."""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

# Far beyond what anything here takes; only so that a hang ends.
DEADLINE = 60.0
# Finer than what is measured, and coarse enough to leave the CPU to it.
_POLL_SECONDS = 0.001


class BenchError(Exception):
    """What was to be measured did not do what it should, so its time means nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to go on with each question."""

    rounds: int
    few: int
    """Rounds of what takes seconds."""
    cap: float
    """Seconds after which a fault that lasts is no longer waited for."""
    window: float
    """Seconds over which CPU time is added up."""
    crowds: tuple[int, ...]
    """How many services are watched at once."""

    @classmethod
    def full(cls, rounds: int) -> Pace:
        """Return the pace for numbers to rely on."""
        return cls(rounds, few=max(1, rounds // 2), cap=20.0, window=20.0, crowds=(1, 10, 100))

    @classmethod
    def quick(cls) -> Pace:
        """Return the pace for seeing that it works."""
        return cls(rounds=3, few=1, cap=3.0, window=3.0, crowds=(1, 10))


class Time(NamedTuple):
    """Seconds of wall time, and of CPU time where that was taken."""

    wall: float
    cpu: float = math.nan

    @classmethod
    def total(cls, times: Iterable[Time]) -> Time:
        """Add times up, as if one came after the other."""
        walls, cpus = zip(*times, strict=True)
        return cls(sum(walls), sum(cpus))


@dataclass(slots=True)
class Series:
    """The times of one contestant, a time a round."""

    name: str
    take: Callable[[], Time]
    limit: int | None = None
    """In how many rounds it takes part, if not in all: for those that are slow, and alike in each."""
    times: list[Time] = field(default_factory=list)

    @property
    def median(self) -> Time:
        """The median of wall times and that of CPU times."""
        return Time(*map(statistics.median, zip(*self.times, strict=True)))

    @property
    def least(self) -> Time:
        """The shortest times: those that noise disturbed least."""
        return Time(*map(min, zip(*self.times, strict=True)))

    @property
    def arrived(self) -> bool:
        """Whether its last time is one, and not infinite."""
        return not (self.times and math.isinf(self.times[-1].wall))

    def runs(self, number: int) -> bool:
        """Return whether it takes part in a round: not again if it did not arrive in the last one."""
        return self.arrived and (self.limit is None or number < self.limit)


# A time that is taken step by step, so that something else can be timed between the steps.
Actions = Generator[None, None, Time]


def race(contestants: Iterable[Series], *, rounds: int, warm: bool = True) -> None:
    """Time all contestants in every round, and begin with another one each time.

    So noise and drift of the machine hit all of them. To be `warm`, one round before that does not count.
    """
    order = list(contestants)
    for series in order:
        if warm and series.limit is None:
            series.take()
    for number in range(rounds):
        for series in order:
            if series.runs(number):
                series.times.append(series.take())
        order.append(order.pop(0))


def alongside(contestants: Iterable[tuple[Series, Callable[[], Actions]]], *, rounds: int) -> None:
    """Time all contestants at the same time, for those that mostly wait."""
    contestants = list(contestants)
    for number in range(rounds):
        running = [(series, begin()) for series, begin in contestants if series.runs(number)]
        while running:
            for series, steps in tuple(running):
                try:
                    next(steps)
                except StopIteration as end:
                    series.times.append(end.value)
                    running.remove((series, steps))
            time.sleep(_POLL_SECONDS)


def walk(steps: Actions) -> Time:
    """Take a time without anything between its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Time", end.value)
        time.sleep(_POLL_SECONDS)


class Command:
    """A command that was just started, with the clock running."""

    def __init__(
        self, words: list[str], *, cwd: Path, env: Mapping[str, str], output: Path, pass_fds: tuple[int, ...] = ()
    ) -> None:
        """Start it; what it prints goes to the file `output`."""
        self._words = words
        self._output = output
        self._code: int | None = None
        self._time = Time(math.nan)
        with output.open("wb") as file:
            self._started = time.perf_counter()
            self._process = subprocess.Popen(
                words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, pass_fds=pass_fds
            )

    def elapsed(self) -> float:
        """The seconds since its start."""
        return time.perf_counter() - self._started

    def until(self, condition: Callable[[], bool]) -> float:
        """Return the seconds from its start to the condition; BenchError if it ends or hangs before that."""
        while not condition():
            if self._ended(os.WNOHANG):
                raise self._error(f"exited with {self._code} too early")
            if self.elapsed() > DEADLINE:
                raise self._error(f"did not get there within {DEADLINE:g}s")
            time.sleep(_POLL_SECONDS)
        return self.elapsed()

    def finish(self, *, expect: int = 0) -> Time:
        """Wait for its end and return its time; BenchError unless it exits with the expected code."""
        self._ended(0)
        if self._code != expect:
            raise self._error(f"exited with {self._code}")
        return self._time

    def kill(self) -> None:
        """End it at once."""
        if not self._ended(os.WNOHANG):
            # Popen's own kill would look for its end first, and keep the CPU time to itself.
            os.kill(self._process.pid, signal.SIGKILL)
            self._ended(0)

    def _ended(self, flags: int) -> bool:
        if self._code is None:
            pid, status, usage = os.wait4(self._process.pid, flags)
            if pid:
                self._time = Time(self.elapsed(), usage.ru_utime + usage.ru_stime)
                # Told to Popen as well, which would otherwise look for a child that is gone.
                self._code = self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def _error(self, what: str) -> BenchError:
        text = self._output.read_text(encoding="utf-8", errors="replace")
        return BenchError(f"`{' '.join(self._words)}` {what}:\n{text}")
