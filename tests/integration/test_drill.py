"""Whole drills: every fault on a real service, its report, and the restored services at the end."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from drilling import QUICK, QUICK_TOP, cases, drilled, message, nothing_is_left, outcome, remembered
from sandbox import REPOSITORY, Sandbox, free_port

from remediation.drill.fault_names import FAULTS


@pytest.mark.soak
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(None, id="python"),
        pytest.param(
            f'command = ["node", "{REPOSITORY / "examples" / "peachmini" / "index.js"}"]',
            id="node",
            marks=pytest.mark.skipif(not shutil.which("node"), reason="needs Node"),
        ),
    ],
)
def test_every_fault_is_healed_and_nobody_harmed(project: Sandbox, command: str | None) -> None:
    project.configure(QUICK, top=QUICK_TOP, command=command)
    project.auto_heal("start")
    before = remembered(project)

    result = drilled(project)

    assert result.code == 0, result
    found = cases(project)
    assert set(found) == {f"{fault}[1]" for fault in FAULTS}
    may_mount = os.geteuid() == 0
    assert {outcome(case) for name, case in found.items() if may_mount or "log" not in name} == {"passed"}, result
    assert project.answers()
    assert project.servers() == [project.pid]
    assert remembered(project) == before
    assert nothing_is_left(project)


@pytest.mark.soak
def test_a_service_that_was_down_is_down_again(project: Sandbox) -> None:
    result = drilled(project, "--fault", "crash")

    assert result.code == 0, result
    assert not project.family()
    assert not (project.root / ".api-server.pid").exists()
    assert not project.state["stopped_by_hand"]
    assert nothing_is_left(project)


@pytest.mark.soak
def test_the_budget_neither_stops_a_drill_nor_pays_for_it(project: Sandbox) -> None:
    project.configure("budget = { restarts = 1, window = 600 }")
    project.check()
    before = remembered(project)

    result = drilled(project, "--fault", "crash", "--fault", "healer-killed", "--rounds", "2")

    assert result.code == 0, result
    assert len(before["restarts"]) == 1
    assert remembered(project) == before


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["own", "never"])
def test_a_stranger_that_may_not_be_ended_is_named_and_that_is_a_pass(project: Sandbox, mode: str) -> None:
    project.configure(f'free_port = "{mode}"\n{QUICK}', top=QUICK_TOP)
    project.auto_heal("start")

    result = drilled(project, "--fault", "stranger")

    assert result.code == 0, result
    assert "✅ stranger: refused as configured" in result.output
    assert project.answers()


@pytest.mark.soak
def test_the_report_of_the_checks_is_left_alone(healthy: Sandbox) -> None:
    healthy.check()
    report = (healthy.root / "reports" / "health.xml").read_bytes()

    drilled(healthy, "--fault", "crash", "--report", "elsewhere/drill.xml")

    assert (healthy.root / "reports" / "health.xml").read_bytes() == report
    assert (healthy.root / "elsewhere" / "drill.xml").is_file()


@pytest.mark.soak
def test_services_that_depend_on_each_other_are_drilled_one_by_one(project: Sandbox) -> None:
    number = free_port()
    db = (
        f'[services.db]\ncommand = ["python3", "server.py"]\ncwd = "{REPOSITORY / "examples" / "peachmini"}"\n'
        f'url = "http://127.0.0.1:{number}"\nready = "/api/health"'
    )
    project.configure('depends_on = ["db"]', top=QUICK_TOP, more=db)
    project.write(
        "healthtests/test_db.py",
        "import pytest\n@pytest.mark.heals('db')\ndef test_db(services):\n    services['db'].get('/api/health')\n",
    )

    result = drilled(project, "--fault", "crash", "--fault", "hang")

    assert result.code == 0, result
    assert sorted(line.split()[:2] for line in result.lines if line.startswith(("api ", "db "))) == [
        ["api", "crash"], ["api", "hang"], ["db", "crash"], ["db", "hang"],
    ]  # fmt: skip
    assert not project.family()


# What is not well.

_FALTERS = """
import os, pathlib, runpy, sys
starts = pathlib.Path("starts")
count = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (count + 1))
if {condition}:
    sys.exit(7)
runpy.run_path({patient!r}, run_name="__main__")
"""


def falters(project: Sandbox, condition: str) -> None:
    """Configure a command that exits with 7 at some starts, counted from 0."""
    patient = str(REPOSITORY / "tests" / "support" / "patient.py")
    project.write("falters.py", _FALTERS.format(condition=condition, patient=patient))
    # A start is tried once in a run.
    project.configure(f"{QUICK}\nrestart_delay = 60", top=QUICK_TOP, command='command = ["python3", "falters.py"]')


@pytest.mark.soak
def test_a_service_that_does_not_come_back_fails_its_case_and_is_brought_back(project: Sandbox) -> None:
    # A start that fails beside a process which is not collected yet is tried once more.
    falters(project, "count in (1, 2)")
    project.auto_heal("start")

    result = drilled(project, "--fault", "crash")

    assert result.code == 1, result
    (case,) = cases(project).values()
    assert outcome(case) == "failure"
    assert "not healed (exit code 1): restart in vain" in message(case)
    assert "exited with status 7" in message(case)
    assert project.answers()
    assert nothing_is_left(project)


@pytest.mark.soak
def test_a_service_that_never_comes_back_ends_the_drill(project: Sandbox) -> None:
    falters(project, "count >= 1")
    project.auto_heal("start")

    result = drilled(project, "--fault", "crash", "--rounds", "2")

    assert result.code == 1, result
    assert [outcome(case) for case in cases(project).values()] == ["failure", "skipped"]
    assert "The drill ends here" in result.output
    assert nothing_is_left(project)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["crash", "stranger", "healer-killed"])
def test_a_fault_that_the_checks_do_not_notice_fails_its_case_in_one_sentence(healthy: Sandbox, fault: str) -> None:
    healthy.configure(f'free_port = "own"\n{QUICK}', top=QUICK_TOP)
    shutil.rmtree(healthy.root / "healthtests")
    healthy.write("healthtests/test_blind.py", "def test_blind(): pass\n")

    result = drilled(healthy, "--fault", fault)

    assert result.code == 1, result
    (case,) = cases(healthy).values()
    assert outcome(case) == "failure"
    assert message(case) == "the checks did not notice it: none that heals api failed"
    assert healthy.answers()


@pytest.mark.soak
def test_what_is_left_over_is_named(healthy: Sandbox) -> None:
    keeper = healthy.root / "keeper.py"
    keeper.write_text("import signal\nwhile True: signal.pause()\n")
    healthy.write(
        "healthtests/test_littering.py",
        "import json, os, pathlib, subprocess, sys\n"
        "def test_littering():\n"
        "    memory = json.loads(pathlib.Path('.auto-heal/api.json').read_text())\n"
        "    if memory['restarts'] and memory['last_heal'] and not os.path.exists('littered'):\n"
        "        pathlib.Path('littered').touch()\n"
        "        mark = f'{pathlib.Path.cwd()}:api'\n"
        "        subprocess.Popen([sys.executable, 'keeper.py'], env={**os.environ, 'AUTO_HEAL_SERVICE': mark},\n"
        "                         start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n",
    )

    result = drilled(healthy, "--fault", "crash")

    assert result.code == 1, result
    (case,) = cases(healthy).values()
    assert "is left over" in message(case)
    assert healthy.servers() == [healthy.pid]


@pytest.mark.soak
def test_the_memory_is_as_it_was_when_a_drill_has_ended(healthy: Sandbox) -> None:
    path = healthy.root / ".auto-heal" / "api.json"
    changed = healthy.state | {"restarts": [1.0], "delay": 60.0, "not_before": 2.0, "troubled_at": 3.0}
    path.write_text(json.dumps(changed))
    before = remembered(healthy)

    result = drilled(healthy, "--fault", "crash")

    assert result.code == 0, result
    assert remembered(healthy) == before
