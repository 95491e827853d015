"""A server that reports its version and that auto-heal did not start, for the tests that wait for a version."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """A server of one version that auto-heal did not start."""

    def __init__(self, port: int) -> None:
        """Listen, without a version yet."""
        self.versions: Iterator[str] = itertools.repeat("")
        self.status = 200
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b'{"id": "%s"}' % next(web.versions).encode()
                self.send_response(web.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def become(self, version: str) -> None:
        """Answer as this version from now on."""
        self.versions = itertools.repeat(version)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
