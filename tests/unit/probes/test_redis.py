"""Redis is asked by its protocol, and only PONG is an answer."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
from answering import Server, drip, endless, full_queue

from remediation.probes import redis

Serve = Callable[..., Server]


def ping(url: str, seconds: float = 10.0) -> None:
    """Ask a server for a PING."""
    redis.ping(redis.target(url), ca_file=None, verify=True, deadline=time.monotonic() + seconds)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("redis://127.0.0.1:{}", b"*1\r\n$4\r\nPING\r\n"),
        ("redis://:s%C3%A9same@127.0.0.1:{}", b"*2\r\n$4\r\nAUTH\r\n$7\r\ns\xc3\xa9same\r\n"),
        ("redis://ann:x@127.0.0.1:{}/3", b"*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$1\r\nx\r\n"),
        ("redis://127.0.0.1:{}/3", b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"),
    ],
)
def test_it_enters_as_the_url_says(serve: Serve, url: str, asked: bytes) -> None:
    server = serve(b"+OK\r\n" * url.count("/3") + b"+OK\r\n" * url.count("@") + b"+PONG\r\n")

    ping(url.format(server.port))

    assert server.requests[0].startswith(asked)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"-LOADING Redis is loading\r\n", "it answers LOADING Redis is loading"),
        (b"-NOAUTH Authentication required.\r\n", "it answers NOAUTH Authentication required."),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no Redis: its answer begins with 'HTTP/1.1 400 Bad Request'"),
        (b"", "it closed the connection without an answer"),
        (b"\xff\x00\x1b[31m\r\n", "no Redis: its answer begins with '\\\\xff\\x00\\x1b[31m'"),
    ],
)
def test_another_answer_is_told(serve: Serve, answer: bytes, problem: str) -> None:
    with pytest.raises(redis.RedisError) as caught:
        ping(f"redis://127.0.0.1:{serve(answer).port}")

    assert str(caught.value) == problem


@pytest.mark.parametrize("begin", [b"", b"+PO"])
def test_a_server_that_drips_cannot_stretch_the_deadline(serve: Serve, begin: bytes) -> None:
    server, began = serve(lambda: drip(begin, b"N")), time.monotonic()

    with pytest.raises(TimeoutError):
        ping(f"redis://127.0.0.1:{server.port}", 0.4)

    assert time.monotonic() - began < 1.5


def test_a_server_that_never_accepts_cannot_stretch_the_deadline() -> None:
    with full_queue() as number, pytest.raises(TimeoutError):
        ping(f"redis://127.0.0.1:{number}", 0.4)


@pytest.mark.parametrize("begin", [b"", b"$2147483647\r\n", b"*100000000\r\n"])
def test_an_endless_answer_takes_no_memory(serve: Serve, begin: bytes) -> None:
    server = serve(lambda: endless(begin, b"x" * 65_536))
    tracemalloc.start()
    try:
        with pytest.raises(redis.RedisError):
            ping(f"redis://127.0.0.1:{server.port}")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 2_000_000


@pytest.mark.parametrize("url", ["redis://:123#hunter2@x", "redis://ann:12/hunter2@x:6379/0", "rediss://:1?hunter2@x"])
def test_a_password_that_is_not_encoded_is_not_taken_for_a_place(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode special characters") as caught:
        redis.target(url)

    assert "12" not in str(caught.value)


def test_a_socket_may_have_an_at_sign_in_its_path() -> None:
    assert redis.target("unix:///run/a@b.sock").place == "/run/a@b.sock"


@pytest.mark.parametrize("url", ["", "localhost", "http://x", "redis://:hunter2@x:99999", "unix:", "redis://[::1"])
def test_what_is_no_url_of_redis_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL such as redis://localhost") as caught:
        redis.target(url)

    assert "hunter2" not in str(caught.value)
