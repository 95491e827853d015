"""Whole runs with only what POSIX has, as on macOS and the BSDs: no /proc, no pidfd, no waitid, no list of all sockets.

On those systems themselves, the same tests prove the same ways without a switch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploying import BACK, ERRORS, Stage, by_hand
from drilling import QUICK, QUICK_TOP, cases, drilled, nothing_is_left, outcome
from hanging import NATIVE, check
from other_user import as_nobody, give_away, open_project, started_by_nobody
from proc_watch import ProcWatch
from sandbox import DEADLINE, Sandbox, wait_for
from watching import kill, only_check, pid_of, watching

from remediation.config.load import load_project
from remediation.supervision.family import end_family
from remediation.system.capabilities import has_proc
from remediation.system.process import Identity

SOON = "retries = 1\nretry_delay = 0.1\ntimeout = 1.5"
EVERY_HOUR = f"{SOON}\ninterval = 3600"


@pytest.fixture(autouse=True)
def proc_watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcWatch]:
    """Take from all processes what Linux has beyond POSIX, and prove that none of our code opens /proc."""
    request.getfixturevalue("only_posix")
    before = Sandbox.environment
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        watch = ProcWatch(Path(folder))
        monkeypatch.setattr(
            Sandbox, "environment", staticmethod(lambda **changes: before(**{**watch.environment, **changes}))
        )
        yield watch
        assert watch.opened == []


def test_what_is_opened_in_proc_would_be_seen(project: Sandbox, proc_watch: ProcWatch) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has a /proc that we open")

    result = project.auto_heal("start", AUTO_HEAL_TEST_PORTABLE="")

    assert result.code == 0, result
    opened = {Path(line.split()[1]).name for line in proc_watch.opened}
    assert {"boot_id", "stat", "environ"} <= opened
    proc_watch.forget()


# One service, by hand and by its checks.


def test_a_service_is_started_shown_planned_for_and_stopped(project: Sandbox) -> None:
    project.configure(top=SOON)
    started = project.auto_heal("start")
    pid = project.pid
    again = project.auto_heal("start")
    status = project.auto_heal("status")
    os.kill(pid, signal.SIGSTOP)
    plan = project.auto_heal("plan")
    stopped = project.auto_heal("stop")

    assert (started.code, again.code, status.code, plan.code, stopped.code) == (0, 0, 0, 1, 0), (status, plan)
    assert str(pid) in status.output
    assert f"PID {pid}" in plan.output
    assert project.family() == []
    assert not has_proc()


@pytest.mark.parametrize(
    ("number", "way"),
    [
        (signal.SIGSTOP, "auto-heal check"),
        pytest.param(signal.SIGKILL, "pytest healthtests -n 2", marks=pytest.mark.soak),
    ],
)
def test_a_service_that_was_suspended_or_killed_is_healed(healthy: Sandbox, number: signal.Signals, way: str) -> None:
    healthy.configure(top=SOON)
    before = healthy.pid
    os.kill(before, number)

    result = healthy.auto_heal("check") if way == "auto-heal check" else healthy.check("-n", "2")

    assert result.code == 0, result
    assert healthy.property("verdict") == "healed"
    assert healthy.pid != before
    assert healthy.servers() == [healthy.pid]


@pytest.mark.soak
def test_the_evidence_of_a_heal_tells_of_processes_and_port(healthy: Sandbox) -> None:
    healthy.configure(top=f"{SOON}\nevidence = {{ timeout = {DEADLINE} }}")
    before = healthy.pid
    os.kill(before, signal.SIGSTOP)

    result = healthy.auto_heal("check")

    assert result.code == 0, result
    [folder] = (healthy.root / ".auto-heal" / "evidence").iterdir()
    [facts] = json.loads((folder / "processes.json").read_text())
    assert (facts["pid"], facts["state"], facts["threads"]) == (before, "suspended", 1)
    assert json.loads((folder / "port.json").read_text())["holders"][0]["pid"] == before


@pytest.mark.soak
def test_a_stranger_on_the_port_is_named_or_if_that_is_allowed_ended(project: Sandbox) -> None:
    stranger = project.stranger_on_port()

    project.configure('free_port = "never"', top=SOON)
    refused = project.auto_heal("check")
    survives = stranger.poll() is None
    project.configure('free_port = "user"', top=SOON)
    freed = project.auto_heal("check")

    assert refused.code == 1, refused
    assert f"PID {stranger.pid}" in refused.output
    assert survives
    assert freed.code == 0, freed
    assert stranger.wait(DEADLINE) == -signal.SIGTERM


def test_a_service_whose_pid_was_lost_is_found_by_its_mark(healthy: Sandbox) -> None:
    before = healthy.pid
    (healthy.root / ".api-server.pid").unlink()
    (healthy.root / ".auto-heal" / "api.json").unlink()

    result = healthy.auto_heal("check")

    assert result.code == 0, result
    assert healthy.pid == before


# Checks that misbehave.


@pytest.mark.soak
def test_a_check_that_hangs_in_c_has_failed_and_its_stack_is_known(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)
    # On macOS, a lock has to be made before it is one.
    head = NATIVE.replace("    library", "    library.pthread_mutex_init(lock, None)\n    library", 1)
    healthy.write("healthtests/test_a.py", check(head, "hang()", heals=""))

    result = healthy.auto_heal("check")

    assert result.code == 1, result
    failure = healthy.report.find("testcase[@name='test_it']/failure")
    assert failure is not None
    assert "hung: no end within 1.5s" in failure.get("message", "")
    assert "library.pthread_mutex_lock(lock)" in (failure.text or "")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("head", "deed"),
    [
        # Not sleep(1): macOS hides the environment of its own programs.
        (
            "import subprocess, sys",
            "subprocess.run(['sh', '-c', f\"'{sys.executable}' -c 'import time; time.sleep(600)' &\"])",
        ),
        ("import os, time", "os.fork() or (os.fork() or time.sleep(600), os._exit(0))"),
    ],
    ids=["orphan", "fork of a fork"],
)
def test_what_a_check_leaves_behind_keeps_nobody_waiting(healthy: Sandbox, head: str, deed: str) -> None:
    healthy.write("healthtests/test_a.py", check(head, deed, heals=""))

    # Reads until nobody keeps its pipe open, and fails if that takes long.
    result = healthy.auto_heal("check")

    assert result.code == 0, result
    assert Identity.of(healthy.pid)


@pytest.mark.soak
def test_what_a_check_leaves_behind_under_a_monitor_is_ended(healthy: Sandbox) -> None:
    healthy.configure(top=EVERY_HOUR)
    deed = "open('left', 'w').write(str(subprocess.Popen(['sleep', '600']).pid))"
    healthy.write("healthtests/test_a.py", check("import subprocess", deed, heals=""))

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        left = int((healthy.root / "left").read_text())
        wait_for(lambda: Identity.of(left) is None)
        assert monitor.stop() == 0

    assert Identity.of(healthy.pid)


def test_a_run_whose_supervisor_is_killed_ends(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 1\ntimeout = 600")
    deed = "open('pid.new', 'w').write(str(os.getpid())); os.rename('pid.new', 'pid'); time.sleep(600)"
    healthy.write("healthtests/test_a.py", check("import os, time", deed))
    process = healthy.start("remediation", "check")
    wait_for((healthy.root / "pid").exists)
    session = Identity.of(int((healthy.root / "pid").read_text()))
    assert session

    process.kill()

    try:
        wait_for(lambda: not session.alive)
    finally:
        end_family(session.pid, load_project(healthy.root, {}))
        process.communicate()


# The monitor.


@pytest.mark.soak
def test_a_monitor_notices_a_death_at_once_and_a_hang_at_the_next_check(healthy: Sandbox) -> None:
    healthy.configure(top=EVERY_HOUR)

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        killed = kill(healthy)
        began = time.monotonic()
        monitor.says("The process of api died, checking now")
        noticed = time.monotonic() - began
        monitor.says("Healed!")
        monitor.ends_check(2)
    healthy.configure(top=f"{SOON}\ninterval = 0.5")
    with watching(healthy) as monitor:
        monitor.ends_check(1)
        hung = healthy.pid
        os.kill(hung, signal.SIGSTOP)
        monitor.says("Healed!")

    assert noticed < DEADLINE
    assert len({killed, hung, healthy.pid}) == 3
    assert healthy.answers()
    assert healthy.servers() == [healthy.pid]


@pytest.mark.soak
def test_a_monitor_replaces_a_fork_server_that_was_killed_although_a_child_keeps_its_socket(project: Sandbox) -> None:
    # Nothing else wakes this monitor: no service runs, and no check is due.
    project.configure(top=EVERY_HOUR)
    only_check(project, "pass")
    keeps = (
        "import os, stat, subprocess\n"
        "sockets = [fd for fd in range(3, 100) if os.path.exists(f'/dev/fd/{fd}') and "
        "stat.S_ISSOCK(os.fstat(fd).st_mode)]\n"
        "kept = subprocess.Popen(['sleep', '600'], pass_fds=sockets)\n"
    )
    project.write("healthtests/conftest.py", keeps)

    with watching(project) as monitor:
        monitor.ends_check(1)
        before = monitor.forkserver()
        before.kill()
        assert monitor.forkserver(after=before.pid).is_running()


# A drill.


@pytest.mark.soak
def test_the_faults_of_a_drill_that_are_injected_in_another_way_are_healed(project: Sandbox) -> None:
    # The soak tests drill all faults.
    project.configure(QUICK, top=QUICK_TOP)

    result = drilled(project, "--fault", "orphan-on-port", "--fault", "stale-pid", "--fault", "full-log")

    assert result.code == 0, result
    outcomes = {name: outcome(case) for name, case in cases(project).items()}
    assert outcomes == {"orphan-on-port[1]": "passed", "stale-pid[1]": "passed", "full-log[1]": "skipped"}
    assert nothing_is_left(project)


# A deployment.


@pytest.mark.soak
def test_a_bad_deployment_is_rolled_back_by_a_command_that_runs_auto_heal_itself(
    project: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(project, monkeypatch)
    stage.rolls_back(BACK, by_hand("restart"))
    stage.predeploy()
    stage.deploy("2.0", answers=ERRORS)

    result = stage.postdeploy()

    assert result.code == 11, result
    assert stage.verdict == "rolled-back"
    assert stage.is_back()
    assert len(stage.rollbacks) == 1


# An ordinary user.


@pytest.fixture
def given() -> Iterator[Sandbox]:
    """A project that belongs, with all that is in it, to a user who owns nothing else."""
    for project in open_project():
        project.configure(QUICK, top=f"{EVERY_HOUR}\n{QUICK_TOP.splitlines()[1]}")
        give_away(project, whole=True)
        yield project


@pytest.mark.soak
def test_an_ordinary_user_heals_and_drills(given: Sandbox) -> None:
    started = as_nobody(given, "remediation", "start")
    before = kill(given)

    healed = as_nobody(given, "pytest", "healthtests")
    drill = as_nobody(given, "remediation", "drill", "--yes", "--seed", "1", "--fault", "orphan-on-port")

    assert started.code == 0, started
    assert healed.code == 0, healed
    assert "Healed!" in healed.output
    assert given.pid != before
    assert drill.code == 0, drill
    assert given.servers() == [given.pid]


@pytest.mark.soak
def test_an_ordinary_user_may_not_end_who_holds_the_port_and_is_not_told_who_does(given: Sandbox) -> None:
    other = given.stranger_on_port()

    result = as_nobody(given, "remediation", "check")

    assert result.code == 1, result
    assert f"port {given.port} is held by a process of another user" in result.output
    assert other.poll() is None


@pytest.mark.soak
def test_the_monitor_of_an_ordinary_user_heals_a_death(given: Sandbox) -> None:
    assert as_nobody(given, "remediation", "start").code == 0

    with started_by_nobody(given, "remediation", "monitor") as monitor:
        assert monitor.stdout
        lines = iter(monitor.stdout.readline, "")
        before = next(kill(given) for line in lines if line.startswith("Next check in"))
        assert any("Healed!" in line for line in lines)
        monitor.send_signal(signal.SIGINT)
        rest = "".join(lines)
        assert monitor.wait(DEADLINE) == 0, rest

    assert pid_of(given, "api") != before
    assert given.servers() == [given.pid]
