"""The readiness probe ends in time and says why; it reads no body and follows no redirect."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from answering import Answer, Server, bomb, drip, endless, full_queue, redirect, reply, whole
from asking import handle
from sandbox import DEADLINE, Sandbox, free_port

from remediation.config.load import load_project
from remediation.probes import readiness

Serve = Callable[..., Server]


def probed(
    project: Sandbox, number: int, timeout: float = 20.0, host: str = "127.0.0.1", ready: str = "/"
) -> str | None:
    """Return the problem that the readiness probe finds."""
    handle(project, number, host=host, more=f'ready = "{ready}"')
    return readiness.unready(load_project(project.root, {}).services["api"], timeout=timeout)


@pytest.mark.parametrize(
    ("begin", "byte"),
    [
        (b"", b""),
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "status", "headers", "header", "continue"],
)
def test_a_head_that_trickles_does_not_stretch_the_time(
    project: Sandbox, serve: Serve, begin: bytes, byte: bytes
) -> None:
    server = serve(lambda: drip(begin, byte))

    assert probed(project, server.port, 0.5) == "timed out"

    assert not server.finished


@pytest.mark.parametrize("ready", ["/", "tcp"])
def test_an_address_that_swallows_packets_is_given_up_in_time(project: Sandbox, ready: str) -> None:
    with full_queue() as number:
        assert probed(project, number, 0.5, ready=ready) == "timed out"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (endless(b"HTTP/1.1 200 OK\r\n", b"X-Many: y\r\n"), "no HTTP that can be read: got more than 100 headers"),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000), "no HTTP that can be read: got more than 65536 bytes when"),
        (endless(b"", b"x" * 1000), "no HTTP that can be read: got more than 65536 bytes when reading status line"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timed out"),
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP: its answer begins with 'SSH-2.0-OpenSSH_9.6'"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no HTTP: its answer begins with 'PRI * HTTP/2.0'"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "it answers in TLS; if it is to be asked so, its url begins with https:"),
        (b"\x00\xff\x1b[2J", r"no HTTP: its answer begins with '\x00ÿ\x1b[2J'"),
        (redirect("/login?token=abc"), "status 302, a redirect to '/login'"),
        (whole(b"", status="302 Found"), "status 302"),
        (whole(b"", status="403 No"), "status 403; if it asks for credentials, set headers, or user and pass"),
        (whole(b"", status="503 Sorry"), "status 503"),
    ],
    ids=[
        "headers",
        "header",
        "status",
        "continue",
        "nothing",
        "ssh",
        "h2",
        "tls",
        "binary",
        "redirect",
        "nowhere",
        "403",
        "503",
    ],
)
def test_what_is_no_good_answer_is_told_as_what_it_is(
    project: Sandbox, serve: Serve, answer: bytes, reason: str
) -> None:
    assert (probed(project, serve(answer).port, timeout=2.0) or "").startswith(reason)


@pytest.mark.parametrize(
    "answer",
    [
        bomb("gzip"),
        endless(reply(b""), bytes(65_536)),
        lambda: drip(reply(b""), b"x"),
        reply(b"half", "Content-Length: 9"),
    ],
    ids=["bomb", "endless", "drip", "short"],
)
def test_a_body_is_not_read(project: Sandbox, serve: Serve, answer: Answer) -> None:
    server = serve(answer)

    assert probed(project, server.port) is None


def test_a_name_that_does_not_resolve_is_told(project: Sandbox) -> None:
    assert probed(project, free_port(), host="nowhere.invalid")


# A name server that takes questions and never answers, in a network and with a resolv.conf of its own.
SILENCE = """
ip link set lo up
mount -t tmpfs none /etc
printf 'nameserver 127.0.0.1\noptions timeout:30\n' > /etc/resolv.conf
exec "$@"
"""
ASK = """
import socket, sys, time
from pathlib import Path
from remediation.probes import readiness
from remediation.config.load import load_project
from remediation.state.service_state import Store
from remediation.checks.errors import ServiceDown
from remediation.checks.client import Services
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))
found = load_project(Path(sys.argv[1]), {})
print(readiness.unready(found.services["api"], timeout=0.5))
try:
    Services(found, Store(found), sessions={}, properties=[])["api"].get("/")
except ServiceDown as error:
    print(error)
"""


def test_a_name_server_that_keeps_silent_does_not_stretch_the_time(project: Sandbox) -> None:
    apart = ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-ec", SILENCE, "sh"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    handle(project, free_port(), host="http://service.example", timeout=0.5, more='ready = "/"')

    asked = subprocess.run(
        [*apart, sys.executable, "-c", ASK, project.root], env=project.environment(), capture_output=True, text=True,
        timeout=DEADLINE,
    )  # fmt: skip

    assert asked.stdout.splitlines() == [
        "no name server answered in time",
        "api: GET /: its name does not resolve: no name server answered in time",
    ], asked


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", None),
        ('headers = { Host = "shop.example", Accept = "application/json" }', None),
        ('headers = { Authorization = "Bearer stale" }', "status 401; if it asks for credentials"),
    ],
    ids=["without", "other headers", "with"],
)
def test_a_service_that_asks_for_credentials_is_up_unless_it_refuses_ours(
    project: Sandbox, serve: Serve, keys: str, expected: str | None
) -> None:
    handle(project, serve(whole(b"", status="401 Unauthorized")).port, more=f'ready = "/"\n{keys}')
    service = load_project(project.root, {}).services["api"]

    found = readiness.probe(service, timeout=2.0)

    assert found.asks_credentials is (expected is None)
    assert (found.problem or "").startswith(expected or "")
    assert (found.problem is None) is (expected is None)
