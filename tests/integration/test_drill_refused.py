"""Refused drills: one sentence gives the reason, the exit code the kind of reason, and no service is touched."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest
from drilling import drilled, nothing_is_left
from sandbox import DEADLINE, Sandbox, wait_for

from remediation.drill.fault_names import FAULTS
from remediation.system import files


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fault", "crahs"], "no fault is called 'crahs'; did you mean 'crash'?"),
        (["--fault", "zzz"], "no fault is called 'zzz'; known faults: crash, hang"),
        (["apo"], "no service is called 'apo' in auto-heal.toml; did you mean 'api'?"),
        (["zzz"], "no service is called 'zzz' in auto-heal.toml; known services: api"),
        (["--rounds", "0"], "'0' is no whole number from 1 to 1000"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--report", "healthtests"], "is no regular file; it is not replaced"),
    ],
)
def test_wrong_use_gets_one_sentence_and_exit_code_4(project: Sandbox, arguments: list[str], sentence: str) -> None:
    result = drilled(project, *arguments)

    assert result.code == 4, result
    assert sentence in result.output
    assert len(result.lines) == 1
    assert not project.family()


def test_without_a_terminal_it_needs_to_be_told_that_it_may(project: Sandbox) -> None:
    result = project.auto_heal("drill")

    assert result.code == 4, result
    assert "without a terminal to ask on, it needs --yes" in result.output
    assert not project.family()


def test_a_drill_whose_checks_could_heal_nothing_is_refused(project: Sandbox) -> None:
    result = drilled(project, AUTO_HEAL="off")

    assert result.code == 4, result
    assert "AUTO_HEAL is 'off'" in result.output


def test_services_that_something_else_runs_are_left_out(project: Sandbox) -> None:
    project.configure(command='restart = ["true"]')

    result = drilled(project)

    assert result.code == 4, result
    assert "api is left out" in result.lines[0]
    assert "no service can be drilled" in result.lines[1]


def test_there_is_no_drill_while_healing_is_paused(healthy: Sandbox) -> None:
    healthy.auto_heal("pause")
    pid = healthy.pid

    result = drilled(healthy)

    assert result.code == 3, result
    assert result.lines[-1].startswith("No drill: ")
    assert healthy.pid == pid
    assert nothing_is_left(healthy)


def test_there_is_no_drill_of_a_service_that_was_stopped_by_hand(healthy: Sandbox) -> None:
    healthy.auto_heal("stop")

    result = drilled(healthy)

    assert result.code == 3, result
    assert "No drill: api was stopped by hand" in result.lines[-1]
    assert healthy.state["stopped_by_hand"]
    assert not healthy.family()


def test_there_is_no_drill_while_a_check_fails(healthy: Sandbox) -> None:
    healthy.write("healthtests/test_sick.py", "def test_sick(): assert False\n")
    pid = healthy.pid

    result = drilled(healthy)

    assert result.code == 3, result
    assert result.lines[-1].startswith("No drill: the checks do not pass before it (exit code 1: ")
    assert healthy.pid == pid


@pytest.mark.soak
def test_there_is_no_drill_of_a_suspended_service(healthy: Sandbox) -> None:
    os.kill(healthy.pid, signal.SIGSTOP)

    result = drilled(healthy)

    assert result.code == 3, result
    assert "is suspended" in result.lines[-1]
    assert len(healthy.servers()) == 1


@pytest.mark.soak
def test_there_is_no_drill_where_somebody_else_answers(project: Sandbox) -> None:
    project.stranger_on_port()

    result = drilled(project)

    assert result.code == 3, result
    assert "a process that auto-heal did not start answers for api" in result.lines[-1]


@pytest.mark.soak
def test_a_service_that_does_not_start_is_not_drilled(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }')

    result = drilled(project)

    assert result.code == 3, result
    assert "exited with status 3" in result.lines[-1]
    assert not project.family()
    assert not project.state["stopped_by_hand"]


@pytest.mark.soak
def test_there_is_no_drill_beside_a_monitor_or_another_drill(healthy: Sandbox) -> None:
    with files.locked(healthy.root / ".auto-heal" / ".monitor.lock", timeout=0):
        result = drilled(healthy)

    assert result.code == 3, result
    assert "This project is already watched" in result.output


@pytest.mark.soak
@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("\n", 2), ("\x04", 2), ("y\n", 0)])
def test_it_asks_on_the_terminal_and_only_a_yes_begins(healthy: Sandbox, answer: str, code: int) -> None:
    pid, (ours, theirs) = healthy.pid, pty.openpty()
    try:
        drill = subprocess.Popen(
            [sys.executable, "-m", "remediation", "drill", "--fault", "crash"],
            cwd=healthy.root, env=healthy.environment(), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            os.write(ours, answer.encode())
            output = drill.communicate(timeout=DEADLINE)[0].decode()
        finally:
            drill.kill()
            drill.communicate()
    finally:
        os.close(ours)
        os.close(theirs)

    assert drill.returncode == code, output
    assert "This kills and suspends processes of api (1 fault in all); their users will notice." in output
    assert "Go on? [y/N]" in output
    assert (healthy.pid == pid) == (code != 0)
    assert ("Nothing was touched" in output) == (code != 0)


def test_help_lists_every_fault_with_an_example(project: Sandbox) -> None:
    result = project.auto_heal("drill", "--help")

    assert result.code == 0
    assert "example:\n  auto-heal drill" in result.output
    assert all(f"\n  {name} " in result.output for name in FAULTS)


@pytest.mark.soak
def test_a_closed_terminal_interrupts_a_drill(healthy: Sandbox) -> None:
    ours, theirs = pty.openpty()
    drill = subprocess.Popen(
        ["setsid", "-c", sys.executable, "-m", "remediation", "drill", "--yes", "--fault", "hang", "--rounds", "50"],
        cwd=healthy.root, env=healthy.environment(), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        wait_for(lambda: "Drill 2/" in healthy.log)
        os.close(ours)

        code = drill.wait(DEADLINE)
    finally:
        drill.kill()
        drill.wait()

    assert code == 2
    assert healthy.answers()
    assert nothing_is_left(healthy)
