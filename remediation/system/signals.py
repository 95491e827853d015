"""What people and systemd ask of the monitor by signals, as wishes that its loop hears."""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING, Literal

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
