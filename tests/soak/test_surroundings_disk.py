"""On a full or read-only disk, services that can be healed are healed, and nothing passes without proof."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sandbox import PATIENT, Sandbox, sandbox, wait_for
from surroundings import KIB, fill, small_disk
from watching import kill, watching

FULL, READ_ONLY = "No space left on device", "Read-only file system"
CHECKS = [("remediation", "check"), ("pytest", "healthtests")]
ONCE = "retries = 1"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Sandbox]:
    """A project on a disk of its own that has space for a reserve; its service is up."""
    with small_disk(tmp_path / "disk", kibibytes=20 * KIB):
        yield from _started(tmp_path / "disk")


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Sandbox]:
    """A project on a disk too small for a reserve; its service is up."""
    with small_disk(tmp_path / "disk", kibibytes=2 * KIB):
        yield from _started(tmp_path / "disk")


def _started(root: Path) -> Iterator[Sandbox]:
    for project in sandbox(root):
        project.configure(top=ONCE)
        assert project.auto_heal("start").code == 0
        yield project


def _is_closed(path: Path) -> bool:
    return not os.path.lexists(path)


def reserve(project: Sandbox) -> int:
    """Return the size of the reserve on disk, in bytes."""
    path = project.root / ".auto-heal" / ".reserve"
    return path.stat().st_blocks * 512 if path.exists() else 0


# Full, with a reserve.


@pytest.mark.parametrize("words", CHECKS)
def test_a_service_is_healed_on_a_full_disk(disk: Sandbox, words: tuple[str, str]) -> None:
    fill(disk.root)
    kill(disk)

    result = disk.run(*words)

    assert result.code == 0, result
    assert disk.property("verdict") == "healed"
    assert disk.answers()
    assert disk.servers() == [disk.pid]


def test_a_service_that_dies_of_a_line_that_it_cannot_log_is_healed_on_a_full_disk(tiny: Sandbox) -> None:
    small = tiny.root / "logs"
    small.mkdir()
    script = f"import runpy\nprint('a line', flush=True)\nrunpy.run_path({str(PATIENT)!r}, run_name='__main__')\n"
    tiny.write("talker.py", script)
    with small_disk(small, kibibytes=64):
        command = json.dumps([sys.executable, "talker.py"])
        tiny.configure(f'log_file = "{small}/api.log"', command=f"command = {command}", top=ONCE)
        assert tiny.auto_heal("restart").code == 0
        fill(small)
        kill(tiny)

        result = tiny.auto_heal("check")

    assert result.code == 0, result
    assert f"api: the disk under its log {small}/api.log is full" in result.output
    assert tiny.answers()


def test_a_full_disk_is_told_by_the_name_of_the_file_alone(tiny: Sandbox) -> None:
    fill(tiny.root)

    result = tiny.auto_heal("check")

    assert result.code == 3, result
    assert "-> None" not in result.output


def test_a_monitor_heals_on_a_full_disk_and_again(disk: Sandbox) -> None:
    disk.configure(top=f"{ONCE}\ninterval = 0.3")
    fill(disk.root)

    with watching(disk) as monitor:
        kill(disk)
        wait_for(lambda: monitor.statistics.heals == 1)
        kill(disk)
        wait_for(lambda: monitor.statistics.heals == 2)
        code = monitor.stop()

    assert code == 0, monitor
    assert disk.servers() == [disk.pid]


def test_a_service_is_started_and_healing_paused_by_hand_on_a_full_disk(disk: Sandbox) -> None:
    fill(disk.root)
    kill(disk)

    assert disk.auto_heal("start").code == 0
    assert disk.auto_heal("pause").code == 0

    assert disk.servers() == [disk.pid]


def test_what_was_kept_back_is_given_up_on_a_full_disk_and_kept_again_when_there_is_space(disk: Sandbox) -> None:
    before = reserve(disk)
    ballast = fill(disk.root)
    disk.auto_heal("check")
    during = reserve(disk)
    ballast.unlink()
    disk.auto_heal("check")

    assert (before, during, reserve(disk)) == (1 << 20, 0, 1 << 20)
    assert stat.S_IMODE((disk.root / ".auto-heal" / ".reserve").stat().st_mode) == 0o600


# Full, with no space at all.


@pytest.mark.parametrize("words", CHECKS)
@pytest.mark.parametrize("state", ["well", "dead"])
def test_without_any_space_there_is_no_verdict_but_the_reason(
    tiny: Sandbox, words: tuple[str, str], state: str
) -> None:
    pid = tiny.pid
    ballast = fill(tiny.root)
    if state == "dead":
        os.kill(pid, signal.SIGKILL)

    result = tiny.run(*words)

    assert result.code == 3, result
    assert f"No verdict: the round's own report was not written: {FULL}" in result.output
    assert "Traceback" not in result.output
    assert tiny.servers() == ([pid] if state == "well" else [])
    ballast.unlink()
    assert tiny.run(*words).code == 0
    assert tiny.answers()


@pytest.mark.parametrize("command", ["start", "pause"])
def test_without_any_space_a_command_fails_with_the_file_and_the_reason(tiny: Sandbox, command: str) -> None:
    kill(tiny)
    fill(tiny.root)

    result = tiny.auto_heal(command)

    assert result.code == 1, result
    name = "api.json" if command == "start" else ".pause.json"
    assert f"{tiny.root}/.auto-heal/{name}: {FULL}" in result.output
    assert tiny.servers() == []


def test_without_any_space_a_monitor_tells_so_and_goes_on(tiny: Sandbox) -> None:
    tiny.configure(top=f"{ONCE}\ninterval = 0.3")
    with watching(tiny) as monitor:
        monitor.ends_check(1)
        ballast = fill(tiny.root)
        kill(tiny)
        monitor.says("No verdict")
        ballast.unlink()
        wait_for(lambda: monitor.statistics.heals == 1)
        code = monitor.stop()

    assert code == 0, monitor
    assert monitor.count(FULL) >= 1, monitor
    assert monitor.count("Traceback") == 0, monitor


FILLS = """
import os, pathlib

