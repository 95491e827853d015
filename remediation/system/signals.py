"""Handle signals, signal(7): requests to end or reload, inherited ignored signals, and delayed interrupts."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

Wish = Literal["end", "reread"]

_ENDS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Catches SIGINT, SIGTERM and SIGHUP inside the block; its descriptor turns readable when one arrives."""

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._had_terminal = os.isatty(1)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _do_nothing) for number in (*_ENDS, signal.SIGHUP)}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    @property
    def fd(self) -> int:
        """The descriptor to poll."""
        return self._reader.fileno()

    def wishes(self) -> list[Wish]:
        """Return the requests since the last call, in order."""
        try:
            numbers = self._reader.recv(4096)
        except BlockingIOError:
            return []
        return [wish for number in numbers if (wish := self._wish(number))]

    def _wish(self, number: int) -> Wish | None:
        if number in _ENDS:
            return "end"
        if number == signal.SIGHUP:
            # A closed terminal ends the programs that it started. Without a terminal, SIGHUP asks to reload.
            return "end" if self._had_terminal and not os.isatty(1) else "reread"
        return None


def unignore() -> None:
    """Replace inherited ignored signals, as of nohup or a background job, by handlers that do nothing.

    Child processes inherit ignored signals but not handlers, and SIGINT may be the stop signal of a service. Call
    this in the main thread only.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Ignore a signal; `Signals` learns of it from the wake-up descriptor."""


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception; unlike Ctrl+C, the signal does not reach our children by itself."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise Terminated on SIGTERM, unless the process already handles or ignores it."""
    is_main_thread = threading.current_thread() is threading.main_thread()
    if not is_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class HeldInterrupts:
    """Delays SIGINT and SIGTERM in this process until `release` or the end of the block.

    Otherwise an interrupt could abandon a child that is just starting, before its PID is known. Does nothing outside
    the main thread, where no signal arrives.
    """

    def __enter__(self) -> Self:
        """Start to delay the signals."""
        self._pending: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            # Only a handler in Python can raise an exception here.
            handled = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
            self._before = {
                number: signal.signal(number, lambda which, _: self._pending.append(which)) for number in handled
            }
        return self

    def release(self) -> None:
        """Restore the handlers, and raise the delayed signals now."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        pending, self._pending = self._pending, []
        for number in pending:
            signal.raise_signal(number)

    def __exit__(self, *_: object) -> None:
        """Restore the handlers, and raise the delayed signals."""
        self.release()
