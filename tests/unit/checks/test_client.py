"""The client that a check uses, against real sockets that answer correctly and wrongly."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from answering import redirect, serving, whole
from sandbox import Sandbox, free_port

from remediation.checks.client import Services
from remediation.checks.errors import ServiceDown
from remediation.config.load import load_project
from remediation.config.schema import ConfigError
from remediation.state.service_state import Store

BODY = b'[{"id": 1, "name": "Anna"}]'


class Server:
    """Answers each request with the same bytes, and closes the connection or keeps it."""

    def __init__(self, answer: bytes, *, keep: bool = False, number: int = 0) -> None:
        """Listen on a free port."""
        self.requests: list[bytes] = []
        self.connections = 0
        self._answer, self._keep = answer, keep
        self._socket = socket.create_server(("127.0.0.1", number or free_port()))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := connection.recv(65536):
                self.requests.append(request)
                connection.sendall(self._answer)
                if not self._keep:
                    return

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that are closed after the test."""
    servers: list[Server] = []

    def start(answer: bytes, **options: Any) -> Server:
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def services(project: Sandbox, number: int, *, timeout: float = 5.0, path: str = "") -> Services:
    """Return the services of a project whose api answers on a port, without a process of auto-heal."""
    url = f'url = "http://127.0.0.1:{number}{path}"'
    project.configure(url, top=f"timeout = {timeout}", command='restart = ["true"]')
    found = load_project(project.root, {})
    return Services(found, Store(found), sessions={}, properties=[])


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHUNKED = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (5, BODY[:5], len(BODY) - 5, BODY[5:])


@pytest.mark.parametrize(
    "answer",
    [
        reply(BODY, f"Content-Length: {len(BODY)}"),
        reply(BODY, "Connection: close"),
        reply(CHUNKED, "Transfer-Encoding: chunked"),
        reply(gzip.compress(BODY), f"Content-Length: {len(gzip.compress(BODY))}", "Content-Encoding: gzip"),
    ],
    ids=["length", "close", "chunked", "gzip"],
)
def test_a_whole_answer_is_read_in_whatever_way_it_is_sent(
    project: Sandbox, serve: Callable[..., Server], answer: bytes
) -> None:
    api = services(project, serve(answer).port)["api"]

    response = api.get("/api/girls")

    assert response.status_code == 200
    assert response.content == BODY
    assert response.json() == [{"id": 1, "name": "Anna"}]


def test_one_connection_serves_several_requests(project: Sandbox, serve: Callable[..., Server]) -> None:
    server = serve(reply(BODY, f"Content-Length: {len(BODY)}"), keep=True)
    api = services(project, server.port)["api"]

    for _ in range(3):
        api.get("/api/girls")

    assert server.connections == 1


@pytest.mark.parametrize(
    ("base", "path", "asked"),
    [("", "/a", b"GET /a "), ("", "a", b"GET /a "), ("", "?q=1", b"GET /?q=1 "), ("/v1", "/a", b"GET /v1/a ")],
)
def test_a_path_is_put_after_the_url(
    project: Sandbox, serve: Callable[..., Server], base: str, path: str, asked: bytes
) -> None:
    server = serve(reply(b"", "Content-Length: 0"))

    services(project, server.port, path=base)["api"].get(path)

    assert server.requests[0].startswith(asked)


def test_options_are_those_of_requests(project: Sandbox, serve: Callable[..., Server]) -> None:
    server = serve(reply(b"", "Content-Length: 0"))

    services(project, server.port)["api"].get("/", params={"page": 2}, headers={"X-Mine": "yes"})

    assert server.requests[0].startswith(b"GET /?page=2 ")
    assert b"X-Mine: yes" in server.requests[0]


def test_a_proxy_of_the_environment_has_no_say_on_this_machine(
    project: Sandbox, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    server = serve(reply(b"", "Content-Length: 0"))

    assert services(project, server.port)["api"].get("/").status_code == 200


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(b"half", "Content-Length: 100"), "api: GET /: the answer broke off"),
        (reply(b"ff\r\nhalf", "Transfer-Encoding: chunked"), "api: GET /: the answer broke off"),
        (reply(b"no gzip", "Content-Length: 7", "Content-Encoding: gzip"), "api: GET /: the body cannot be"),
        (b"", "api: GET /: "),
        (b"SSH-2.0-OpenSSH\r\n", "api: GET /: "),
        (
            reply(b"", "Location: /", "Content-Length: 0", "Connection: close", status="302 Found"),
            "api: GET /: redirected more than 20 times",
        ),
    ],
    ids=["short", "chunk", "gzip", "nothing", "ssh", "redirects"],
)
def test_a_bad_answer_is_told_in_one_sentence(
    project: Sandbox, serve: Callable[..., Server], answer: bytes, reason: str
) -> None:
    api = services(project, serve(answer).port)["api"]

    with pytest.raises(ServiceDown) as told:
        api.get("/")

    assert str(told.value).startswith(reason)
    assert len(str(told.value).splitlines()) == 1


def test_nobody_on_the_port_is_told_as_the_system_says_it(project: Sandbox) -> None:
    with pytest.raises(ServiceDown, match=r"^api: GET /x: connection refused$"):
        services(project, free_port())["api"].get("/x")


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", reply(b"a", "Content-Length: 2")])
def test_silence_ends_at_the_deadline(project: Sandbox, serve: Callable[..., Server], begin: bytes) -> None:
    api = services(project, serve(begin, keep=True).port, timeout=0.4)["api"]
    start = time.monotonic()

    with pytest.raises(ServiceDown, match=r"^api: GET /: no whole answer within 0.4s \(timeout\)$"):
        api.get("/")

    assert time.monotonic() - start < 5


def test_two_requests_share_the_time_of_an_attempt(project: Sandbox, serve: Callable[..., Server]) -> None:
    api = services(project, serve(b"", keep=True).port, timeout=1.5)["api"]
    start = time.monotonic()

    for _ in range(3):
        with pytest.raises(ServiceDown):
            api.get("/")

    assert time.monotonic() - start < 4


def test_where_a_redirect_led_is_kept_with_the_check(project: Sandbox) -> None:
    properties: list[tuple[str, object]] = []
    with serving() as serve:
        server = serve(redirect("/login?next=/items"), whole(b""))
        project.configure(f'url = "http://127.0.0.1:{server.port}"', command='restart = ["true"]')
        found = load_project(project.root, {})
        api = Services(found, Store(found), sessions={}, properties=properties)["api"]

        for _ in range(2):
            api.get("/items")

    assert properties == [("redirected to", "/login")]


def test_a_name_that_is_not_configured_is_told_with_those_that_are(project: Sandbox) -> None:
    with pytest.raises(ConfigError, match=r"no service is called 'apj' in auto-heal.toml; known services: api"):
        services(project, free_port())["apj"]


def test_what_is_shown_is_kept_with_the_check(project: Sandbox) -> None:
    properties: list[tuple[str, object]] = []
    found = load_project(project.root, {})

    Services(found, Store(found), sessions={}, properties=properties).show(count=6, of="girls")

    assert properties == [("count", 6), ("of", "girls")]
