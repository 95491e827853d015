"""SIGTERM in the middle of a heal: taken as Ctrl+C is, so that nothing is left half-done without a word."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
