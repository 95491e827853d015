"""The client of a check that asks a server, and the sentence with which it fails."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest
from answering import reply
from sandbox import Sandbox

from remediation.checks.client import Handle, Services
from remediation.checks.errors import ServiceDown
from remediation.config.load import load_project
from remediation.state.service_state import Store

CHUNKED = reply(b"", "Transfer-Encoding: chunked")
CHUNK = b"10000\r\n" + bytes(65_536) + b"\r\n"
LATE = "no whole answer within 0.5s (timeout)"
LONG = "the answer is longer than 8 MiB, which is as much as a check takes in"


def handle(project: Sandbox, number: int, *, timeout: float = 20.0, host: str = "127.0.0.1", more: str = "") -> Handle:
    """Return the client of a service that auto-heal does not run."""
    url = host if "://" in host else f"http://{host}:{number}"
    project.configure(f'url = "{url}"\n{more}', top=f"timeout = {timeout}", command='restart = ["true"]')
    found = load_project(project.root, {})
    return Services(found, Store(found), sessions={}, properties=[])["api"]


def failure(api: Handle, path: str = "/") -> str:
    """Return the sentence with which a request fails, without the request."""
    with pytest.raises(ServiceDown) as told:
        api.get(path)
    text = str(told.value)
    assert text.isprintable()
    assert len(text) < 400
    assert text.startswith(f"api: GET {path}: ")
    return text.removeprefix(f"api: GET {path}: ")


def deflated(size: int) -> Iterator[bytes]:
    """Yield an answer of this many zeros."""
    yield reply(b"", "Content-Encoding: deflate")
    squeeze = zlib.compressobj()
    for _ in range(size // 2**20):
        yield squeeze.compress(bytes(2**20))
    yield squeeze.flush()
