"""How a monitor gives way: to a second monitor, pauses, a spent budget, and systemd."""

from __future__ import annotations

import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sandbox import Sandbox, wait_for
from watching import kill, only_check, rows, starts, watching

EVERY_HOUR = "interval = 3600\nretries = 1"
SOON = "interval = 0.1\nretries = 1"


# A second one.


def test_a_second_monitor_says_who_watches_and_exits_with_1(project: Sandbox) -> None:
    project.configure(top=EVERY_HOUR)
    only_check(project, "pass")

    with watching(project) as monitor:
        monitor.ends_check(1)
        second = project.auto_heal("monitor")
        monitor.stop()
        with watching(project) as third:
            third.ends_check(1)
            code = third.stop()

    assert second.code == 1, second
    (line,) = second.lines
    who = rf"❌ This project is already watched by a monitor \(PID {monitor.process.pid}, since [-\d]+ [:\d]+\)"
    assert re.fullmatch(who, line)
    assert code == 0, third


@pytest.mark.soak
@pytest.mark.parametrize("name", ["monitor", "pause"])
def test_a_service_may_be_called_as_a_file_of_ours(project: Sandbox, name: str) -> None:
    project.configure(top=EVERY_HOUR)
    for file in (project.root / "auto-heal.toml", *(project.root / "healthtests").glob("test_*.py")):
        file.write_text(file.read_text().replace('"api"', f'"{name}"').replace("services.api", f"services.{name}"))

    with watching(project) as monitor:
        wait_for(lambda: monitor.statistics.heals == 1)
        kill(project, name)
        wait_for(lambda: monitor.statistics.heals == 2)

    assert starts(project) == 2


# Pauses.


@pytest.mark.soak
def test_a_pause_lets_checks_run_and_fail_and_nothing_be_healed_until_it_is_ended(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        paused = healthy.auto_heal("pause", "--for", "10m")
        kill(healthy)
        monitor.says("Status: sick ❌", times=2)
        check = healthy.check()
        during = starts(healthy)
        resumed = healthy.auto_heal("resume")
        wait_for(lambda: monitor.statistics.heals == 1)

    assert (paused.code, resumed.code) == (0, 0)
    assert check.code == 1, check
    assert "Healing is paused until " in check.output
    assert monitor.count("Healing is paused until ") >= 2
    assert (during, starts(healthy)) == (1, 2)
    assert healthy.answers()


@pytest.mark.soak
def test_a_pause_runs_out_by_itself(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        assert healthy.auto_heal("pause", "--for", "1s").code == 0
        kill(healthy)
        monitor.says("Healing is paused until ")
        monitor.says("🎉 Healed!")

    assert starts(healthy) == 2


@pytest.mark.soak
@pytest.mark.parametrize("content", ["", "{", '{"until": "noon"}'])
def test_a_pause_that_cannot_be_read_is_one_without_an_end(project: Sandbox, content: str) -> None:
    project.auto_heal("pause")
    (pause,) = (project.root / ".auto-heal").glob("*pause*")
    pause.write_text(content)

    result = project.auto_heal("check")

    assert result.code == 1, result
    assert "Healing is paused; run `auto-heal resume` to resume it" in result.output
    assert project.servers() == []


# Storms.


def test_a_spent_budget_is_told_once_and_the_checks_go_on(healthy: Sandbox) -> None:
    healthy.configure("budget = { restarts = 1, window = 600 }", top=SOON)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        kill(healthy)
        wait_for(lambda: monitor.statistics.heals == 1)
        kill(healthy)
        # Two cycles may be at it when it falls ill.
        monitor.says("Status: sick ❌", times=2)
        announced = monitor.count("Problems found, healing...")
        monitor.says("Status: sick ❌", times=5)
        code = monitor.stop()

    assert code == 0, monitor
    assert monitor.count("api: restart budget spent (1 in 600s), giving up") == 1, monitor
    assert monitor.count("budget") == 1, monitor
    assert monitor.count("Problems found, healing...") == announced, monitor
    assert starts(healthy) == 2
    assert rows(healthy, "SELECT count(*) FROM heals WHERE origin = 'monitor'") == [(1,)]


def test_after_a_spent_budget_single_restarts_are_tried(healthy: Sandbox) -> None:
    healthy.configure("budget = { restarts = 1, window = 5 }", top=SOON)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        kill(healthy)
        wait_for(lambda: monitor.statistics.heals == 1)
        kill(healthy)
        monitor.says("restart budget spent")
        wait_for(lambda: monitor.statistics.heals == 2)

    assert monitor.count("budget") == 1, monitor
    assert healthy.servers() == [healthy.pid]
    assert starts(healthy) == 3


# systemd.


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """A socket such as systemd's, in a folder whose name is short enough for one."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(Path(folder) / "notify"))
        listener.setblocking(False)
        yield listener


def test_systemd_hears_when_it_is_ready_lives_reloads_and_stops(project: Sandbox, manager: socket.socket) -> None:
    project.configure(top=EVERY_HOUR)
    only_check(project, "pass")
    heard: list[str] = []

    def hears(text: str, times: int = 1) -> bool:
        with suppress(BlockingIOError):
            while True:
                heard.extend(manager.recv(10_000).decode().splitlines())
        return sum(text in line for line in heard) >= times

    with watching(project, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="100000") as monitor:
        wait_for(lambda: hears("STATUS=1 check,") and hears("WATCHDOG=1", 3))
        monitor.signal(signal.SIGHUP)
        wait_for(lambda: hears("READY=1", 2))
        code = monitor.stop()
        wait_for(lambda: hears("STOPPING=1"))

    assert code == 0, monitor
    told = [line for line in heard if not line.startswith(("WATCHDOG", "MONOTONIC"))]
    assert told == [
        "READY=1", "STATUS=0 checks, 0 errors, 0 heals", "STATUS=1 check, 0 errors, 0 heals",
        "RELOADING=1", "READY=1", "STATUS=1 check, 0 errors, 0 heals", "STOPPING=1",
    ]  # fmt: skip
