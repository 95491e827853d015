"""A process that dies under a monitor is healed at once, unless it was ended on purpose or a healer works on it."""

from __future__ import annotations

import json
import shutil
import signal
import sys

import pytest
from sandbox import DEADLINE, PATIENT, Sandbox, free_port, wait_for
from watching import Statistics, Watching, kill, pid_of, starts, watching

EVERY_HOUR = "interval = 3600\nretries = 1"


def is_killed_and_healed(monitor: Watching, project: Sandbox, heals: int) -> None:
    """Kill the service, and assert that it is healed."""
    killed = kill(project)

    wait_for(lambda: monitor.statistics.heals == heals)
    assert pid_of(project, "api") != killed
    assert project.servers() == [project.pid]
    assert project.answers()


# ProcessWatch.


def test_a_death_is_healed_however_long_the_interval(healthy: Sandbox) -> None:
    healthy.configure(top=EVERY_HOUR)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        is_killed_and_healed(monitor, healthy, 1)
        is_killed_and_healed(monitor, healthy, 2)

    assert monitor.count("The process of api died, checking now") == 2
    assert monitor.statistics == Statistics(checks=3, errors=2, heals=2)


FOLLOWED = """
import pathlib, time

import pytest


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.heals(name)) for name in {names}])
def test_up(services, name):
    assert services[name].get("/api/health").ok


@pytest.mark.timeout(60)
@pytest.mark.heals({names}[0])
def test_slow():
    pathlib.Path("entered").touch()
    while pathlib.Path("wait").exists():
        time.sleep(0.01)
"""


def several(project: Sandbox, count: int) -> list[str]:
    """Configure this many started services with a check each, and one check that waits while a file exists."""
    names = ["api", *(f"s{number}" for number in range(1, count))]
    command = f"command = {json.dumps([sys.executable, str(PATIENT)])}"
    more = "".join(
        f'[services.{name}]\n{command}\nurl = "http://127.0.0.1:{free_port()}"\nready = "/api/health"\n'
        for name in names[1:]
    )
    project.configure(top=EVERY_HOUR, more=more)
    shutil.rmtree(project.root / "healthtests")
    project.write("healthtests/test_all.py", FOLLOWED.format(names=names))
    assert project.auto_heal("start").code == 0
    return names


@pytest.mark.soak
def test_ten_services_killed_at_once_are_all_healed(project: Sandbox) -> None:
    names = several(project, 10)

    with watching(project) as monitor:
        monitor.ends_check(1)
        pids = {name: pid_of(project, name) for name in names}

        for name in names:
            kill(project, name)

        wait_for(lambda: monitor.statistics.heals == 10)
        assert all(pid_of(project, name) not in (0, pid) for name, pid in pids.items()), monitor
    assert len(project.servers()) == 10


@pytest.mark.soak
def test_a_death_is_healed_while_checks_of_another_service_hang(project: Sandbox) -> None:
    several(project, 2)
    project.write("wait", "")

    with watching(project) as monitor:
        wait_for((project.root / "entered").exists)
        killed = kill(project, "s1")
        statistics = monitor.ends_check(1)
        after = pid_of(project, "s1")
        (project.root / "wait").unlink()
        last = monitor.ends_check(2)

    assert statistics == Statistics(checks=1, errors=1, heals=1), monitor
    assert after not in (0, killed)
    assert (last.checks, last.heals) == (2, 1), monitor
    assert pid_of(project, "s1") == after


@pytest.mark.soak
@pytest.mark.parametrize("moment", ["Server is up", "🎉 Healed!"])
def test_a_process_that_dies_as_soon_as_it_was_started_is_healed_again(project: Sandbox, moment: str) -> None:
    project.configure(top=EVERY_HOUR)

    with watching(project) as monitor:
        monitor.says(moment)
        kill(project)
        wait_for(lambda: monitor.statistics.heals == 2)

    assert starts(project) == 2
    assert project.servers() == [project.pid]


# By hand.


def test_a_restart_by_hand_is_no_death_and_the_new_process_is_watched(healthy: Sandbox) -> None:
    healthy.configure('env = { SLOW = "0.3" }', top=EVERY_HOUR)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        by_hand = healthy.auto_heal("restart")
        is_killed_and_healed(monitor, healthy, 1)

    assert by_hand.code == 0, by_hand
    assert monitor.count("died, checking now") == 1, monitor
    assert starts(healthy) == 3


def test_a_service_stopped_by_hand_stays_stopped(healthy: Sandbox) -> None:
    healthy.configure(top="interval = 0.2\nretries = 1")

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        assert healthy.auto_heal("stop").code == 0
        monitor.says("stopped by hand", times=2)
        monitor.says("Status: sick ❌", times=2)

    assert monitor.count("died, checking now") == 0, monitor
    assert starts(healthy) == 1
    assert healthy.servers() == []


# One restart a fault.


def test_two_checks_at_once_do_one_restart(project: Sandbox) -> None:
    runs = [project.start("remediation", "check") for _ in range(2)]
    try:
        outputs = [run.communicate(timeout=DEADLINE)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()

    assert [run.returncode for run in runs] == [0, 0], outputs
    assert starts(project) == 1
    assert project.servers() == [project.pid]


def test_a_monitor_a_check_and_a_restart_by_hand_do_one_restart_at_one_fault(healthy: Sandbox) -> None:
    healthy.configure('env = { SLOW = "0.5" }', top="interval = 0.3\nretries = 1")

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        # Until the restart by hand has begun, which would always be one of its own after the monitor's.
        monitor.signal(signal.SIGSTOP)
        kill(healthy)
        by_hand = healthy.start("remediation", "restart")
        wait_for(lambda: starts(healthy) == 2)
        monitor.signal(signal.SIGCONT)
        check = healthy.auto_heal("check")
        output, _ = by_hand.communicate(timeout=DEADLINE)
        checks = monitor.statistics.checks
        monitor.ends_check(checks + 2)

    assert (check.code, by_hand.returncode) == (0, 0), (check, output)
    assert starts(healthy) == 2
    assert monitor.statistics.heals == 0, monitor
    assert healthy.servers() == [healthy.pid]
