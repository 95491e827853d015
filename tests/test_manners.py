"""How a monitor ends, makes room, holds back: signals, a second monitor, pauses, a spent budget, systemd."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sandbox import Sandbox, wait_for
from watching import Watching, kill, only_check, rows, starts, watching

EVERY_HOUR = "interval = 3600\nretries = 1"
SOON = "interval = 0.1\nretries = 1"
SLOW_START = 'env = { SLOW = "1" }'


def leaves_nothing_behind(monitor: Watching, project: Sandbox) -> None:
    """See that no process and no folder of the monitor is left; nor is its socket, which has no name."""
    wait_for(lambda: not monitor.crew)
    assert not list((project.root / ".auto-heal").glob("run-*"))


# The end.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_statistics_and_exit_code_0(healthy: Sandbox, number: signal.Signals) -> None:
    healthy.configure(top=EVERY_HOUR)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        monitor.signal(number)
        code = monitor.wait()
        leaves_nothing_behind(monitor, healthy)

    assert code == 0, monitor
    assert monitor.lines[-3:] == [
        "Statistics: Checks: 1 | Errors: 0 | Heals: 0",
        "Uptime: 100.0% (1/1 successful checks)",
        "The monitor has ended",
    ]
    assert healthy.answers()


def test_ctrl_c_breaks_off_a_check_which_then_does_not_count(project: Sandbox) -> None:
    project.configure(top="interval = 3600\ntimeout = 60")
    only_check(project, "pathlib.Path('in').touch(); time.sleep(60)")

    with watching(project) as monitor:
        wait_for((project.root / "in").exists)
        code = monitor.stop()
        leaves_nothing_behind(monitor, project)

    assert code == 0, monitor
    assert monitor.count("no verdict") == 0, monitor
    assert monitor.count("Statistics") == 0, monitor


def test_ctrl_c_at_whatever_moment_of_a_cycle_is_no_failure(project: Sandbox) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    project.configure(top="interval = 0.01\nretries = 1")
    only_check(project, "pass")
    for _ in range(3):
        with watching(project) as monitor:
            monitor.ends_check(1)
            time.sleep(chance.uniform(0.0, 0.06))
            code = monitor.stop()
            leaves_nothing_behind(monitor, project)

        assert (code, monitor.statistics.errors) == (0, 0), f"seed {seed}: {monitor}"


def test_ctrl_c_while_the_checks_are_collected_ends_it_with_0(project: Sandbox) -> None:
    project.write("healthtests/test_late.py", "import pathlib, time\npathlib.Path('in').touch()\ntime.sleep(60)\n")

    with watching(project) as monitor:
        wait_for((project.root / "in").exists)
        code = monitor.stop()
        leaves_nothing_behind(monitor, project)

    assert code == 0, monitor
    assert monitor.lines == ["The monitor has ended"]


def test_ctrl_c_while_edited_checks_are_collected_is_no_complaint_about_them(project: Sandbox) -> None:
    project.configure(top=SOON)
    only_check(project, "pass")

    with watching(project) as monitor:
        monitor.ends_check(1)
        project.write("healthtests/test_late.py", "import pathlib, time\npathlib.Path('in').touch()\ntime.sleep(60)\n")
        wait_for((project.root / "in").exists)
        code = monitor.stop()
        leaves_nothing_behind(monitor, project)

    assert code == 0, monitor
    assert monitor.count("cannot be collected") == 0, monitor


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_heal_that_is_under_way_is_finished_first(project: Sandbox, number: signal.Signals) -> None:
    project.configure(SLOW_START, top=EVERY_HOUR)

    with watching(project) as monitor:
        monitor.says("Server started with PID")
        os.killpg(monitor.process.pid, number)
        monitor.says("Finishing the heal of api; Ctrl+C again ends at once")
        code = monitor.wait()
        leaves_nothing_behind(monitor, project)

    assert code == 0, monitor
    assert project.answers()
    assert monitor.count("🎉 Healed!") == 1, monitor
    assert monitor.statistics.heals == 1, monitor


def test_a_second_ctrl_c_ends_at_once_and_says_what_was_left_and_the_next_check_recovers(project: Sandbox) -> None:
    project.configure('env = { SLOW = "3" }', top=EVERY_HOUR)

    with watching(project) as monitor:
        monitor.says("Server started with PID")
        monitor.ctrl_c()
        monitor.says("Finishing the heal of api")
        monitor.ctrl_c()
        code = monitor.wait()
        wait_for(lambda: not monitor.crew)

    assert code == 2, monitor
    assert monitor.count("Ended in the middle of the heal of api; the next check goes on with it") == 1, monitor
    assert monitor.count("Server is up") == 0, monitor
    project.configure(top=EVERY_HOUR)
    recovered = project.auto_heal("check")
    assert recovered.code == 0, recovered
    assert project.servers() == [project.pid]
    assert not list((project.root / ".auto-heal").glob("run-*"))


def test_a_killed_monitor_leaves_the_service_alone_which_the_next_one_adopts(healthy: Sandbox) -> None:
    healthy.configure(top=EVERY_HOUR)
    pid = healthy.pid

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        monitor.process.kill()
        monitor.wait()
        leaves_nothing_behind(monitor, healthy)
    with watching(healthy) as successor:
        successor.ends_check(1)
        kept = healthy.pid
        kill(healthy)
        successor.says("The process of api died, checking now")
        successor.says("🎉 Healed!")

    assert kept == pid
    assert starts(healthy) == 2


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


def test_a_pause_runs_out_by_itself(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        assert healthy.auto_heal("pause", "--for", "1s").code == 0
        kill(healthy)
        monitor.says("Healing is paused until ")
        monitor.says("🎉 Healed!")

    assert starts(healthy) == 2


@pytest.mark.parametrize("content", ["", "{", '{"until": "noon"}'])
def test_a_pause_that_cannot_be_read_is_one_without_an_end(project: Sandbox, content: str) -> None:
    project.auto_heal("pause")
    (pause,) = (project.root / ".auto-heal").glob("*pause*")
    pause.write_text(content)

    result = project.auto_heal("check")

    assert result.code == 1, result
    assert "Healing is paused; `auto-heal resume` ends that" in result.output
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
    healthy.configure("budget = { restarts = 1, window = 1 }", top=SOON)

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
        wait_for(lambda: hears("STATUS=1 checks") and hears("WATCHDOG=1", 3))
        monitor.signal(signal.SIGHUP)
        wait_for(lambda: hears("READY=1", 2))
        code = monitor.stop()
        wait_for(lambda: hears("STOPPING=1"))

    assert code == 0, monitor
    told = [line for line in heard if not line.startswith(("WATCHDOG", "MONOTONIC"))]
    assert told == [
        "READY=1", "STATUS=0 checks, 0 errors, 0 heals", "STATUS=1 checks, 0 errors, 0 heals",
        "RELOADING=1", "READY=1", "STATUS=1 checks, 0 errors, 0 heals", "STOPPING=1",
    ]  # fmt: skip
