"""In systemd's journal, errors have the priority of errors, and nothing else has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sandbox import DEADLINE, Sandbox


@pytest.fixture
def journal(project: Sandbox) -> Iterator[int]:
    """A descriptor that is the journal for whoever has the right environment."""
    with (project.root / "journal").open("wb") as file:
        yield file.fileno()


def lines(project: Sandbox, journal: int, *arguments: str) -> tuple[list[str], list[str]]:
    """Run a command with its output in the journal; return the errors and the other lines."""
    status = os.fstat(journal)
    environ = project.environment(JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}", FORCE_COLOR="1")
    subprocess.run(
        [sys.executable, "-m", "remediation", *arguments],
        cwd=project.root, env=environ, stdout=journal, stderr=journal, timeout=DEADLINE, check=False,
    )  # fmt: skip
    written = (project.root / "journal").read_text(encoding="utf-8").splitlines()
    assert not any("\x1b" in line for line in written)
    errors = [line.removeprefix("<3>") for line in written if line.startswith("<3>")]
    return errors, [line for line in written if not line.startswith("<3>")]


def test_a_broken_configuration_and_wrong_use_are_errors(project: Sandbox, journal: int) -> None:
    project.write("auto-heal.toml", "retires = 3\nintervall = 5\n")

    errors, others = lines(project, journal, "monitor")
    assert len(errors) == 1
    assert "retires" in errors[0]
    assert others == []

    errors, others = lines(project, journal, "nothing")
    assert "no command is called 'nothing'" in errors[-1], errors
    assert others == []


def test_a_failed_start_is_an_error_and_the_log_of_the_server_is_none(project: Sandbox, journal: int) -> None:
    project.write("server.py", "print('INFO: hello')\nimport nosuch\n")
    project.configure(command=f'command = ["{sys.executable}", "server.py"]')

    errors, others = lines(project, journal, "start")

    assert [error.partition(" exited")[0] for error in errors] == [
        "❌ The server did not start", f"api: `{sys.executable} server.py`"
    ]  # fmt: skip
    assert errors[1].endswith("No module named 'nosuch'")
    assert "<6>Traceback (most recent call last):" in others


def test_checks_that_cannot_be_collected_end_the_monitor_with_one_error(project: Sandbox, journal: int) -> None:
    project.write("healthtests/test_health.py", "import nosuch\n")

    errors, others = lines(project, journal, "monitor")

    assert errors == ["❌ Not collected: ModuleNotFoundError: No module named 'nosuch'"]
    assert any(line.startswith("<6>") and "import nosuch" in line for line in others)


@pytest.mark.soak
def test_a_heal_is_an_error_only_where_something_failed(project: Sandbox, journal: int) -> None:
    errors, others = lines(project, journal, "check")

    assert [error for error in errors if "FAIL" not in error and "its process is not running" not in error] == []
    assert any("🎉 Healed!" in line for line in others)
    assert all(line.startswith(("<4>", "<6>")) for line in others)
