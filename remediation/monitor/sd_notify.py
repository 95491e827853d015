"""Notify systemd of the monitor's state by the protocol of sd_notify(3), which needs no library.

Without systemd there is no NOTIFY_SOCKET, and nothing is sent.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import MutableMapping

from remediation.messages.message import printable

# systemd drops messages of more than 4096 bytes, and a line of `systemctl status` is even shorter.
STATUS_LIMIT = 200
_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class Systemd:
    """Notifies systemd of the monitor's state. No method raises or blocks, even if the socket is gone.

    Fields that could not be delivered are sent with the next message.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Remove systemd's variables from `environ`, so that no child can send messages in the monitor's name."""
        self._address = _address(environ.pop(_SOCKET, ""))
        self._watchdog = _microseconds(environ.pop(_WATCHDOG, ""), environ.pop(_WATCHDOG_PID, ""))
        self._unsent: dict[str, str] = {}

    @property
    def watchdog_interval(self) -> float | None:
        """The seconds between calls of `watchdog`; None if systemd expects none."""
        # Half of the limit, as sd_watchdog_enabled(3) advises.
        return self._watchdog / 2 / 1e6 if self._watchdog and self._address else None

    def ready(self, status: str) -> None:
        """Report that monitoring has begun, or that a reload has ended."""
        self._send(READY="1", STATUS=_line(status))

    def status(self, text: str) -> None:
        """Set the text that `systemctl status` shows."""
        self._send(STATUS=_line(text))

    def reloading(self) -> None:
        """Report that the configuration is being reloaded. A call of `ready` has to follow."""
        # Type=notify-reload requires the time in the same message, and later than the signal.
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """Report that monitoring is about to end."""
        self._send(STOPPING="1")

    def watchdog(self) -> None:
        """Report that the monitor is alive."""
        self._send(WATCHDOG="1")

    def _send(self, **fields: str) -> None:
        if not self._address:
            return
        # A repeated field moves to the end: the last of READY, RELOADING and STOPPING counts.
        message = {name: value for name, value in self._unsent.items() if name not in fields} | fields
        try:
            # One socket per message, so that no fork or child program inherits it.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(f"{name}={value}" for name, value in message.items()).encode(), self._address)
        except OSError:
            # The socket is full or gone, perhaps only for a moment. Monitoring continues.
            self._unsent = message
        else:
            self._unsent = {}


def _address(name: str) -> bytes:
    """Return the address in the kernel's form; empty if there is none or its family is not supported."""
    match name[:1]:
        case "/":
            return os.fsencode(name)
        case "@":
            return b"\0" + os.fsencode(name[1:])
        case _:
            return b""


def _microseconds(text: str, pid: str) -> int:
    """Return the limit of the watchdog in microseconds; 0 if there is none, or if it is for another process."""
    if pid and pid != str(os.getpid()):
        return 0
    # At most 64 bits. int() would also accept signs, spaces and underscores.
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0


def _line(text: str) -> str:
    """Return a text as one line, cut to a length that systemd accepts."""
    line = printable(text[: STATUS_LIMIT + 1])
    return line if len(line) <= STATUS_LIMIT else f"{line[: STATUS_LIMIT - 1]}…"
