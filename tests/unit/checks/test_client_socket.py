"""Requests over a Unix socket: readiness, version and checks, with all limits of a request over a port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from answering import redirect, whole
from asking import LATE, failure, handle
from sandbox import DEADLINE, Sandbox

from remediation.checks.client import Handle
from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.probes import readiness, version

Serve = Callable[..., list[bytes]]
MORE = 'ready = "/health"\nversion = { path = "/version" }\nheaders = { X-Mine = "yes" }\n'


@pytest.fixture
def serve(project: Sandbox) -> Iterator[Serve]:
    """Answer each connection to the project's socket with the next of these; return the requests."""
    with ExitStack() as stack:

        def start(*answers: bytes) -> list[bytes]:
            requests: list[bytes] = []
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(project.root / "app.sock"))
            server.listen()

            def work() -> None:
                with suppress(OSError):
                    while True:
                        client, _ = server.accept()
                        with client:
                            requests.append(client.recv(65_536))
                            client.sendall(answers[(len(requests) - 1) % len(answers)])

            threading.Thread(target=work, daemon=True).start()
            stack.callback(server.shutdown, socket.SHUT_RDWR)
            return requests

        yield start


def configured(project: Sandbox, *, timeout: float = 20.0) -> tuple[Handle, Service]:
    """Return the client and the service."""
    # `handle` takes what has :// for a URL.
    api = handle(project, 0, host=f"unix://{project.root / 'app.sock'}", timeout=timeout, more=MORE)
    return api, load_project(project.root, {}).services["api"]


def test_readiness_version_and_checks_ask_over_the_socket(project: Sandbox, serve: Serve) -> None:
    requests = serve(whole(b'{"version": "1.0"}'))
    api, service = configured(project)

    assert readiness.unready(service, timeout=DEADLINE) is None
    assert version.answering(service, timeout=DEADLINE) == "1.0"
    assert api.get("/check?a=b").json() == {"version": "1.0"}

    assert [request.split()[1] for request in requests] == [b"/health", b"/version", b"/check?a=b"]
    for request in requests:
        assert b"\r\nHost: localhost\r\n" in request
        assert b"\r\nX-Mine: yes\r\n" in request


def test_a_proxy_of_the_environment_has_no_say(project: Sandbox, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    serve(whole(b""))

    assert configured(project)[0].get("/").status_code == 200


@pytest.mark.parametrize("place", ["/b", "http://localhost/b"])
def test_a_redirect_to_the_service_itself_is_followed(project: Sandbox, serve: Serve, place: str) -> None:
    requests = serve(redirect(place), whole(b""))

    assert configured(project)[0].get("/a").status_code == 200
    assert requests[1].startswith(b"GET /b ")


@pytest.mark.parametrize("place", ["https://localhost/b", "http://localhost:81/b", "http://example.com/b", "unix:///x"])
def test_a_redirect_to_anything_else_is_refused(project: Sandbox, serve: Serve, place: str) -> None:
    requests = serve(redirect(place), whole(b""))

    assert failure(configured(project)[0], "/a").startswith(f"redirected to '{place}")
    assert len(requests) == 1


def test_a_socket_that_is_missing_stale_or_silent_is_told_as_such(project: Sandbox) -> None:
    path = project.root / "app.sock"
    api, service = configured(project, timeout=0.5)
    assert failure(api) == readiness.unready(service, timeout=DEADLINE) == "there is no such socket"

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert failure(api) == "connection refused"
        server.listen(0)
        api, _ = configured(project, timeout=0.5)
        assert failure(api) == LATE
        _fills(path)
        assert readiness.unready(service, timeout=0.2) == "timed out"


def _fills(path: Path) -> None:
    """Fill the queue of a socket that accepts nothing."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(str(path))
        except BlockingIOError:
            client.close()
            return
