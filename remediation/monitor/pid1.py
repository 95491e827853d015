"""Being the first process of a container: whatever loses its parent becomes our child, and has to be collected."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def step_aside() -> int | None:
    """If we are PID 1, go on in a child, and return None there; return the child's exit code when it has ended.

    What remains as PID 1 hands signals on and collects orphans, as an init does. Does nothing elsewhere.
    """
    if os.getpid() != 1:
        return None
    # What comes between the fork and the handlers waits, or it would be lost: PID 1 ignores what it does not handle.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
        return None

    def hand_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _HANDED_ON:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            # As a shell tells of a signal.
            return code if code >= 0 else 128 - code
