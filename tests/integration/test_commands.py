"""The commands as an operator sees them: tables, exit codes, and errors in one sentence."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
from sandbox import DEADLINE, PYTHON, Sandbox


def test_a_start_that_fails_exits_with_1(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }')

    assert project.auto_heal("start").code == 1


@pytest.mark.soak
def test_status_is_a_table_for_people(project: Sandbox) -> None:
    down = project.auto_heal("status")
    project.check()
    up = project.auto_heal("status")
    os.kill(project.pid, signal.SIGSTOP)
    suspended = project.auto_heal("status")
    project.auto_heal("stop")
    stopped = project.auto_heal("status")

    assert down.lines[0].split() == ["SERVICE", "STATE", "PID", "UPTIME", "MEMORY", "PORT", "LAST", "HEAL"]
    assert down.lines[1].split() == ["api", "down", "-", "-", "-", str(project.port), "never"]
    assert re.fullmatch(rf"api +up +\d+ +\d+s +[\d.]+ MiB +{project.port} +\d+s ago, restart, helped", up.lines[1])
    assert suspended.lines[1].split()[1] == "suspended"
    assert "stopped by hand" in stopped.lines[1]
    assert [result.code for result in (down, up, suspended, stopped)] == [1, 0, 1, 1]


def test_status_is_json_for_programs(project: Sandbox) -> None:
    project.check()

    (status,) = json.loads(project.auto_heal("status", "--json").output)

    assert status["service"] == "api"
    assert status["state"] == "up"
    assert status["pid"] == project.pid
    assert status["memory"] > 1_000_000
    assert status["uptime"] >= 0
    assert status["last_heal"]["ok"] is True


def test_a_check_without_our_plugin_is_no_pass_and_says_so(project: Sandbox) -> None:
    for check in (project.root / "healthtests").glob("test_*.py"):
        check.write_text("def test_nothing():\n    pass\n")

    result = project.auto_heal("check", "-p", "no:auto-heal")

    assert result.code == 4, result
    assert "pytest ran without auto-heal's plugin" in result.output


def test_a_restart_by_hand_begins_the_budget_anew(project: Sandbox) -> None:
    project.configure("budget = { restarts = 1, window = 600 }")
    assert project.check().code == 0

    assert project.auto_heal("restart").code == 0
    os.kill(project.pid, signal.SIGKILL)

    assert project.check().code == 0


@pytest.mark.soak
def test_a_closed_stdout_is_no_reason_to_fail(project: Sandbox) -> None:
    command = f"{PYTHON} -m remediation check >&-"

    result = project.stranger("sh", "-c", command)

    assert result.wait(DEADLINE) == 0
    assert "🎉 Healed!" in project.log


def test_a_log_that_cannot_be_written_is_told_and_does_not_stop_the_heal(project: Sandbox) -> None:
    (project.root / "auto-heal.log").mkdir()

    result = project.auto_heal("check")

    assert result.code == 0, result
    assert "cannot write" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["init", "--name", "a b"], "a service's name has up to 64 letters, digits, - and _ only"),
        (["init", "--ready", "health"], "'health' is no path such as /health"),
        (["init", "--url", "nonsense"], "init: api.url: 'nonsense' is no URL"),
        (["init", "--command", "'"], "cannot be split as a shell would"),
        (["init", "auto-heal.toml"], "auto-heal.toml: is not a folder"),
        (["start", "nope"], "no service is called 'nope' in auto-heal.toml; known services: api"),
        (["status", "nope"], "no service is called 'nope' in auto-heal.toml; known services: api"),
        (["dance"], "no command is called 'dance'; known commands: check, plan, "),
        (["help", "chek"], "no command is called 'chek'; did you mean 'check'?"),
        (["status", "--yaml"], "unknown arguments: --yaml"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_use_gets_one_sentence_and_exit_code_4(project: Sandbox, arguments: list[str], sentence: str) -> None:
    result = project.auto_heal(*arguments)

    assert result.code == 4, result
    assert sentence in result.output
    assert len(result.lines) == 1


@pytest.mark.parametrize("command", [["check"], ["start"], ["stop"], ["status"], ["restart"]])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[services.api", "auto-heal.toml: not valid TOML"),
        ("retrys = 3\n[services.api]\ncommand = 'x'\n", "unknown key 'retrys'; did you mean 'retries'?"),
        ("[services.api]\ncommand = []\n", "services.api.command: is empty"),
        ("[services.api]\nurl = 'localhost'\n", "services.api.url: 'localhost' is no URL"),
        ("[services.api]\ncommand = 'x'\nstop_timeout = 'long'\n", "services.api.stop_timeout: expected a number"),
    ],
)
def test_a_broken_configuration_gets_one_sentence_and_exit_code_4(
    project: Sandbox, command: list[str], text: str, sentence: str
) -> None:
    project.write("auto-heal.toml", text)

    result = project.auto_heal(*command)

    assert result.code == 4, result
    assert sentence in result.output
    assert len(result.lines) == 1


@pytest.mark.parametrize("command", ["check", "start", "stop", "restart", "status", "init"])
def test_every_command_has_help_with_an_example(project: Sandbox, command: str) -> None:
    result = project.auto_heal(command, "--help")

    assert result.code == 0
    assert f"auto-heal {command}" in result.output
    assert "example:" in result.output
