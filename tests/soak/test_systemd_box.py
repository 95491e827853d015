"""The printed unit under a real systemd: it comes up, heals, fails when the project is broken, and reports a reload."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sandbox import DEADLINE, REPOSITORY, Sandbox, wait_for
from systemd_box import SystemdBox, systemd_box

UNIT = "auto-heal-tested.service"
WELL = "All systems are healthy"


@pytest.fixture
def box(project: Sandbox) -> Iterator[SystemdBox]:
    """A systemd with the unit of the project, as root prints it."""
    project.configure(top="interval = 0.5")
    with systemd_box(project.root) as box:
        box.install(UNIT, project.auto_heal("init", "--systemd").output)
        yield box


def is_up(box: SystemdBox) -> bool:
    """Return whether systemd takes the monitor for running."""
    return (box.property(UNIT, "ActiveState"), box.property(UNIT, "SubState")) == ("active", "running")


def logged(project: Sandbox, text: str) -> int:
    """Return how many lines of the log have a text."""
    file = project.root / "auto-heal.log"
    return file.read_text(encoding="utf-8").count(text) if file.exists() else 0


def errors(box: SystemdBox) -> list[str]:
    """Return what an administrator sees with `journalctl -p err`."""
    return box.journal(UNIT, "--priority=err")


def logged_errors(project: Sandbox) -> list[str]:
    """Return the errors in the log of auto-heal."""
    return [text for _, mark, text in (line.partition("[ERROR] ") for line in project.log.splitlines()) if mark]


def test_a_server_that_is_killed_is_healed_and_the_journal_shows_the_errors_and_only_these(
    project: Sandbox, box: SystemdBox
) -> None:
    assert box.systemctl("start", UNIT).code == 0
    assert is_up(box)
    wait_for(lambda: logged(project, "Healed"))
    before = project.pid
    # So that the death is noticed at once, the monitor has to be idle.
    wait_for(lambda: logged(project, WELL))

    assert box.run("kill", "-KILL", str(before)).code == 0
    wait_for(lambda: logged(project, "Healed") == 2)

    assert project.pid != before
    assert box.systemctl("stop", UNIT).code == 0
    assert errors(box) == logged_errors(project)
    assert any("FAIL" in line for line in errors(box))
    assert not any("\x1b" in line for line in box.journal(UNIT))
    warnings = box.journal(UNIT, "--priority=warning")
    assert any("Problems found" in line for line in warnings)
    assert not any("Healed" in line for line in warnings)
    # The server outlives the monitor.
    assert box.run("kill", "-0", str(project.pid)).code == 0


def test_a_reload_of_what_is_broken_fails_and_the_monitor_goes_on_as_before(project: Sandbox, box: SystemdBox) -> None:
    assert box.systemctl("start", UNIT).code == 0
    monitor = box.property(UNIT, "MainPID")
    wait_for(lambda: logged(project, WELL))
    configuration, check = project.root / "auto-heal.toml", project.root / "healthtests" / "test_more.py"
    good = configuration.read_text()

    configuration.write_text(f"retires = 1\n{good}")
    assert box.systemctl("reload", UNIT).code == 1
    assert any("unknown key 'retires'" in line for line in errors(box))

    configuration.write_text(good)
    check.write_text("import nosuch\n")
    assert box.systemctl("reload", UNIT).code == 1
    assert any("the checks cannot be collected: ModuleNotFoundError" in line for line in errors(box))

    check.unlink()
    passed = logged(project, WELL)
    assert box.systemctl("reload", UNIT).code == 0
    wait_for(lambda: logged(project, WELL) > passed)
    wait_for(lambda: is_up(box))
    assert box.property(UNIT, "MainPID") == monitor


@pytest.mark.parametrize(
    ("file", "text", "status", "reason"),
    [
        ("auto-heal.toml", "retires = 1", "4", "unknown key 'retires'"),
        ("healthtests/test_health.py", "import nosuch", "2", "Not collected: ModuleNotFoundError"),
        ("conftest.py", "import nosuch", "4", "Not collected: ModuleNotFoundError"),
    ],
)
def test_the_unit_of_a_broken_project_fails_at_once_and_is_up_when_that_is_mended(
    project: Sandbox, box: SystemdBox, file: str, text: str, status: str, reason: str
) -> None:
    path = project.root / file
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{text}\n{before}")

    assert box.systemctl("start", UNIT).code == 1

    wait_for(lambda: box.property(UNIT, "ActiveState") == "failed")
    assert box.property(UNIT, "ExecMainStatus") == status
    assert box.property(UNIT, "NRestarts") == "0"
    assert any(reason in line for line in errors(box)), box.journal(UNIT)

    path.write_text(before)
    assert box.systemctl("restart", UNIT).code == 0
    assert is_up(box)
    wait_for(lambda: logged(project, "Healed"))


def test_a_monitor_that_always_dies_becomes_failed(project: Sandbox, box: SystemdBox) -> None:
    del project
    drop_in = f"/run/systemd/system/{UNIT}.d"
    text = "[Service]\\nRestartSec=10ms\\nExecStart=\\nExecStart=/bin/sh -c 'exit 3'\\n"
    box.run("sh", "-c", f'mkdir -p {drop_in} && printf "{text}" >{drop_in}/tests.conf && systemctl daemon-reload')

    box.systemctl("start", UNIT)

    wait_for(lambda: box.property(UNIT, "ActiveState") == "failed")
    assert box.property(UNIT, "ExecMainStatus") == "3"
    assert int(box.property(UNIT, "NRestarts")) == 20


def test_a_box_leaves_nothing_behind_when_its_tests_are_killed(project: Sandbox) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from systemd_box import systemd_box\n"
        "with systemd_box(Path(sys.argv[1])) as box:\n"
        "    print(box._pid, box.run('cat', '/proc/self/mountinfo').output.count('overlay'), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(REPOSITORY / "tests" / "support"), str(REPOSITORY)])
    groups = set(_box_groups())
    mounts = Path("/proc/self/mounts").read_text()

    killed = subprocess.run(
        [sys.executable, "-c", script, project.root],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip

    pid, overlays = map(int, killed.stdout.split())
    assert overlays >= 1
    wait_for(lambda: not psutil.pid_exists(pid))
    wait_for(lambda: set(_box_groups()) <= groups)
    assert Path("/proc/self/mounts").read_text() == mounts


def _box_groups() -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob("**/auto-heal-tests-*"))
