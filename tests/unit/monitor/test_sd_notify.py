"""The monitor's messages to systemd, over real sockets: each arrives whole, whatever state the socket is in."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.monitor.sd_notify import STATUS_LIMIT, Systemd

# What systemd reads of one message.
LARGEST_MESSAGE = 4096


class Manager:
    """The other end: a socket like systemd's, at a path or, on Linux only, at an abstract name."""

    def __init__(self, address: str) -> None:
        """Listen at `address`, written as in NOTIFY_SOCKET."""
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return the messages that arrived since the last call."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(10 * LARGEST_MESSAGE).decode())
        return messages

    def fill(self) -> None:
        """Send foreign messages until no more fit, from whichever sender.

        The queue may hold more messages than the buffer of one sender, net.unix.max_dgram_qlen in unix(7).
        """
        while self._send_foreign():
            pass

    def _send_foreign(self) -> int:
        """Send as many messages as one sender can, and return their number."""
        sent = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger, suppress(OSError):
            stranger.setblocking(False)
            while True:
                stranger.sendto(b"X=1", self.socket.getsockname())
                sent += 1
        return sent

    def close(self) -> None:
        """Stop listening; the path stays, like that of a crashed manager."""
        self.socket.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def manager(folder: Path) -> Iterator[Manager]:
    """A manager that listens at a path."""
    with closing(Manager(str(folder / "notify"))) as made:
        yield made


def systemd(address: str) -> Systemd:
    """Return a sender of messages to the manager at `address`."""
    return Systemd({"NOTIFY_SOCKET": address})


def abstract() -> str:
    """Return an unused abstract name."""
    return f"@auto-heal/{secrets.token_hex(8)}"


def say_everything(speaker: Systemd) -> None:
    """Call every method once."""
    speaker.ready("well")
    speaker.status("well")
    speaker.reloading()
    speaker.watchdog()
    speaker.stopping()


def descriptors() -> int:
    """Count the open descriptors of this process."""
    return psutil.Process().num_fds()


# Messages.


def test_each_message_arrives_at_a_path(manager: Manager) -> None:
    speaker = systemd(manager.address)

    speaker.ready("watching api")
    speaker.status("all well")
    speaker.watchdog()
    speaker.stopping()

    assert manager.heard() == ["READY=1\nSTATUS=watching api", "STATUS=all well", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_each_message_arrives_at_an_abstract_name() -> None:
    with closing(Manager(abstract())) as manager:
        say_everything(systemd(manager.address))

        messages = manager.heard()

    assert [message.partition("=")[0] for message in messages] == [
        "READY", "STATUS", "RELOADING", "WATCHDOG", "STOPPING",
    ]  # fmt: skip


def test_a_path_may_have_any_name(folder: Path) -> None:
    with closing(Manager(str(folder / "не @ всё %"))) as manager:
        systemd(manager.address).watchdog()

        assert manager.heard() == ["WATCHDOG=1"]


def test_a_reload_tells_the_monotonic_time_in_the_same_message(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000

    systemd(manager.address).reloading()

    (message,) = manager.heard()
    first, _, moment = message.partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(moment) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("2 services\nREADY=1", "2 services\\nREADY=1"),
        ("\x1b[31mred\x00\udcff", "\\x1b[31mred\\x00\\udcff"),
        ("Статус: Здоров ✅", "Статус: Здоров ✅"),
        ("", ""),
        ("x" * STATUS_LIMIT, "x" * STATUS_LIMIT),
        ("x" * 1_000_000, "x" * (STATUS_LIMIT - 1) + "…"),
        ("\n" * STATUS_LIMIT, "\\n" * (STATUS_LIMIT // 2 - 1) + "\\…"),
    ],
    ids=["lines", "control", "unicode", "nothing", "longest", "longer", "longer when visible"],
)
def test_a_status_is_one_visible_line_of_bounded_length(manager: Manager, text: str, line: str) -> None:
    systemd(manager.address).status(text)

    assert manager.heard() == [f"STATUS={line}"]


@given(st.text(st.characters(), max_size=2 * STATUS_LIMIT))
def test_no_status_makes_a_second_line_or_a_message_too_long(text: str) -> None:
    with tempfile.TemporaryDirectory() as name, closing(Manager(f"{name}/notify")) as manager:
        systemd(manager.address).ready(text)

        (message,) = manager.heard()

    assert len(message.splitlines()) == 2
    assert len(message.encode()) <= LARGEST_MESSAGE


# Sockets in a bad state.


@pytest.mark.parametrize(
    "address", ["", "vsock:2:1234", "notify", "/dev/null", "/", "/no/such", "@nobody", "/" + 200 * "x"]
)
def test_without_a_socket_that_listens_nothing_happens(address: str) -> None:
    speaker = systemd(address)
    before = descriptors()

    for _ in range(50):
        say_everything(speaker)

    assert descriptors() == before


def test_without_the_variable_nothing_happens() -> None:
    speaker = Systemd({"WATCHDOG_USEC": "1000000"})

    say_everything(speaker)

    assert speaker.watchdog_interval is None


def test_nobody_waits_for_a_queue_that_is_full(manager: Manager) -> None:
    speaker = systemd(manager.address)
    manager.fill()

    say_everything(speaker)

    assert set(manager.heard()) == {"X=1"}


def test_what_did_not_fit_goes_out_with_the_next_message(manager: Manager) -> None:
    speaker = systemd(manager.address)
    manager.fill()
    speaker.ready("begun")
    speaker.status("all well")
    manager.heard()

    speaker.watchdog()
    speaker.watchdog()

    assert manager.heard() == ["READY=1\nSTATUS=all well\nWATCHDOG=1", "WATCHDOG=1"]


def test_of_states_that_did_not_fit_the_newest_comes_last(manager: Manager) -> None:
    speaker = systemd(manager.address)
    manager.fill()
    speaker.ready("begun")
    speaker.reloading()
    manager.heard()

    speaker.ready("again")

    (message,) = manager.heard()
    fields = [line.partition("=")[0] for line in message.splitlines()]
    assert fields == ["RELOADING", "MONOTONIC_USEC", "READY", "STATUS"]


def test_a_manager_that_comes_back_hears_what_it_missed(manager: Manager) -> None:
    speaker = systemd(manager.address)
    manager.close()
    speaker.ready("begun")
    os.unlink(manager.address)

    with closing(Manager(manager.address)) as back:
        speaker.watchdog()

        assert back.heard() == ["READY=1\nSTATUS=begun\nWATCHDOG=1"]


# The environment.


def test_a_child_inherits_none_of_it(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)

    speaker = Systemd(os.environ)

    child = subprocess.run(["env"], capture_output=True, text=True, check=True)
    assert not {line.partition("=")[0] for line in child.stdout.splitlines()} & ours.keys()
    assert speaker.watchdog_interval == 1.5


def test_the_rest_of_the_environment_is_kept() -> None:
    environ = {"NOTIFY_SOCKET": "/dev/null", "PATH": "/bin"}

    Systemd(environ)

    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("changes", "interval"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "nonsense"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 10_000}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
    ],
    ids=["for all", "for us", "for another", "for nobody", "none", "negative", "no number", "endless", "no time"],
)
def test_the_watchdog_wants_to_hear_of_us_twice_in_its_time(changes: dict[str, str], interval: float | None) -> None:
    assert Systemd({"NOTIFY_SOCKET": "/dev/null", **changes}).watchdog_interval == interval
