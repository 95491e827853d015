"""Run as the first process of a container: orphans become children of PID 1, which has to collect them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def step_aside() -> int | None:
    """Fork if this process is PID 1. Return None in the child, and the child's exit code in PID 1 after its end.

    PID 1 forwards signals and collects orphans, as an init does. In any other process, only return None.
    """
    if os.getpid() != 1:
        return None
    # Signals between the fork and the handlers have to wait: PID 1 ignores signals that it does not handle.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        return None

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            # A shell reports a signal in the same way.
            return code if code >= 0 else 128 - code
