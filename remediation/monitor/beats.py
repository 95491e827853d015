"""Take heartbeats by HTTP, at the port of the metrics: `POST /beat/NAME`, with the project's token.

For jobs on other hosts, in containers or of other users, which cannot write into the project's folder.
"""

from __future__ import annotations

import hmac
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from remediation.state import heartbeats

PREFIX = "/beat/"
_BEARER = "bearer "
# What `POST /beat/NAME/fail` stands for.
_FAIL = "fail"
_HIGHEST_CODE = 255
# As much of a request's body as is read, so that the client gets the answer before the connection is closed.
_MOST_READ = 100_000
# A page of another site could have its own name point here; a browser then sends that name.
_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


Headers = Message | dict[str, str]


class Receiver(Struct, frozen=True):
    """Where heartbeats go, and the token that allows to send one; without a token, nobody may."""

    folder: Path
    token: str

    def receive(self, path: str, headers: Headers) -> HTTPStatus:
        """Store the heartbeat of a request, and return the status of the answer, which tells strangers nothing."""
        parts = urlsplit(path)
        name, code = _named(parts.path)
        if not self.token or name is None or code is None or not _is_local(headers.get("Host", "")):
            return HTTPStatus.NOT_FOUND
        if not hmac.compare_digest(_token(headers, parts.query).encode(), self.token.encode()):
            return HTTPStatus.UNAUTHORIZED
        try:
            heartbeats.send(self.folder, name, code)
        except heartbeats.HeartbeatError as error:
            is_name = error.message.key == "beat_name"
            return HTTPStatus.NOT_FOUND if is_name else HTTPStatus.INSUFFICIENT_STORAGE
        except OSError:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.OK


def _named(path: str) -> tuple[str | None, int | None]:
    """Return the name and the exit code in `/beat/NAME`, `/beat/NAME/3` or `/beat/NAME/fail`."""
    if not path.startswith(PREFIX):
        return None, None
    name, slash, ended = path.removeprefix(PREFIX).partition("/")
    if not slash:
        return name, 0
    if ended == _FAIL:
        return name, 1
    is_code = ended.isascii() and ended.isdigit() and int(ended[:4]) <= _HIGHEST_CODE and len(ended) <= len("255")
    return name, int(ended) if is_code else None


def _is_local(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _HOSTS
    except ValueError:
        return False


def _token(headers: Headers, query: str) -> str:
    given = headers.get("Authorization", "")
    if given[: len(_BEARER)].lower() == _BEARER:
        return given[len(_BEARER) :].strip()
    return parse_qs(query).get("token", [""])[-1]


class BeatHandler(BaseHTTPRequestHandler):
    """Answers requests about heartbeats; a class beside it answers all other requests."""

    def do_GET(self) -> None:
        """Refuse what would change something by GET."""
        if urlsplit(self.path).path.startswith(PREFIX):
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "POST"))
        else:
            super().do_GET()  # type: ignore[misc]

    def do_POST(self) -> None:
        """Store a heartbeat."""
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        length = self.headers.get("Content-Length", "0")
        self.rfile.read(min(int(length), _MOST_READ) if length.isascii() and length.isdigit() else 0)
        status = receiver.receive(self.path, self.headers)
        self._answer(status, *([("WWW-Authenticate", "Bearer")] if status is HTTPStatus.UNAUTHORIZED else []))

    def _answer(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        body = f"{status.phrase}\n".encode()
        self.send_response(status)
        for header in (*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)
