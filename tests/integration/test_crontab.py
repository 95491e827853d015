"""The text for cron: cron accepts it, and it heals in a shell as bare as cron's."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from folders import FOLDERS, ODD, project_in
from msgspec.structs import replace
from sandbox import DEADLINE, SERVE, Sandbox, sandbox

from remediation.cli.units import cron_line
from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Project]:
    """Write a project into a folder with a given name, and return it."""
    return partial(project_in, tmp_path)


@pytest.fixture
def sandbox_with_a_bad_name(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox whose folder has a name that cron and the shell would misread."""
    root = tmp_path / ODD
    root.mkdir()
    yield from sandbox(root)


def as_cron_reads(text: str) -> str:
    """Return the command of a crontab's last line, up to the first unescaped %, as in crontab(5)."""
    command = text.splitlines()[-1].split(" ", 5)[5]
    (command, *_) = re.split(r"(?<!\\)%", command)
    return command.replace("\\%", "%")


@pytest.mark.soak
def test_a_shell_as_bare_as_crons_heals(
    sandbox_with_a_bad_name: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = sandbox_with_a_bad_name
    tools = tmp_path / "my tools 5%"
    tools.mkdir()
    program = tools / "peachmini"
    program.write_text(f"#!/bin/sh\nexec {SERVE}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    project.configure(command='command = ["peachmini"]')
    command = as_cron_reads(cron_line(load_project(project.root, {})))

    bare = {"HOME": str(Path.home()), "LOGNAME": getpass.getuser(), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    result = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd="/", env=bare, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * DEADLINE,
    )  # fmt: skip

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert project.answers()
    assert "🎉 Healed!" in project.log


@pytest.mark.parametrize("folder", FOLDERS)
def test_cron_finds_no_fault(make: Callable[..., Project], tmp_path: Path, folder: str) -> None:
    option = _syntax_option()
    table, broken = tmp_path / "crontab", tmp_path / "broken"
    table.write_text(cron_line(make(folder)), encoding="utf-8")
    broken.write_text("*/5 * * * never echo\n")

    codes = [subprocess.run(["crontab", option, file], capture_output=True).returncode for file in (table, broken)]

    assert codes == [0, 1]


def _syntax_option() -> str:
    """Return the option of crontab that only checks a file: -T or -n; any other may install it."""
    if not shutil.which("crontab"):
        pytest.skip("crontab is not installed")
    usage = subprocess.run(["crontab", "-h"], capture_output=True, text=True)
    option = re.search(r"^\s*(-\w)\b.*\bsyntax", usage.stdout + usage.stderr, re.MULTILINE)
    return option[1] if option else pytest.skip("this crontab cannot check syntax")


def test_only_the_last_line_is_no_comment(make: Callable[..., Project]) -> None:
    project = make()
    project = replace(project, log_file=project.root / "evil\n* * * * * rm -rf /\n.log")

    lines = cron_line(project).splitlines()

    assert [line for line in lines if not line.startswith("#")] == lines[-1:]
    assert lines[-1].startswith("*/5 * * * * cd /")


def test_a_percent_sign_stays_one_where_cron_leaves_the_backslash(make: Callable[..., Project]) -> None:
    root = make("100% \\% %").root
    line = cron_line(load_project(root, {})).splitlines()[-1]
    (quoted,) = re.findall(r"\* cd (.*) && PATH=", line)

    for command in (quoted, as_cron_reads(f"* * * * * {quoted}")):
        assert subprocess.check_output(["/bin/sh", "-c", f"printf %s {command}"], text=True) == str(root)


def test_a_path_too_long_for_cron_is_cut_from_its_end(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make()
    monkeypatch.setenv("PATH", ":".join(["/opt/node/bin", "/usr/bin", *(f"/mnt/c/{n}{'%' * 50}" for n in range(50))]))

    text = cron_line(project)

    command = text.splitlines()[-1].split(" ", 5)[5]
    assert 850 < len(command) <= 998
    assert "PATH=/opt/node/bin:/usr/bin:/mnt/c/0" in command
    assert "/mnt/c/49" not in command
    assert ":/bin " in command
    assert "Not all of your PATH" in text


def test_a_folder_too_deep_for_cron_is_told(make: Callable[..., Project]) -> None:
    project = replace(make(), source=Path("/" + "deep/" * 200 + "auto-heal.toml"))

    with pytest.raises(ConfigError, match="too long for a crontab"):
        cron_line(project)
