"""Signals, signal(7): what people ask of a long-running process by them, and what it was started to ignore."""

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
    """Takes SIGINT, SIGTERM and SIGHUP while it lasts; its descriptor turns readable when one has come."""

    def __enter__(self) -> Self:
        """Take them."""
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._had_terminal = os.isatty(1)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _noted) for number in (*_ENDS, signal.SIGHUP)}
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    @property
    def fd(self) -> int:
        """The descriptor to wait for."""
        return self._reader.fileno()

    def wishes(self) -> list[Wish]:
        """Return what was asked for since, in order."""
        try:
            numbers = self._reader.recv(4096)
        except BlockingIOError:
            return []
        return [wish for number in numbers if (wish := self._wish(number))]

    def _wish(self, number: int) -> Wish | None:
        if number in _ENDS:
            return "end"
        if number == signal.SIGHUP:
            # A terminal that goes away takes with it what it started; without one, it is a wish.
            return "end" if self._had_terminal and not os.isatty(1) else "reread"
        return None


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells."""


def unignore() -> None:
    """Ignore by a handler what we were told to ignore when we were started, as by nohup or in the background.

    What is ignored so is not ignored by whom we start: a service might be stopped by SIGINT. For the main thread.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


class Terminated(KeyboardInterrupt):
    """SIGTERM, of which a child in the same session hears nothing by itself."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise Terminated where SIGTERM strikes, unless somebody handles or ignores it already."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
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
    """Holds back what SIGINT and SIGTERM do in this process, until it is released, or at the end.

    A child that is just being started would otherwise be left by an interruption before anybody knows its PID.
    Does nothing in another thread than the main one, where no signal arrives.
    """

    def __enter__(self) -> Self:
        """Hold back."""
        self._came: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            # Without a handler in Python, nothing is raised here.
            held = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
            self._before = {number: signal.signal(number, lambda which, _: self._came.append(which)) for number in held}
        return self

    def release(self) -> None:
        """Let come what came meanwhile, here and now."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        came, self._came = self._came, []
        for number in came:
            signal.raise_signal(number)

    def __exit__(self, *_: object) -> None:
        """Let come what came meanwhile."""
        self.release()
