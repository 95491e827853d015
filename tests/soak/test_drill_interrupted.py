"""An interrupted drill restores everything; after a killed one, the next check and drill do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from drilling import QUICK, QUICK_TOP, cases, drilled, nothing_is_left, outcome, remembered
from sandbox import DEADLINE, Sandbox, wait_for

from remediation.drill.scripts.fulldisk import unmount

MAY_MOUNT = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


def says(project: Sandbox, text: str) -> bool:
    """Return whether the log contains a text."""
    return text in project.log if (project.root / "auto-heal.log").exists() else False


def heals(project: Sandbox) -> bool:
    """Return whether a heal is running."""
    return bool(project.state["restarts"])


def hangs(project: Sandbox) -> bool:
    """Return whether the service is suspended."""
    return psutil.Process(project.pid).status() == psutil.STATUS_STOPPED


def has_a_deaf_child(project: Sandbox) -> bool:
    """Return whether the service was started with a child."""
    return len(project.family()) == 2


def is_mounted(project: Sandbox) -> bool:
    """Return whether something is mounted over the service's log."""
    return f" {project.root.resolve()}/api-server.log " in Path("/proc/self/mountinfo").read_text()


MOMENTS = [
    ("crash", lambda project: says(project, "Checking that everything is healthy")),
    ("crash", lambda project: says(project, "Drill 1/")),
    ("crash", heals),
    ("hang", hangs),
    ("deaf-child", has_a_deaf_child),
    ("orphan-on-port", heals),
    ("stranger", lambda project: not project.family()),
    ("reused-pid", lambda project: says(project, "is stale: process")),
    ("healer-killed", heals),
    ("crash", lambda project: says(project, "healed, down for")),
    pytest.param("full-log", is_mounted, marks=MAY_MOUNT),
]


def seen(moment: Callable[[Sandbox], bool], project: Sandbox, drill: subprocess.Popen[str]) -> bool:
    """Return whether the moment has come, or can no longer come."""
    if drill.poll() is not None:
        return True
    try:
        return moment(project)
    except (OSError, ValueError, KeyError, psutil.Error):
        return False


def begun(project: Sandbox, fault: str) -> subprocess.Popen[str]:
    """Start a long drill of one fault."""
    return project.start("remediation", "drill", "--yes", "--fault", fault, "--rounds", "50", "--seed", "2")


def end(drill: subprocess.Popen[str]) -> None:
    """Kill a drill that may still run."""
    drill.kill()
    drill.communicate()


@pytest.mark.parametrize(("fault", "moment"), MOMENTS)
def test_an_interrupted_drill_puts_everything_back(
    project: Sandbox, fault: str, moment: Callable[[Sandbox], bool]
) -> None:
    project.configure(QUICK, top=QUICK_TOP)
    project.auto_heal("start")
    before = remembered(project)
    drill = begun(project, fault)
    try:
        wait_for(lambda: seen(moment, project, drill))
        drill.send_signal(signal.SIGINT)
        output, _ = drill.communicate(timeout=DEADLINE)
    finally:
        end(drill)

    assert drill.returncode == 2, output
    assert project.answers()
    assert project.servers() == [project.pid]
    assert len(project.family()) == 1
    assert remembered(project) == before
    assert nothing_is_left(project)
    assert {outcome(case) for case in cases(project).values()} <= {"passed", "skipped"}
    assert project.check("--no-heal").code == 0


def test_a_monitor_is_told_of_a_drill_that_runs(project: Sandbox) -> None:
    drill = begun(project, "crash")
    try:
        wait_for(lambda: seen(lambda project: says(project, "Checking that everything is healthy"), project, drill))
        monitor = project.auto_heal("monitor")
        drill.send_signal(signal.SIGINT)
        drill.communicate(timeout=DEADLINE)
    finally:
        end(drill)

    assert monitor.code == 1, monitor
    (line,) = monitor.lines
    assert re.fullmatch(rf"❌ A drill runs in this project \(PID {drill.pid}, since [-\d]+ [:\d]+\)", line)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_interrupt_too_and_what_was_down_is_down_again(project: Sandbox, signum: signal.Signals) -> None:
    project.configure(QUICK, top=QUICK_TOP)
    drill = begun(project, "hang")
    try:
        wait_for(lambda: seen(hangs, project, drill))
        drill.send_signal(signum)
        output, _ = drill.communicate(timeout=DEADLINE)
    finally:
        end(drill)

    assert drill.returncode == 2, output
    assert not project.family()
    assert not project.state["stopped_by_hand"]
    assert nothing_is_left(project)


@pytest.mark.parametrize(
    ("fault", "moment"),
    [
        ("hang", hangs),
        ("reused-pid", lambda project: not project.family()),
        ("stranger", heals),
    ],
)
def test_after_a_killed_drill_a_check_heals_and_the_next_drill_cleans_up(
    project: Sandbox, fault: str, moment: Callable[[Sandbox], bool]
) -> None:
    project.configure(QUICK, top=QUICK_TOP)
    project.auto_heal("start")
    drill = begun(project, fault)
    try:
        wait_for(lambda: seen(moment, project, drill))
    finally:
        end(drill)

    assert project.check().code == 0
    assert project.answers()
    result = drilled(project, "--fault", "crash")
    assert result.code == 0, result
    assert project.servers() == [project.pid]
    assert nothing_is_left(project)


@MAY_MOUNT
def test_a_full_disk_does_not_outlive_a_drill_that_is_killed(project: Sandbox) -> None:
    project.configure(QUICK, top=QUICK_TOP)
    project.auto_heal("start")
    drill = begun(project, "full-log")
    try:
        wait_for(lambda: seen(is_mounted, project, drill))
    finally:
        end(drill)

    wait_for(lambda: not is_mounted(project))
    assert project.check().code == 0


@MAY_MOUNT
def test_the_next_drill_undoes_mounts_of_one_that_died_with_its_helpers(healthy: Sandbox) -> None:
    folder = healthy.root / ".auto-heal" / "drill-dead" / "disk"
    folder.mkdir(parents=True)
    log = str(healthy.root / "api-server.log")
    source = str(folder.resolve())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", source, str(folder)], check=True)
    try:
        (folder / "0").touch()
        subprocess.run(["mount", "--bind", str(folder / "0"), log], check=True)

        result = drilled(healthy, "--fault", "crash")

        assert result.code == 0, result
        assert not is_mounted(healthy)
        assert nothing_is_left(healthy)
    finally:
        unmount(log)
        unmount(str(folder))
        shutil.rmtree(folder.parent, ignore_errors=True)
