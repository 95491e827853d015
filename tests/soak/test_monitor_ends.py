"""The monitor can end at any moment, and leaves nothing behind but the services."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from sandbox import Sandbox, wait_for
from watching import Watching, kill, only_check, starts, watching

EVERY_HOUR = "interval = 3600\nretries = 1"
SOON = "interval = 0.1\nretries = 1"
SLOW_START = 'env = { SLOW = "1" }'


def leaves_nothing_behind(monitor: Watching, project: Sandbox) -> None:
    """Assert that no process or folder of the monitor is left; its socket has no name."""
    wait_for(lambda: not monitor.crew)
    assert not list((project.root / ".auto-heal").glob("run-*"))


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
    assert monitor.count("Interrupted while healing api; the next check will continue") == 1, monitor
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
