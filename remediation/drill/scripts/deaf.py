"""Gives a service a child that ignores every request to end: forks the child, then executes the service's command.

It is a separate program, `deaf.py COMMAND ...`. The child is a true child of the service, and carries its mark.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Fork the child, and execute the command in the parent."""
    if os.fork() == 0:
        _ignore_signals()
    # Python ignores these signals, and an ignored signal stays ignored across an exec, signal(7).
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the user's command, as it starts without the wrapper


def _ignore_signals() -> None:
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(signum, signal.SIG_IGN)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
