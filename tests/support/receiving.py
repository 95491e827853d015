"""Receivers of messages that answer or hang, and the processes that send to them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

SECRET = "s3cr3t-t0ken"
# Waits for an answer longer than any test, regardless of apprise's own timeout.
_PATIENT = "?rto=600&cto=600"


class Receiver:
    """A real HTTP server that takes messages as apprise sends them."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.status = 200
        self.answers = threading.Event()
        """Whether it answers what it has got; set at first."""
        self.answers.set()
        self.got: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(json.loads(body) if "json" in self.headers["Content-Type"] else {})
                receiver.answers.wait()
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{SECRET}@127.0.0.1:{self._server.server_port}/{SECRET}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def titles(self) -> list[str]:
        """The titles of the messages, without the name of the machine."""
        return [got["title"].partition(" (")[0] for got in self.got]

    def close(self) -> None:
        """Stop."""
        self.answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def answering() -> Iterator[Receiver]:
    """Yield a receiver that answers."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def hanging() -> Iterator[str]:
    """Yield the URL of a receiver that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"json://user:{SECRET}@127.0.0.1:{server.getsockname()[1]}/{SECRET}/{_PATIENT}"


def messengers() -> list[psutil.Process]:
    """Return the messenger processes that this process has started and that live or were not waited for."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "remediation.monitor.notification_worker" in child.cmdline() or child.status() == psutil.STATUS_ZOMBIE:
                found.append(child)
    return found
