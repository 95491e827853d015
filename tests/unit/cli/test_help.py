"""`--help`: it fits a terminal, its examples work, and it answers the common questions."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from sandbox import REPOSITORY

COMMANDS = (
    "check", "plan", "monitor", "predeploy", "postdeploy", "start", "stop", "restart", "adopt", "status", "drill",
    "pause", "resume", "validate", "report", "init", "reload", "beat",
)  # fmt: skip


def _help(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "remediation", *command, "--help"],
        cwd=REPOSITORY, env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal_of_80_columns(command: str) -> None:
    text = _help(*filter(None, [command]))

    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_has_commands_alone(command: str) -> None:
    found = re.search(r"^example:\n((?:  .*\n?)+)", _help(command), re.MULTILINE)

    assert found
    for line in found[1].replace("\\\n", "").splitlines():
        assert re.match(r"  (?:\w+=\S+ |\S+; )?auto-heal ", line), line


@pytest.mark.parametrize("command", ["check", "postdeploy"])
def test_the_options_and_exit_codes_of_a_run_are_named(command: str) -> None:
    text = _help(command)

    assert all(option in text for option in ("--heal=", "--no-heal", "--heal-rounds", "--fail-on-heal", "--rollback"))
    codes = text.partition("exit codes:")[2]
    assert re.findall(r"^  (\d+) ", codes, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "10", "11"]
    assert "All further options go to pytest" in text


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "init"])
def test_a_command_names_its_exit_codes(command: str) -> None:
    assert "exit codes:" in _help(command)


def test_a_run_that_heals_nothing_has_no_exit_code_of_a_heal() -> None:
    codes = [_help(command).partition("exit codes:")[2] for command in ("plan", "predeploy")]

    assert not [text for text in codes if "heal" in text.replace("`auto-heal check`", "") or "10" in text]


def test_a_drill_says_when_it_ends_with_2_and_when_with_4() -> None:
    codes = " ".join(_help("drill").partition("exit codes:")[2].split())

    assert "2 if it was interrupted or not agreed to" in codes
    assert "4 if it cannot ask (without a terminal it needs --yes)" in codes
