"""A bystander: resembles the service, does nothing, and reports every signal that it receives.

It is a separate program that imports nothing from `remediation`, so that several of them cost little. Its arguments:
its process name, empty where only proc(5) could set it; ports, of which it listens on the first free one
(`8788,8786`, or nothing); and the words of the service's command, for tools that search command lines.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# No signal has this number: it means that the bystander is ready.
_READY = b"\0"


def main() -> None:
    """Wait until standard input is closed."""
    name, ports = sys.argv[1], [int(number) for number in sys.argv[2].split(",") if number]
    os.set_blocking(1, False)
    # Python writes the number of each signal to stdout, even if several arrive at once.
    signal.set_wakeup_fd(1, warn_on_full_buffer=False)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(signum, lambda *_: None)
    if name:
        # The name that the kernel and ps show, at most 15 bytes, proc(5).
        with suppress(OSError):
            Path("/proc/self/comm").write_bytes(os.fsencode(name)[:15])
    with _listening(ports):
        os.write(1, _READY)
        while os.read(0, 1):
            pass


def _listening(ports: Sequence[int]) -> socket.socket:
    """Return a socket that listens on the first free port of these, or on none."""
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
