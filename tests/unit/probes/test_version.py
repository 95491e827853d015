"""The version of a service: found wherever the service reports it, or one sentence says why not, always in time."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
import trustme
from sandbox import DEADLINE, Sandbox

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.probes.version import NoVersionError, answering

MOST = 65_536

Serve = Callable[..., list[bytes]]


def http(body: bytes, status: int = 200, *headers: str) -> bytes:
    """Return an answer with a body and its length."""
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def telling(version: object) -> bytes:
    """Return an answer that reports a version."""
    return http(json.dumps({"version": version}).encode())


def configured(project: Sandbox, *, field: str = "version", service: str = "") -> Service:
    """Return the service of the project, which reports its version in this field."""
    where = f'version = {{ path = "/about", field = {json.dumps(field)} }}'
    project.configure(f"{where}\n{service}", command='command = "true"')
    return load_project(project.root, {}).services["api"]


@pytest.fixture
def serve(project: Sandbox) -> Iterator[Serve]:
    """Answer each connection to the project's port with these bytes, then with `drip`; return the requests."""
    over = threading.Event()
    with ExitStack() as stack:

        def serve(answer: bytes, *, drip: bytes = b"", context: ssl.SSLContext | None = None) -> list[bytes]:
            requests: list[bytes] = []
            server = stack.enter_context(socket.create_server(("127.0.0.1", project.port)))
            server.settimeout(0.05)

            def converse(client: socket.socket) -> None:
                requests.append(client.recv(65_536))
                client.sendall(answer)
                while drip and not over.wait(0.05):
                    client.sendall(drip)

            def work() -> None:
                while not over.is_set():
                    with suppress(OSError):
                        client, _ = server.accept()
                        client.settimeout(DEADLINE)
                        with context.wrap_socket(client, server_side=True) if context else client as connection:
                            converse(connection)

            thread = threading.Thread(target=work)
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)
            return requests

        yield serve


def problem(service: Service, *, timeout: float = DEADLINE) -> str:
    """Return why no version answers."""
    with pytest.raises(NoVersionError) as caught:
        answering(service, timeout=timeout)
    return str(caught.value)


# What is found.


@pytest.mark.parametrize(
    ("value", "version"),
    [
        ('"2.0"', "2.0"),
        ('" v2.0-rc1\\n"', "v2.0-rc1"),
        ('"версия 2 🎈"', "версия 2 🎈"),
        ("3", "3"),
        ("1.10", "1.10"),
        ("-1e5", "-1e5"),
        ("20261124120112483920123456789", "20261124120112483920123456789"),
        ("1" * 5_000, "1" * 5_000),
        ("true", "true"),
        ("false", "false"),
        ('"a\\u001b[31m\\nb\\ud800"', "a\\x1b[31m\\nb\\ud800"),
    ],
)
def test_a_version_is_text_as_it_stands_in_the_answer(project: Sandbox, serve: Serve, value: str, version: str) -> None:
    service = configured(project)
    serve(http(f'{{"status": "ok", "version": {value}}}'.encode()))

    assert answering(service, timeout=DEADLINE) == version


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("build", {"build": "2"}),
        ("build.version", {"build": {"version": "2"}}),
        ("build.version", {"build.version": "2", "build": {"version": "1"}}),
        ("a.b.c", {"a": {"b": {"c": "2"}}}),
        ("git commit", {"git commit": "2"}),
        (".", {".": "2"}),
    ],
)
def test_a_field_is_one_of_this_name_or_the_way_to_it(
    project: Sandbox, serve: Serve, field: str, answer: dict[str, object]
) -> None:
    service = configured(project, field=field)
    serve(http(json.dumps(answer).encode()))

    assert answering(service, timeout=DEADLINE) == "2"


def test_its_path_comes_after_that_of_the_url(project: Sandbox, serve: Serve) -> None:
    service = configured(project, service=f'url = "{project.url}/base/"')
    requests = serve(telling("2"))

    answering(service, timeout=DEADLINE)

    assert requests[0].startswith(b"GET /base/about HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\n\r\n{"version": "2"}',
        b'HTTP/1.0 200 OK\r\n\r\n{"version": "2"}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"versio\r\n8\r\nn": "2"}\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10;x=y\r\n{"version": "2"}\r\n0\r\nX-Trailer: y\r\n\r\n',
        http(b'{"version": "2"}', 203),
        http(b'\xef\xbb\xbf{"version": "2"}'),
        http(b'{"version": "2"}' + b" " * (MOST - 16)),
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(b'{"version": "2"}'),
    ],
    ids=["until close", "HTTP 1.0", "chunked", "with trailer", "203", "byte order mark", "the longest", "100"],
)
def test_a_body_is_read_however_it_is_sent(project: Sandbox, serve: Serve, answer: bytes) -> None:
    service = configured(project)
    serve(answer)

    assert answering(service, timeout=DEADLINE) == "2"


