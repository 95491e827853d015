"""The Peachmini API, with nothing but the standard library: GET /api/health and GET /api/girls.

Listens on HOST and PORT, by default localhost:8787.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "1.0.0"
STARTED = time.monotonic()
GIRLS = [
    {"id": number, "name": name} for number, name in enumerate(("Anna", "Mila", "Vera", "Nika", "Lika", "Dana"), 1)
]


def answer(path: str) -> tuple[int, object]:
    """Return status and body for a path."""
    match path.partition("?")[0]:
        case "/api/health":
            return 200, {"status": "ok", "version": VERSION, "uptime": round(time.monotonic() - STARTED, 3)}
        case "/api/girls":
            return 200, GIRLS
        case _:
            return 404, {"error": "not found", "path": path}


class Handler(BaseHTTPRequestHandler):
    """Answers in JSON, even errors."""

    protocol_version = "HTTP/1.1"
    # Send head and body in one piece; otherwise a client that keeps the connection waits for a delayed ACK.
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer a GET."""
        self._reply(*answer(self.path))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in JSON, too, when http.server itself refuses a request."""
        self.close_connection = True
        self._reply(code, {"error": message or explain or self.responses[code][0]})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it
        """Log a request if the log can be written."""
        with suppress(OSError):
            super().log_message(format, *args)

    def _reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Listens on the first address of HOST."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name, as http.server would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


def main() -> None:
    """Serve until a signal ends the process."""
    host, port = os.environ.get("HOST", "localhost"), int(os.environ.get("PORT", "8787"))
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    Server.address_family = family
    with Server((str(address[0]), port), Handler) as server:
        # Keep serving even if the log cannot be written.
        with suppress(OSError):
            print(f"Peachmini API on http://{host}:{port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", flush=True)


if __name__ == "__main__":
    main()
