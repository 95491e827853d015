"""A bystander: looks like the service, does nothing, and tells of every signal that it gets.

A program of its own that imports nothing of ours, so that a herd of them costs little. Its arguments are a name to
go by, ports of which it listens on the first that is free (`8788,8786`, or nothing), and the words of the service's
command, for whoever looks for these.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# No signal has this number: it says that we are ready.
_READY = b"\0"


def main() -> None:
    """Stand by until our standard input is closed."""
    name, ports = sys.argv[1], [int(number) for number in sys.argv[2].split(",") if number]
    os.set_blocking(1, False)
    # The number of each signal goes out by itself, also if several come at once.
    signal.set_wakeup_fd(1, warn_on_full_buffer=False)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(signum, lambda *_: None)
    # As the kernel and ps know us, at most 15 bytes, proc(5); there is no such file elsewhere.
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(os.fsencode(name)[:15])
    with _listening(ports):
        os.write(1, _READY)
        while os.read(0, 1):
            pass


def _listening(ports: Sequence[int]) -> socket.socket:
    """Return a socket that listens on the first of these ports that is free, or on none."""
    for number in ports:
        server = socket.socket()
        with suppress(OSError, OverflowError):
            server.bind(("127.0.0.1", number))
            server.listen()
            return server
        server.close()
    return socket.socket()


if __name__ == "__main__":
    main()
