"""What systemd is told about the monitor, by the protocol of sd_notify(3), which needs no library.

Elsewhere there is no NOTIFY_SOCKET, and nothing is said.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import MutableMapping

from remediation.messages.message import printable

# systemd drops a message of more than 4096 bytes; a line of `systemctl status` is shorter yet.
STATUS_LIMIT = 200
_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class Systemd:
    """Tells systemd how the monitor is. No method raises or waits, whatever became of the socket.

    What could not be delivered goes out with the next message.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take systemd's variables out of `environ`: what a child says must not be taken for ours."""
        self._address = _address(environ.pop(_SOCKET, ""))
        self._watchdog = _microseconds(environ.pop(_WATCHDOG, ""), environ.pop(_WATCHDOG_PID, ""))
        self._owed: dict[str, str] = {}

    @property
    def watchdog_interval(self) -> float | None:
        """The seconds between calls of `watchdog` that systemd expects of us; None if it expects none."""
        # Half of what is allowed, as sd_watchdog_enabled(3) advises.
        return self._watchdog / 2 / 1e6 if self._watchdog and self._address else None

    def ready(self, status: str) -> None:
        """Tell that the watch has begun, or that a reload has ended."""
        self._send(READY="1", STATUS=_line(status))

    def status(self, text: str) -> None:
        """Tell what `systemctl status` is to show."""
        self._send(STATUS=_line(text))

    def reloading(self) -> None:
        """Tell that the configuration is being read again; `ready` has to follow."""
        # With Type=notify-reload it has to be in the same message and later than the signal.
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """Tell that the watch is about to end."""
        self._send(STOPPING="1")

    def watchdog(self) -> None:
        """Tell that we live."""
        self._send(WATCHDOG="1")

    def _send(self, **fields: str) -> None:
        if not self._address:
            return
        # A field said again goes to the end: of READY, RELOADING and STOPPING the last one counts.
        message = {name: value for name, value in self._owed.items() if name not in fields} | fields
        try:
            # A socket for each message, so that a fork or a program of ours inherits none.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(f"{name}={value}" for name, value in message.items()).encode(), self._address)
        except OSError:
            # Full, gone for a moment, or for good. No error of ours: the watch goes on.
            self._owed = message
        else:
            self._owed = {}


def _address(name: str) -> bytes:
    """Return the address as the kernel wants it; empty if there is none, or one of another family."""
    match name[:1]:
        case "/":
            return os.fsencode(name)
        case "@":
            return b"\0" + os.fsencode(name[1:])
        case _:
            return b""


def _microseconds(text: str, pid: str) -> int:
    """Return the time that the watchdog allows; 0 without one, or if it is meant for another process."""
    if pid and pid != str(os.getpid()):
        return 0
    # Only what fits into 64 bits; int() also takes signs, spaces and underscores.
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0


def _line(text: str) -> str:
    """Return a text as one line, cut to a length that systemd takes."""
    line = printable(text[: STATUS_LIMIT + 1])
    return line if len(line) <= STATUS_LIMIT else f"{line[: STATUS_LIMIT - 1]}…"