def test_a_version_is_told_over_tls_as_well(project: Sandbox, serve: Serve) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(project.root / "ca.pem"))
    url = f'url = "https://127.0.0.1:{project.port}"'
    serve(telling("2"), context=context)

    assert answering(configured(project, service=f'{url}\nca_file = "ca.pem"'), timeout=DEADLINE) == "2"
    assert "certificate" in problem(configured(project, service=url))


# What is not.


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http(b'{"version": "2"}', 500), "status 500"),
        (http(b'{"version": "2"}', 404), "status 404"),
        (http(b"", 302, "Location: /elsewhere"), "status 302, a redirect to '/elsewhere'"),
        (http(b"", 204), "the answer is no JSON"),
        (http(b"<html>2</html>"), "the answer is no JSON"),
        (http(b'{"version": "2"'), "the answer is no JSON"),
        (http(b"\xff\xfe\xff"), "the answer is no JSON"),
        (http(b"[" * 60_000), "the answer is no JSON"),
        (http(b"[1]"), "the answer is no JSON object"),
        (http(b'"2"'), "the answer is no JSON object"),
        (http(b'{"status": "ok"}'), "no field 'version' in the answer"),
        (telling(None), "the field 'version' is neither text nor a number"),
        (telling({"major": 2}), "the field 'version' is neither text nor a number"),
        (telling([2]), "the field 'version' is neither text nor a number"),
        (telling(" \n"), "the field 'version' is empty"),
        (http(b'{"version": "2"}' + b" " * (MOST - 15)), f"its answer is longer than {MOST} bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 5_000_000, f"its answer is longer than {MOST} bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"version": "2"}', "its answer breaks off"),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"version": "2"}',
            "its answer breaks off",
        ),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{"version": "2"}',
            "its answer breaks off",
        ),
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP: its answer begins with 'SSH-2.0-OpenSSH'"),
    ],
)
def test_what_is_no_version_is_told_in_one_sentence(project: Sandbox, serve: Serve, answer: bytes, why: str) -> None:
    service = configured(project)
    serve(answer)

    assert problem(service) == why


@pytest.mark.parametrize("length", [b"-1", b"-5", b"7fffffffffffffff"])
def test_a_length_that_cannot_be_is_not_believed(project: Sandbox, serve: Serve, length: bytes) -> None:
    service = configured(project)
    serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + length + b"\r\n" + b"x" * 1_000_000)

    assert problem(service)


@pytest.mark.parametrize("field", ["version.major", "build.version.x", "Version", ".version", "version."])
def test_a_way_that_leads_nowhere_is_no_field(project: Sandbox, serve: Serve, field: str) -> None:
    service = configured(project, field=field)
    serve(http(b'{"version": "2", "build": {"version": [1]}}'))

    assert problem(service) == f"no field {field!r} in the answer"


def test_a_port_that_refuses_tells_no_version(project: Sandbox) -> None:
    assert problem(configured(project)) == "Connection refused"


def test_a_service_that_is_not_configured_to_tell_one_tells_none(project: Sandbox) -> None:
    service = load_project(project.root, {}).services["api"]

    assert "configured" in problem(service)


def test_what_is_told_is_printable_and_short(project: Sandbox, serve: Serve) -> None:
    service = configured(project, field="x\x1b\n" * 1_000)
    serve(telling("2"))

    why = problem(service)

    assert why.isprintable()
    assert len(why) <= 201


@pytest.mark.parametrize(
    ("answer", "drip", "why"),
    [
        (b"HTTP/1.1 2", b"0", "timed out"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", "timed out"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{", b" ", "timed out"),
        (b"HTTP/1.1 200 OK\r\n\r\n{", b" ", "timed out"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "timed out"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: y\r\n", "timed out"),
        (b"HTTP/1.1 500 OK\r\nContent-Length: 60000\r\n\r\n{", b" ", "status 500"),
    ],
    ids=["status", "head", "length", "until close", "chunks", "trailers", "of an error"],
)
def test_an_answer_that_trickles_does_not_stretch_the_deadline(
    project: Sandbox, serve: Serve, answer: bytes, drip: bytes, why: str
) -> None:
    service = configured(project)
    serve(answer, drip=drip)
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(problem(service, timeout=0.5)), daemon=True)
    thread.start()

    thread.join(DEADLINE)

    assert told == [why]
