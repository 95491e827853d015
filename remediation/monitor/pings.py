"""Tell a service such as healthchecks.io after each cycle that the monitor is alive, so that somebody watches it.

A thread sends each ping, so that the monitor never waits for it. The URL is a secret.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from remediation.messages.message import seconds, visible
from remediation.probes import deadline_io, http
from remediation.system.secrets import redacted

# How long a ping may take, in seconds, from the lookup of the name to the answer's status.
TIMEOUT = 10.0
# The least time between two pings that say the same, in seconds: healthchecks.io takes five a minute.
PAUSE = 15.0
# The most bytes of a reason.
_LONGEST = 10_000
_WHERE = "notify.heartbeat"
_SUCCESS = 2


class Pinger:
    """Sends at most one ping at a time, and logs once that pings fail, until one succeeds."""

    def __init__(self, log: Callable[..., None]) -> None:
        """Log a failure as `not_notified`."""
        self._log = log
        self._url = ""
        self._thread: threading.Thread | None = None
        self._last: tuple[bool, float] | None = None
        """What the last ping said, and when it began, on the monotonic clock."""
        self._is_failing = False

    def address(self, url: str) -> None:
        """Ping this URL from now on; none if it is empty."""
        if url != self._url:
            self._url, self._last, self._is_failing = url, None, False

    def ping(self, text: str, *, well: bool) -> None:
        """Say that a cycle has ended and whether all is well, unless the last ping has just said so or is under way."""
        now = time.monotonic()
        if not self._url or (self._last and self._last[0] == well and now < self._last[1] + PAUSE):
            return
        if self._thread and self._thread.is_alive():
            # A thread has deadlines of its own.
            return
        self._last = (well, now)
        body = visible(redacted(text)).encode(errors="backslashreplace")[:_LONGEST]
        url = self._url if well else _failing(self._url)
        self._thread = threading.Thread(target=self._send, args=(url, body), name="heartbeat", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # The system allows no more threads.
            self._thread = None
            self._failed(str(error))

    def close(self, timeout: float) -> None:
        """Wait for a ping under way, at most `timeout` seconds."""
        if self._thread:
            self._thread.join(timeout)

    def _send(self, url: str, body: bytes) -> None:
        # Only the main thread handles signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            status = http.post(url, body, deadline=time.monotonic() + TIMEOUT)
        except Exception as error:  # noqa: BLE001 - whatever it is, the monitor goes on
            self._failed(_why(error))
            return
        if status // 100 == _SUCCESS:
            self._is_failing = False
        else:
            self._failed(f"the answer was status {status}")

    def _failed(self, problem: str) -> None:
        # The next cycle says it again, whatever the last ping was to say.
        self._last = None
        if not self._is_failing:
            self._is_failing = True
            self._log("not_notified", problem=f"{_WHERE}: {problem}")


def _failing(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds(TIMEOUT)}s; it may have arrived"
    return deadline_io.why(error)
