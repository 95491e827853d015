"""Servers that answer by path, as those of many frameworks do when they are well."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from sandbox import free_port


class Reply(NamedTuple):
    """What a path answers."""

    body: str = ""
    status: int = 200
    type: str = "application/json"
    location: str = ""


NOT_FOUND = Reply("Not Found", 404, "text/plain")


class Talker:
    """A server with a reply for each path; all others get that of "*"."""

    def __init__(self, replies: Mapping[str, Reply | str]) -> None:
        """Listen on a free port."""
        self.asked: list[str] = []
        talker, known = self, {path: Reply(one) if isinstance(one, str) else one for path, one in replies.items()}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                talker.asked.append(self.path)
                reply = known.get(self.path, known.get("*", NOT_FOUND))
                self.send_response(reply.status)
                for name, value in (("Content-Type", reply.type), ("Location", reply.location)):
                    if value:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body.encode())))
                self.end_headers()
                self.wfile.write(reply.body.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.port = free_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """Its url."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def talking(replies: Mapping[str, Reply | str]) -> Iterator[Talker]:
    """Yield a server with these replies."""
    talker = Talker(replies)
    try:
        yield talker
    finally:
        talker.close()
