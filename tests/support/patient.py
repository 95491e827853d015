"""A Peachmini server that can fail on request, for the tests: by its environment or by HTTP.

GET /fall-ill/NAME, until it is restarted: `errors` (500 for all), `empty` (no girls), `hang` (no answer),
`drip-head` and `drip-body` (a byte now and then).
Environment, from its start on:
    DEAF=1       ignores SIGTERM
    CHILDREN=N   has N children, each in a session of its own and as deaf as its parent
    HOLDERS=N    has N such children that keep the listening socket open
    CRASH=N      prints a line and exits with N
    SLOW=S       listens only after S seconds
    BUSY=FILE    exits with 1 while FILE exists
    DROP=1       as root, has its children become another user
    CHILD_FILE=F appends the PIDs of its children to F
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "peachmini"))

import server

_NOBODY = 65_534
illness = ""


class Handler(server.Handler):
    """Answers as Peachmini does while it is healthy."""

    def do_GET(self) -> None:
        """Answer, or fail as requested."""
        global illness
        if self.path.startswith("/fall-ill/"):
            illness = self.path.rpartition("/")[2]
            self._reply(200, {"illness": illness})
        elif illness == "hang":
            threading.Event().wait()
        elif illness.startswith("drip"):
            self.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " if illness == "drip-head" else b"HTTP/1.1 200 OK\r\n\r\n")
        elif illness == "errors":
            self._reply(500, {"error": "ill"})
        elif illness == "empty" and self.path == "/api/girls":
            self._reply(200, [])
        else:
            super().do_GET()

    def drip(self, begin: bytes) -> None:
        """Begin an answer, and continue it for ever."""
        self.wfile.write(begin)
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def bear(count: int) -> None:
    """Fork children in sessions of their own; as forks they keep our open descriptors."""
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.environ.get("DROP") and os.geteuid() == 0:
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            while True:
                signal.pause()
        elif name := os.environ.get("CHILD_FILE"):
            with Path(name).open("a", encoding="ascii") as file:
                file.write(f"{pid}\n")


def main() -> None:
    """Serve, in the state that the environment asks for."""
    environ = os.environ
    if environ.get("DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if status := environ.get("CRASH"):
        print("no database \x1b[31mat all\x1b[0m", flush=True)
        sys.exit(int(status))
    if (busy := environ.get("BUSY")) and Path(busy).exists():
        sys.exit(1)
    bear(int(environ.get("CHILDREN", "0")))
    time.sleep(float(environ.get("SLOW", "0")))
    with server.Server((environ["HOST"], int(environ["PORT"])), Handler) as listening:
        bear(int(environ.get("HOLDERS", "0")))
        listening.serve_forever()


if __name__ == "__main__":
    main()
