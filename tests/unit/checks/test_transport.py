"""A check ends in time, in bounded memory and with one sentence, whatever the server answers."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from itertools import chain, islice

import pytest
from answering import MOST, Server, bomb, drip, endless, full_queue, redirect, reply, whole
from asking import CHUNK, CHUNKED, LATE, LONG, deflated, failure, handle
from sandbox import Sandbox, free_port

from remediation.checks.errors import ServiceDown

Serve = Callable[..., Server]


# Time.


@pytest.mark.parametrize(
    ("begin", "byte"),
    [
        (reply(b"", "Content-Length: 1000"), b"x"),
        (reply(b""), b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"0\r\n", b"X-Trailer: 1\r\n"),
        (reply(b"", "Content-Encoding: gzip"), gzip.compress(b"")),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 2", b"0"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b""),
    ],
    ids=[
        "body", "body until the end", "chunks", "size of a chunk", "trailers", "nothing, compressed", "header",
        "headers", "status", "continue", "silence",
    ],
)  # fmt: skip
def test_a_byte_now_and_then_does_not_stretch_the_time(
    project: Sandbox, serve: Serve, begin: bytes, byte: bytes
) -> None:
    server = serve(lambda: drip(begin, byte))

    assert failure(handle(project, server.port, timeout=0.5)) == LATE

    assert not server.finished


def test_work_for_nothing_does_not_stretch_the_time(project: Sandbox, serve: Serve) -> None:
    nothing = gzip.compress(gzip.compress(b"") * 2_000_000)

    assert failure(handle(project, serve(whole(nothing, "Content-Encoding: gzip, gzip")).port, timeout=0.5)) == LATE


def test_redirects_that_take_their_time_do_not_stretch_it(project: Sandbox, serve: Serve) -> None:
    server = serve(lambda: chain(islice(drip(b"", b""), 4), [redirect("/")]))

    assert failure(handle(project, server.port, timeout=0.5)) == LATE

    assert len(server.requests) < 10


def test_an_address_that_swallows_packets_ends_at_the_deadline(project: Sandbox) -> None:
    with full_queue() as number:
        assert failure(handle(project, number, timeout=0.5)) == LATE


def test_a_timeout_of_the_check_itself_can_only_shorten_that_of_the_attempt(project: Sandbox, serve: Serve) -> None:
    server = serve(lambda: drip(reply(b""), b"x"))
    api = handle(project, server.port, timeout=0.5)

    for timeout in (0.1, 1000, (None, 0.1), (1000, 1000), None):
        with pytest.raises(ServiceDown, match=f"^api: GET /: {re.escape(LATE)}$"):
            api.get("/", timeout=timeout)

    assert not server.finished


# Size.


@pytest.mark.parametrize(
    ("begin", "chunk"),
    [
        (CHUNKED, CHUNK),
        (reply(b""), bytes(65_536)),
        (reply(b"", f"Content-Length: {10**15}"), bytes(65_536)),
    ],
    ids=["chunked", "until the end", "announced"],
)
def test_an_endless_body_is_not_taken_in(project: Sandbox, serve: Serve, begin: bytes, chunk: bytes) -> None:
    server = serve(endless(begin, chunk))

    assert failure(handle(project, server.port)) == LONG

    assert not server.finished


def test_a_decompression_bomb_does_not_go_off(project: Sandbox, serve: Serve) -> None:
    bombs = [bomb("gzip"), bomb("gzip", "gzip"), bomb("gzip", "gzip", "gzip"), deflated(64 * 2**20)]
    api = handle(project, serve(*bombs).port)

    assert [failure(api) for _ in bombs] == [LONG] * len(bombs)


def test_an_honest_body_of_megabytes_is_taken_in(project: Sandbox, serve: Serve) -> None:
    body = b"[" + b'"x",' * 1_300_000 + b"0]"
    api = handle(project, serve(whole(body), whole(gzip.compress(body), "Content-Encoding: gzip")).port)

    assert [len(api.get("/").json()) for _ in range(2)] == [1_300_001] * 2


def test_redirects_have_no_room_of_their_own(project: Sandbox, serve: Serve) -> None:
    step = whole(bytes(3 * 2**20), "Location: /", status="302 Found")

    assert failure(handle(project, serve(step).port)) == LONG


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (endless(b"HTTP/1.1 200 OK\r\n", b"X-Many: y\r\n"), "no HTTP that can be read: got more than 100 headers"),
        (
            endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000),
            "no HTTP that can be read: got more than 65536 bytes when reading header line",
        ),
        (endless(b"", b"x" * 1000), "no HTTP that can be read: got more than 65536 bytes when reading status line"),
    ],
    ids=["headers", "a header", "a status"],
)
def test_an_endless_head_is_not_taken_in(project: Sandbox, serve: Serve, answer: bytes, reason: str) -> None:
    server = serve(answer)

    assert failure(handle(project, server.port)) == reason

    assert not server.finished
    assert MOST > 2**24


# What is no answer, or half of one.


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP: its answer begins with 'SSH-2.0-OpenSSH_9.6'"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no HTTP: its answer begins with 'PRI * HTTP/2.0'"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP that can be read: HTTP/2"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", r"no HTTP: its answer begins with '\x00\x00\x12\x04\x00"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "it answers in TLS; if it is to be asked so, its url begins with https:"),
        (b"\x1b[2J\xff\n\n", r"no HTTP: its answer begins with '\x1b[2Jÿ'"),
        (b"HTTP/1.1 OK\r\n\r\n", "no HTTP: its answer begins with 'HTTP/1.1 OK'"),
        (reply(b"half", "Content-Length: 100"), "the answer broke off: 96 bytes are missing after 4"),
        (reply(b"ff\r\nhalf", "Transfer-Encoding: chunked"), "the answer broke off: "),
        (reply(b"xyz\r\nhalf", "Transfer-Encoding: chunked"), "the answer broke off: "),
        (reply(b"x", "Content-Length: 1, 2"), "no HTTP that can be read: it has 2 lengths"),
        (reply(b"no gzip", "Content-Encoding: gzip"), "the body cannot be decompressed: "),
        (reply(b"x", f"Content-Encoding: {', '.join(['gzip'] * 1000)}"), "the body cannot be decompressed: Too many"),
    ],
    ids=[
        "nothing", "ssh", "h2 preface", "h2", "h2 frame", "tls", "escapes", "no status", "short", "chunk", "no chunk",
        "lengths", "no gzip", "a thousand codings",
    ],
)  # fmt: skip
def test_what_is_no_whole_http_is_told_as_what_it_is(
    project: Sandbox, serve: Serve, answer: bytes, reason: str
) -> None:
    assert failure(handle(project, serve(answer).port)).startswith(reason)


def test_a_reset_in_the_middle_of_a_body_is_told(project: Sandbox, serve: Serve) -> None:
    server = serve(reply(b"half", "Content-Length: 100"), reset=True)

    assert failure(handle(project, server.port)) == "the answer broke off: connection reset by peer"


def test_a_name_that_does_not_resolve_is_told(project: Sandbox) -> None:
    reason = failure(handle(project, free_port(), host="nowhere.invalid"))

    assert reason.startswith("its name does not resolve: ")


# Redirects.


def test_a_redirect_within_the_service_is_followed(project: Sandbox, serve: Serve) -> None:
    server = serve(redirect("/new"), redirect("newer"), whole(b"here"))

    answer = handle(project, server.port).get("/old")

    assert answer.text == "here"
    assert [request.split()[1] for request in server.requests] == [b"/old", b"/new", b"/newer"]
    assert [step.status_code for step in answer.history] == [302, 302]


def test_a_redirect_loop_ends(project: Sandbox, serve: Serve) -> None:
    server = serve(redirect("/b"), redirect("/a"))

    assert failure(handle(project, server.port)) == "redirected more than 20 times"

    assert len(server.requests) == 21


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://me:secret@example.com/x?token=secret#y", "'http://example.com/x'"),
        ("//example.com:81/x", "'http://example.com:81/x'"),
        ("http://127.0.0.1:{other}/", "'http://127.0.0.1:{other}/'"),
        ("https://127.0.0.1:{other}/", "'https://127.0.0.1:{other}/'"),
        ("http://127.0.0.1.example.com:{port}/", "'http://127.0.0.1.example.com:{port}/'"),
        ("ftp://127.0.0.1:{port}/", "'ftp://127.0.0.1:{port}/'"),
        ("javascript:alert(1)", "'javascript:"),
        ("http://[", "what is no URL"),
        ("http://127.0.0.1:99999999/", "what is no URL"),
        ("http://\x1b[2J\xff/", "what is no URL"),
    ],
)
def test_a_redirect_to_somebody_else_is_not_followed(project: Sandbox, serve: Serve, to: str, told: str) -> None:
    elsewhere = serve(whole(b"not me"))
    server: Server = serve(lambda: [redirect(to.format(port=server.port, other=elsewhere.port))])

    reason = failure(handle(project, server.port))

    assert reason.startswith(f"redirected to {told.format(port=server.port, other=elsewhere.port)}")
    assert "secret" not in reason
    assert not elsewhere.requests


@pytest.mark.parametrize("to", ["/new", "http://example.com/", "ftp://[", "\xff"])
def test_a_redirect_is_handed_back_if_that_is_asked_for(project: Sandbox, serve: Serve, to: str) -> None:
    server = serve(redirect(to))

    answer = handle(project, server.port).get("/", allow_redirects=False)

    assert answer.status_code == 302
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "304 Not Modified"])
def test_an_answer_without_a_body_or_a_place_to_go_is_an_answer(project: Sandbox, serve: Serve, status: str) -> None:
    answer = handle(project, serve(reply(b"", status=status)).port).get("/")

    assert f"{answer.status_code}" == status[:3]
    assert answer.content == b""
