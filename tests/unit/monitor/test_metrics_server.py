"""The metrics server of a monitor: no scraper can hang or exhaust it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest
from sandbox import DEADLINE, Sandbox, wait_for
from scraping import one, scrape, serving, text, two_services

from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.monitor import metrics as module
from remediation.monitor.metrics import Metrics
from remediation.monitor.service_status import ServiceStatus

Connect = Callable[[bytes], socket.socket]


@pytest.fixture
def configured(project: Sandbox) -> Project:
    """A project of two services."""
    return two_services(project)


@pytest.fixture
def metrics(configured: Project) -> Iterator[Metrics]:
    """The served metrics of that project."""
    with serving(configured) as metrics:
        yield metrics


@pytest.fixture
def connect(metrics: Metrics) -> Iterator[Connect]:
    """Connect to the server and send something; the connection stays open until the end."""
    with ExitStack() as stack:

        def connect(said: bytes) -> socket.socket:
            connection = stack.enter_context(socket.create_connection((module.HOST, metrics.port), DEADLINE))
            connection.sendall(said)
            return connection

        yield connect


def request_threads() -> int:
    """Count the threads that serve requests."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


# The server.


def test_it_listens_on_this_machine_alone(metrics: Metrics) -> None:
    listening = [one for one in psutil.Process().net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]

    assert [one.laddr.ip for one in listening if one.laddr.port == metrics.port] == ["127.0.0.1"]


def test_a_port_that_is_taken_is_told_with_its_holder(project: Sandbox, configured: Project) -> None:
    stranger = project.stranger_on_port()

    with pytest.raises(ConfigError) as caught:
        Metrics(configured, ServiceStatus(configured.services), project.port)

    assert str(caught.value).startswith(f"--metrics: port {project.port} of 127.0.0.1 is held by ")
    assert f"(PID {stranger.pid}, user " in str(caught.value)
    assert str(caught.value).endswith("; stop it, or choose another port")


@pytest.mark.parametrize("port", [-1, 65_536, 10**9])
def test_what_is_no_port_is_told(configured: Project, port: int) -> None:
    with pytest.raises(ConfigError, match=f"^--metrics: {port} is no port; choose one from 1024 to 65535$"):
        Metrics(configured, ServiceStatus(configured.services), port)


def test_a_port_that_only_root_may_have_is_told(configured: Project) -> None:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 81))
    except PermissionError:
        with pytest.raises(ConfigError, match=r"^--metrics: port 81 of 127\.0\.0\.1 is not open to this user"):
            Metrics(configured, ServiceStatus(configured.services), 81)
    except OSError as error:
        pytest.skip(f"port 81: {error}")
    else:
        pytest.skip("every port is open to this user")


def test_closing_gives_the_port_and_the_thread_back(configured: Project) -> None:
    metrics = Metrics(configured, ServiceStatus(configured.services), 0)
    text(metrics)

    metrics.close()
    metrics.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "metrics"]
    Metrics(configured, ServiceStatus(configured.services), metrics.port).close()


def test_closing_hangs_up_on_those_who_hang(metrics: Metrics, connect: Connect) -> None:
    hung = connect(b"GET /metr")
    wait_for(lambda: request_threads() == 1)

    metrics.close()

    assert hung.recv(1) == b""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="only Linux tells of a thread's signals")
def test_the_thread_leaves_signals_to_others(metrics: Metrics) -> None:
    text(metrics)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "metrics"]

    with open(f"/proc/self/task/{thread.native_id}/status", encoding="ascii") as status:
        [blocked] = [int(line.split()[1], 16) for line in status if line.startswith("SigBlk")]

    assert all(blocked >> (number - 1) & 1 for number in (1, 2, 15, 17))


# Scrapers.


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost:", b"\x16\x03\x01"])
def test_scrapers_that_hang_hold_nobody_up_and_are_few(metrics: Metrics, connect: Connect, said: bytes) -> None:
    for _ in range(30):
        connect(said)

    assert one(scrape(metrics), "checks_total", verdict="sick") == 0
    wait_for(lambda: request_threads() <= 8)


def test_the_oldest_scraper_makes_room(connect: Connect) -> None:
    oldest = connect(b"GET /metrics HTTP/1.1\r\n")

    others = [connect(b"GET /metrics HTTP/1.1\r\n") for _ in range(8)]

    assert oldest.recv(1) == b""
    others[-1].sendall(b"\r\n")
    assert others[-1].recv(12) == b"HTTP/1.0 200"


def test_a_silent_scraper_is_hung_up_on(configured: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    metrics = Metrics(configured, ServiceStatus(configured.services), 0)

    with socket.create_connection(("127.0.0.1", metrics.port), DEADLINE) as silent:
        said = silent.recv(1)

    assert said == b""
    wait_for(lambda: request_threads() == 0)
    metrics.close()


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x00" * 70_000 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"DELETE /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
    ids=["tls", "nul", "short", "version", "url", "method", "headers"],
)
def test_garbage_is_refused_in_silence(
    metrics: Metrics, connect: Connect, capfd: pytest.CaptureFixture[str], said: bytes
) -> None:
    answer = b""
    with suppress(ConnectionError):
        answer = connect(said).recv(4096)

    assert b" 200 " not in answer
    assert one(scrape(metrics), "checks_total", verdict="sick") == 0
    wait_for(lambda: request_threads() == 0)
    assert capfd.readouterr() == ("", "")


def test_scrapers_that_go_away_are_no_news(
    metrics: Metrics, connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    for said in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        for _ in range(5):
            connect(said).close()

    assert one(scrape(metrics), "checks_total", verdict="sick") == 0
    wait_for(lambda: request_threads() == 0)
    assert capfd.readouterr() == ("", "")


def test_many_scrapes_leave_neither_threads_nor_descriptors(metrics: Metrics) -> None:
    text(metrics)
    wait_for(lambda: request_threads() == 0)
    before = psutil.Process().num_fds()

    for _ in range(50):
        text(metrics)

    wait_for(lambda: request_threads() == 0)
    assert psutil.Process().num_fds() == before
