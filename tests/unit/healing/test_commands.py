"""Captures a command's output: within its limits of time and size, and without leaving processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from sandbox import DEADLINE, PYTHON, wait_for

from remediation.healing.commands import Captured, capture


def asked(tmp_path: Path, script: str, *, timeout: float = DEADLINE, limit: int = 1000) -> Captured:
    """Run a shell script."""
    environ = {**os.environ, "ASKED": "yes"}
    return capture(["sh", "-c", script], cwd=tmp_path, environ=environ, timeout=timeout, limit=limit)


def test_both_outputs_are_captured_in_order(tmp_path: Path) -> None:
    assert asked(tmp_path, "echo a; echo b >&2; echo $ASKED; pwd") == (f"a\nb\nyes\n{tmp_path}\n".encode(), "")


def test_it_has_no_input_to_wait_for(tmp_path: Path) -> None:
    assert asked(tmp_path, "cat; echo end") == (b"end\n", "")


def test_bytes_that_are_no_text_stay_as_they_are(tmp_path: Path) -> None:
    assert asked(tmp_path, r"printf '\377\000'") == (b"\xff\x00", "")


@pytest.mark.parametrize(
    ("script", "problem"),
    [("exit 3", "exited with status 3"), ("kill -SEGV $$", "was killed by SIGSEGV")],
)
def test_a_failure_is_told(tmp_path: Path, script: str, problem: str) -> None:
    assert asked(tmp_path, f"echo half; {script}") == (b"half\n", problem)


def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    found = capture(["no-such"], cwd=tmp_path, environ={}, timeout=1.0, limit=10)

    assert found == (b"", "cannot be run: No such file or directory")


def test_no_more_is_kept_than_the_limit_and_nobody_goes_on_printing(tmp_path: Path) -> None:
    assert asked(tmp_path, "echo $$ > pid; yes") == (b"y\n" * 500, "printed more than is kept")

    wait_for(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())))


def test_one_that_closes_its_output_and_stays_is_ended(tmp_path: Path) -> None:
    found = asked(tmp_path, "echo a; exec >&- 2>&-; sleep 600", timeout=0.5)

    assert found == (b"a\n", "did not end in time")


def test_all_that_it_started_is_ended_whatever_session_it_is_in(tmp_path: Path) -> None:
    child = f"{PYTHON} -c 'import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)'"

    found = asked(tmp_path, f"trap '' TERM; {child} & {child} & wait", timeout=1.5)

    pids = [int(word) for word in found.output.split()]
    assert found.problem == "did not end in time"
    assert len(pids) == 2
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_no_zombie_and_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))

    for script in ("true", "sleep 600", "yes"):
        asked(tmp_path, script, timeout=0.3)

    assert len(os.listdir("/dev/fd")) == before
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_without_time_it_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()

    found = asked(tmp_path, "sleep 600", timeout=0.0)

    assert found.problem == "did not end in time"
    assert time.monotonic() - began < DEADLINE
