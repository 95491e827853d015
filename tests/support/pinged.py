"""A service that takes the heartbeats of monitors, as healthchecks.io does."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sandbox import DEADLINE

SECRET = "1f0c2e5e-6b1a-4b0e-9d5e-0b1a2c3d4e5f"


class Watcher:
    """A real HTTP server that takes pings as healthchecks.io does."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port, by https with a TLS context."""
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()
        self.got: list[tuple[str, str]] = []
        watcher = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                watcher.got.append((self.path, body))
                watcher.answers.wait(DEADLINE)
                self.send_response(watcher.status)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self._server.server_port}/{SECRET}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self.answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
