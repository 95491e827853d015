"""The memory of a check is bounded, by the kernel's count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from answering import Server, bomb, endless, reply, whole
from asking import CHUNK, CHUNKED, LONG, deflated, handle
from sandbox import DEADLINE, Sandbox

# What a check may need for an answer in MiB, beyond what it needs for a small one: the body, room for it to grow, and
# the buffers below.
MOST = 32

ASK = """
import sys
from pathlib import Path
from remediation.config.load import load_project
from remediation.state.service_state import Store
from remediation.checks.errors import ServiceDown
from remediation.checks.client import Services
found = load_project(Path(sys.argv[1]), {})
api = Services(found, Store(found), sessions={}, properties=[])["api"]
# Not ru_maxrss, which begins with that of the parent, getrusage(2).
def most():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
api.get("/")
before = most()
try:
    api.get("/")
except ServiceDown as error:
    print(most() - before, error)
"""


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one program alone")
@pytest.mark.parametrize(
    "answer",
    [
        bomb("gzip"),
        bomb("gzip", "gzip"),
        bomb("gzip", "gzip", "gzip"),
        deflated(256 * 2**20),
        endless(CHUNKED, CHUNK),
        endless(reply(b""), bytes(65_536)),
        endless(reply(b"", f"Content-Length: {10**15}"), bytes(65_536)),
    ],
    ids=["gzip", "gzip twice", "gzip thrice", "deflate", "chunked", "until the end", "announced"],
)
def test_no_answer_fills_the_memory(project: Sandbox, serve: Callable[..., Server], answer: Iterable[bytes]) -> None:
    handle(project, serve(whole(b"ok"), answer).port)

    asked = subprocess.run(
        [sys.executable, "-c", ASK, project.root], env=project.environment(), capture_output=True, text=True,
        timeout=DEADLINE,
    )  # fmt: skip

    kilobytes, _, reason = asked.stdout.partition(" ")
    assert reason.strip() == f"api: GET /: {LONG}", asked
    assert int(kilobytes) < MOST * 1024