def test_fill():
    if os.environ.get("AUTO_HEAL_ROUND_FOLDER"):
        pathlib.Path(".auto-heal/.reserve").unlink(missing_ok=True)
        with open("ballast", "ab", buffering=0) as file:
            while os.statvfs(".").f_bavail:
                file.write(bytes(4096))
"""


def test_a_disk_that_fills_in_the_second_round_takes_the_verdict_with_it(tiny: Sandbox) -> None:
    kill(tiny)
    tiny.write("healthtests/test_fill.py", FILLS)

    result = tiny.auto_heal("check")

    assert result.code == 3, result
    assert "No verdict: round 2 broke off" in result.output
    assert len(tiny.servers()) == 1


# Read-only.


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Sandbox]:
    """A project whose service is down, on a disk that has become read-only."""
    with small_disk(tmp_path / "disk", kibibytes=2 * KIB):
        for project in _started(tmp_path / "disk"):
            log = Path(f"/proc/{kill(project)}/fd/1")
            # While somebody has it open to write, it cannot be made so.
            wait_for(partial(_is_closed, log))
            subprocess.run(["mount", "-o", "remount,ro", str(project.root)], check=True)
            yield project


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("remediation", "check"), 3), (("pytest", "healthtests"), 3), (("remediation", "monitor"), 3),
        (("remediation", "start"), 1), (("remediation", "pause"), 1), (("remediation", "report"), 1),
    ],
)  # fmt: skip
def test_a_disk_that_can_only_be_read_is_told(read_only: Sandbox, words: tuple[str, str], code: int) -> None:
    result = read_only.run(*words)

    assert result.code == code, result
    assert READ_ONLY in result.output or "cannot be read: " in result.output
    assert "Traceback" not in result.output
    assert read_only.servers() == []
    assert read_only.auto_heal("status").code == 1
