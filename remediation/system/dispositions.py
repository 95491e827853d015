"""What this process was told to do with signals when it was started, signal(7), and what it hands on."""

from __future__ import annotations

import signal
from types import FrameType


def unignore() -> None:
    """Ignore by a handler what we were told to ignore when we were started, as by nohup or in the background.

    What is ignored so is not ignored by whom we start: a service might be stopped by SIGINT. For the main thread.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass
