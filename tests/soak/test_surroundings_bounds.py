"""Without descriptors, memory, processes or folders, a run gives the reason, never a false pass, and harms nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from sandbox import Sandbox
from surroundings import run, tells_no_lie
from watching import kill, watching

MEBI = 1 << 20
ONCE = "retries = 1"
NOFILE, MEMORY, SIZE = resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_FSIZE


@pytest.mark.parametrize(
    ("limit", "value"),
    [*((NOFILE, value) for value in (11, 15, 17, 20)), (MEMORY, 60 * MEBI), (SIZE, 1000)],
)  # fmt: skip
def test_where_something_runs_out_nothing_is_said_that_is_not_so(healthy: Sandbox, limit: int, value: int) -> None:
    healthy.configure(top=ONCE)
    stranger, before = healthy.stranger("sleep", "600"), healthy.pid

    well = run(healthy, "remediation", "check", limits={limit: value})
    tells_no_lie(healthy, well)
    assert healthy.pid == before, well
    kill(healthy)
    dead = run(healthy, "remediation", "check", limits={limit: value})

    tells_no_lie(healthy, dead)
    assert stranger.poll() is None
    assert healthy.auto_heal("check").code == 0
    assert healthy.servers() == [healthy.pid]


@pytest.mark.parametrize("words", [("remediation", "monitor"), ("remediation", "check")])
def test_without_descriptors_there_is_no_verdict_but_the_reason(healthy: Sandbox, words: tuple[str, str]) -> None:
    result = run(healthy, *words, limits={NOFILE: 12})

    assert result.code == 3, result
    assert "Too many open files" in result.output
    assert healthy.servers() == [healthy.pid]


def test_a_monitor_that_runs_out_of_processes_goes_on_when_there_are_some(healthy: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can raise a limit again")
    healthy.configure(top=f"{ONCE}\ninterval = 0.5")
    with watching(healthy) as monitor:
        monitor.ends_check(1)
        few = 4
        before = resource.prlimit(monitor.process.pid, NOFILE)
        resource.prlimit(monitor.process.pid, NOFILE, (few, before[1]))
        monitor.forkserver().kill()
        monitor.says("The checks cannot be collected; trying again later: Too many open files")
        resource.prlimit(monitor.process.pid, NOFILE, before)
        ended = monitor.count("Next check in")
        monitor.ends_check(ended + 1)
        code = monitor.stop()

    assert code == 0, monitor
    assert monitor.count("Traceback") == 0, monitor


# Folders that are not there any more.


@pytest.mark.parametrize(
    ("command", "code"), [("check", 3), ("monitor", 3), ("start", 1), ("stop", 1), ("status", 1), ("pause", 1)]
)
def test_a_working_directory_that_is_gone_is_told(healthy: Sandbox, command: str, code: int) -> None:
    gone = healthy.root / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    result = run(healthy, "remediation", command, before=leave)

    assert result.code == code, result
    assert result.output == "auto-heal: the working directory: No such file or directory\n"
    assert healthy.servers() == [healthy.pid]


def test_a_service_whose_working_directory_is_gone_is_not_restarted_while_it_is_well(project: Sandbox) -> None:
    (project.root / "in").mkdir()
    project.configure('cwd = "in"', top=ONCE)
    project.auto_heal("start")
    (project.root / "in").rmdir()

    well = project.auto_heal("check")
    kill(project)
    dead = project.auto_heal("check")

    assert well.code == 0, well
    assert dead.code == 1, dead
    assert f"api: its working directory {project.root}/in (cwd) does not exist" in dead.output


# What checks may take away.

VANISHING = [
    ("shutil.rmtree(pathlib.Path(__file__).parent)", 0),
    ("shutil.rmtree('.auto-heal')", 0),
    ("[shutil.rmtree(left) for left in pathlib.Path('.auto-heal').glob('run-*')]", 0),
    ("shutil.rmtree('reports'); pathlib.Path('reports').touch()", 3),
    ("[shutil.rmtree(left) or left.touch() for left in pathlib.Path('.auto-heal').glob('run-*')]", 3),
]


@pytest.mark.parametrize(("statement", "code"), VANISHING)
def test_what_vanishes_while_it_is_checked_costs_the_verdict_if_it_is_needed_for_it(
    healthy: Sandbox, statement: str, code: int
) -> None:
    healthy.configure(top=ONCE)
    (healthy.root / "reports").mkdir()
    healthy.write("healthtests/test_z.py", f"import pathlib, shutil\n\n\ndef test_z():\n    {statement}\n")

    result = run(healthy, "pytest", "healthtests")

    assert result.code == code, result
    assert code == 0 or "No verdict: " in result.output, result
    assert healthy.servers() == [healthy.pid]


def test_checks_that_vanish_before_the_second_round_are_no_pass(project: Sandbox) -> None:
    project.configure(top=ONCE)
    project.write("healthtests/test_a.py", f"import pathlib, shutil\n\n\ndef test_a():\n    {VANISHING[0][0]}\n")

    result = run(project, "remediation", "check")

    assert result.code in (3, 4), result
    assert "no verdict after 2 rounds" in result.output


# What is inherited.


def test_a_service_does_not_inherit_that_we_ignore_interrupts(project: Sandbox) -> None:
    script = "import time; time.sleep(600)"
    project.configure('ready = "none"', command=f"command = {json.dumps([sys.executable, '-c', script])}")

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    assert run(project, "remediation", "start", before=ignore).code == 0

    status = Path(f"/proc/{project.pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    assert not any(ignored & 1 << (number - 1) for number in (signal.SIGINT, signal.SIGHUP))


def test_stepwise_does_not_keep_a_service_from_being_healed(project: Sandbox) -> None:
    project.configure(top=ONCE)

    result = project.check("--stepwise")

    assert result.code == 0, result
    assert project.property("verdict") == "healed"
    assert len(project.report.findall("testcase")) >= 1
