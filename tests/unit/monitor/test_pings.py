"""The monitor's own heartbeat: it never waits for one, sends one at a time, and logs a failure once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from certificates import context
from pinged import SECRET, Watcher
from sandbox import DEADLINE, free_port, wait_for

from remediation.monitor import pings
from remediation.monitor.pings import Pinger
from remediation.probes import tls


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """A server that takes pings."""
    made = Watcher()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def told() -> list[str]:
    """The messages to the user."""
    return []


@pytest.fixture
def pinger(watcher: Watcher, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Pinger:
    """A pinger that makes no pause."""
    monkeypatch.setattr(pings, "PAUSE", 0.0)
    made = Pinger(lambda _, problem: told.append(str(problem)))
    made.address(watcher.url)
    return made


def say(pinger: Pinger, text: str = "", *, well: bool = True) -> None:
    """Ping, and wait for the end of it."""
    pinger.ping(text, well=well)
    pinger.close(DEADLINE)


def test_a_cycle_that_is_well_and_one_that_is_not_are_told_apart(watcher: Watcher, pinger: Pinger) -> None:
    say(pinger, "healthy")
    say(pinger, "/api/health: no answer\nprocess: gone", well=False)

    assert watcher.got == [(f"/{SECRET}", "healthy"), (f"/{SECRET}/fail", "/api/health: no answer\nprocess: gone")]


def test_by_https_only_a_certificate_that_this_machine_trusts_counts(
    pinger: Pinger, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    watcher = Watcher(context(authority.issue_cert("localhost")))
    try:
        pinger.address(watcher.url)
        say(pinger)
        monkeypatch.setattr(tls, "trusted", lambda: str(tmp_path / "ca.pem"))
        say(pinger, "healthy")
    finally:
        watcher.close()

    assert watcher.got == [(f"/{SECRET}", "healthy")]
    assert len(told) == 1
    assert told[0].startswith("notify.heartbeat: ")
    assert SECRET not in told[0]


def test_a_query_stays_at_the_end_of_the_url(watcher: Watcher, pinger: Pinger) -> None:
    pinger.address(f"{watcher.url}/?rid=1")

    say(pinger, "sick", well=False)

    assert watcher.got == [(f"/{SECRET}/fail?rid=1", "sick")]


def test_a_reason_is_bounded_and_drives_no_terminal(watcher: Watcher, pinger: Pinger) -> None:
    say(pinger, "\x1b[31m" + "x" * 100_000, well=False)

    [(_, body)] = watcher.got
    assert body.startswith(r"\x1b[31mxxx")
    assert len(body) == 10_000


def test_without_a_url_nothing_is_sent(watcher: Watcher, pinger: Pinger) -> None:
    pinger.address("")

    say(pinger)

    assert watcher.got == []


def test_the_same_is_not_said_again_at_once_but_a_change_is(
    watcher: Watcher, pinger: Pinger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "PAUSE", 1000.0)

    for well in (True, True, False, False, True):
        say(pinger, "x", well=well)

    assert [path.endswith("/fail") for path, _ in watcher.got] == [False, True, False]


def test_one_that_hangs_holds_nobody_up_and_is_the_only_one(watcher: Watcher, pinger: Pinger) -> None:
    watcher.answers.clear()

    pinger.ping("first", well=True)
    wait_for(lambda: watcher.got)
    pinger.ping("second", well=False)
    pinger.close(0.0)

    assert [thread.name for thread in threading.enumerate()].count("heartbeat") == 1
    watcher.answers.set()
    pinger.close(DEADLINE)
    assert [body for _, body in watcher.got] == ["first"]


def test_a_failure_is_told_once_without_the_url_and_again_after_a_success(
    watcher: Watcher, pinger: Pinger, told: list[str]
) -> None:
    for status in (404, 500, 200, 503):
        watcher.status = status
        say(pinger)

    assert told == [f"notify.heartbeat: the answer was status {status}" for status in (404, 503)]


def test_after_a_failure_the_next_cycle_pings_without_a_pause(
    watcher: Watcher, pinger: Pinger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "PAUSE", 1000.0)
    watcher.status = 500

    say(pinger)
    say(pinger)

    assert len(watcher.got) == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}/x", "Connection refused"),
        ("https://127.0.0.1:{port}/x", "Connection refused"),
        ("http://name.invalid/x", "Name or service not known"),
    ],
)
def test_a_watcher_that_cannot_be_reached_is_told(pinger: Pinger, told: list[str], url: str, said: str) -> None:
    pinger.address(url.format(port=free_port()))

    say(pinger)

    assert len(told) == 1
    assert told[0].startswith("notify.heartbeat: ")
    assert said in told[0] or "name" in told[0].lower()


def test_a_watcher_that_drips_cannot_stretch_the_deadline(
    pinger: Pinger, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "TIMEOUT", 0.3)
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        pinger.address(f"http://127.0.0.1:{server.getsockname()[1]}/x")
        say(pinger)
        stop.set()
        thread.join(DEADLINE)

    assert told == ["notify.heartbeat: no answer within 0.3s; it may have arrived"]
