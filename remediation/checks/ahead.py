"""Run the attempts of declared checks ahead of pytest, all at the same time; pytest takes their results in order.

A check waits for its service most of the time, so a hundred of them need no more time than the slowest. Each has a
thread of its own, with its attempts and the delays between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")

# The most checks under way at once. Each may hold an answer of 8 MiB.
_MOST = 100
# How many checks may begin before those under way have ended, or have had this many seconds to send their request.
# More would wait for the interpreter rather than for their services, and look slow.
_YOUNG, _YOUTH = 4, 0.05


class _Run(Generic[Result]):
    """The attempts at one check, in a thread."""

    def __init__(self) -> None:
        self.results = SimpleQueue[Result]()
        self.pending = 1
        """How many results are being made, or still to be taken."""
        self.began = time.monotonic()
        self.is_young = True
        self.cancelled = threading.Event()


class Ahead(Generic[Item, Result]):
    """Makes the attempts at checks that were announced, before pytest asks for them."""

    def __init__(
        self,
        attempt: Callable[[Item], Result],
        *,
        wants_another: Callable[[Item, Result, int], bool],
        delay: Callable[[Item], float],
    ) -> None:
        """`wants_another` tells by a result, and its number from 1 on, whether an attempt follows after `delay`."""
        self._attempt = attempt
        self._wants_another = wants_another
        self._delay = delay
        # In order; the values mean nothing.
        self._announced: dict[Item, None] = {}
        self._runs: dict[Item, _Run[Result]] = {}
        self._alive = set[_Run[Result]]()
        self._lock = threading.Lock()

    def announce(self, items: Iterable[Item]) -> None:
        """Run these checks ahead from the first call of `next` on, and no others."""
        self._announced = dict.fromkeys(items)

    def next(self, item: Item, timeout: float) -> Result:
        """Return the result of the next attempt at a check, and make it now if the check was not announced.

        queue.Empty if there is no result within `timeout` seconds; the attempt is abandoned then.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            run = self._runs.get(item)
            if run is None or not run.pending:
                run = self._start(item)
        try:
            while True:
                self._fill()
                left = max(0.0, deadline - time.monotonic())
                try:
                    result = run.results.get(timeout=min(left, _YOUTH) if self._announced else left)
                    break
                except Empty:
                    if not left:
                        raise
        except BaseException:
            self.cancel(item)
            raise
        with self._lock:
            run.pending -= 1
        return result

    def cancel(self, item: Item) -> None:
        """Make no further attempts at a check; one that is under way ends by its own deadline."""
        with self._lock:
            if run := self._runs.pop(item, None):
                run.cancelled.set()

    def _fill(self) -> None:
        """Begin announced checks, as many as may be under way."""
        with self._lock:
            youngest = time.monotonic() - _YOUTH
            young = sum(run.is_young and run.began > youngest for run in self._alive)
            while self._announced and len(self._alive) < _MOST and young < _YOUNG:
                self._start(next(iter(self._announced)))
                young += 1

    def _start(self, item: Item) -> _Run[Result]:
        is_ahead = item in self._announced
        self._announced.pop(item, None)
        self._runs[item] = run = _Run[Result]()
        self._alive.add(run)
        # A daemon, because nothing can end a thread that hangs in a library.
        threading.Thread(target=self._make, args=(item, run, is_ahead), daemon=True).start()
        return run

    def _make(self, item: Item, run: _Run[Result], is_ahead: bool) -> None:  # noqa: FBT001 - called by position
        number, follows = 0, True
        while follows and not run.cancelled.is_set():
            result = self._attempt(item)
            number += 1
            follows = is_ahead and self._wants_another(item, result, number)
            with self._lock:
                run.pending += follows
                run.is_young = False
            run.results.put(result)
            if follows:
                self._fill()
                run.cancelled.wait(self._delay(item))
        with self._lock:
            self._alive.discard(run)
        self._fill()
