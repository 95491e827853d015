"""Holds a port, either as a stranger or as an orphan that kept the sockets of its service.

It is a separate program. `holder.py orphan PORT ADDRESS ... -- PID:DESCRIPTOR ...` leaves its parent, then copies
these descriptors of the service by pidfd_getfd(2). Where that is not allowed, and always as `holder.py stranger PORT
ADDRESS ...`, it waits for a line on its standard input, which means that the service is dead, and binds the port
itself. It prints its PID and how it gets the port, and ends when its standard input is closed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import sys
import time
from collections.abc import Sequence

# The number of pidfd_getfd(2), the same on all architectures except alpha.
_PIDFD_GETFD = 438
# The backlog of the listening socket; more clients than these do not matter.
_QUEUE = 8
# How long to wait until a port becomes free, and how often to try, in seconds.
_PATIENCE, _POLL_SECONDS = 2.0, 0.005


def main() -> None:
    """Take the port, report it, and hold it."""
    role, number, *words = sys.argv[1:]
    addresses = words[: words.index("--")] if "--" in words else words
    if role == "orphan":
        # The parent ends at once, so that the process that adopts orphans becomes our parent.
        if os.fork():
            os._exit(0)
        os.setsid()
    if role == "orphan" and _taken(words[len(addresses) + 1 :]):
        print(os.getpid(), "taken", flush=True)
    else:
        print(os.getpid(), "waits", flush=True)
        if not sys.stdin.readline():
            return
        # The sockets listen as long as they are referenced.
        sockets = _bound_in_time(addresses, int(number))
        print("bound" if sockets else "none", flush=True)
    while os.read(0, 1):
        pass


def _taken(descriptors: Sequence[str]) -> list[int]:
    """Return copies of other processes' descriptors, as far as the kernel permits; they stay open."""
    if not hasattr(os, "pidfd_open") or platform.machine() == "alpha":
        return []
    copies = []
    for descriptor in descriptors:
        pid, _, fd = descriptor.partition(":")
        try:
            process = os.pidfd_open(int(pid))
        except OSError:
            continue
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, int(fd), 0)
        os.close(process)
        if copy >= 0:
            copies.append(copy)
    return copies


def _bound_in_time(addresses: Sequence[str], number: int) -> list[socket.socket]:
    """Return sockets that listen on a port; the last thread of its dead owner may hold the port for a moment."""
    deadline = time.monotonic() + _PATIENCE
    while not (sockets := _bound(addresses, number)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return sockets


def _bound(addresses: Sequence[str], number: int) -> list[socket.socket]:
    """Return sockets that listen on a port of these addresses, as many as can be bound."""
    sockets = []
    for address in addresses:
        server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            server.bind((address, number))
            server.listen(_QUEUE)
        except OSError:
            server.close()
        else:
            sockets.append(server)
    return sockets


if __name__ == "__main__":
    main()
