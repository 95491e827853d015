"""The parts of a drill that need no service: its order, its table, its report, and its cleanup."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from drilling import loaded_from
from hypothesis import given
from hypothesis import strategies as st
from junit_schema import SCHEMA
from sandbox import REPOSITORY, Sandbox, free_port, wait_for

from remediation.config.model import Project, Service
from remediation.drill import helper
from remediation.drill.experiment import plan
from remediation.drill.fault_names import FAULTS
from remediation.drill.faults import INJECTORS, unused_pid
from remediation.drill.report import document, table
from remediation.drill.results import DrillResults, FaultResult, Trial
from remediation.messages.message import Message
from remediation.system import ports
from remediation.system.environment import DRILL_MARK
from remediation.system.process import Identity


@pytest.fixture
def loaded(project: Sandbox) -> Project:
    """The configured project."""
    return loaded_from(project)


@pytest.fixture
def service(loaded: Project) -> Service:
    """Its service."""
    return loaded.services["api"]


def finding(service: Service, fault: str, **values: object) -> FaultResult:
    """Return the result of a healed fault; `values` replace its fields."""
    found = FaultResult(Trial(fault, service, 1), detected=True, healed=True, downtime=0.5, ended=True)
    for name, value in values.items():
        setattr(found, name, value)
    return found


def findings(*several: FaultResult, trials: int | None = None) -> DrillResults:
    """Return a drill with these results."""
    planned = [one.trial for one in several]
    return DrillResults(7, 1, planned + planned[:1] * ((trials or len(several)) - len(several)), list(several))


def test_every_fault_that_is_named_can_be_made() -> None:
    assert list(FAULTS) == list(INJECTORS)


def test_each_round_has_every_fault_of_every_service_once(service: Service) -> None:
    trials = plan([service], list(FAULTS), rounds=3, seed=1)

    for number in (1, 2, 3):
        assert sorted(trial.fault for trial in trials if trial.round == number) == sorted(FAULTS)


def test_the_same_seed_makes_the_same_order_and_another_one_another(service: Service) -> None:
    orders = [[trial.fault for trial in plan([service], list(FAULTS), rounds=2, seed=seed)] for seed in (1, 1, 2)]

    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_a_pid_of_nobody_is_that_of_no_process_and_no_thread() -> None:
    pid = unused_pid(random.Random(1))

    assert Identity.of(pid) is None
    assert not Path(f"/proc/{pid}").exists()


def test_the_table_has_a_row_for_each_fault(service: Service) -> None:
    harm = Message("drill_killed", {"who": Message("decoy_name", {})})
    lines = table(
        findings(
            finding(service, "hang", downtime=3.0),
            finding(service, "crash"),
            finding(service, "crash", downtime=1.5, harmed=[harm]),
            finding(service, "full-log", skipped=Message("drill_no_mount", {"problem": "no"})),
            finding(service, "stranger", refused=True),
        )
    )

    assert [line.split("  ")[0] for line in lines] == ["FAULT", "crash", "hang", "stranger", "full-log"]
    assert lines[1].split() == ["crash", "2", "2/2", "2/2", "1.00s", "(1.50s)", "1", "0"]
    assert "1/1 (refused at first)" in lines[3]
    assert lines[4].split()[1] == "skipped"


def test_a_report_is_valid_and_counts_what_it_holds(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "drill.xml"
    late = Message("drill_late", {})
    path.write_bytes(
        document(
            findings(
                finding(service, "crash"),
                finding(
                    service, "hang", healed=False, wrong=[Message("drill_unhealed", {"code": late, "reason": "?"})]
                ),
                finding(service, "full-log", skipped=Message("drill_no_mount", {"problem": "no"})),
                trials=3,
            ),
            began=0.0,
        )
    )

    SCHEMA.validate(str(path))
    suite = ET.parse(path).getroot()[0]
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["3", "1", "0", "1"]


@given(st.text(max_size=50))
def test_whatever_was_printed_a_report_can_be_read(printed: str) -> None:
    unhealed = Message("drill_unhealed", {"code": 1, "reason": printed})
    trial = Trial("crash", cast("Service", SimpleNamespace(name="api")), 1)
    object.__setattr__(trial.service, "name", "api")
    found = FaultResult(trial, detected=True, wrong=[unhealed], output=printed, ended=True)

    ET.fromstring(document(DrillResults(1, 1, [trial], [found]), began=0.0))


def test_processes_of_a_drill_that_was_killed_are_ended(project: Sandbox, loaded: Project) -> None:
    left = project.stranger(
        sys.executable, "-c", "import time; time.sleep(600)", **{DRILL_MARK: str(loaded.state_folder)}
    )
    wait_for(lambda: helper.left_over(loaded))

    with helper.room(loaded) as folder:
        assert left.poll() is not None or left.wait(5) is not None
        assert folder.is_dir()

    assert not folder.exists()
    assert not helper.left_over(loaded)


def test_another_projects_drill_is_left_alone(project: Sandbox, loaded: Project) -> None:
    other = project.stranger(
        sys.executable, "-c", "import time; time.sleep(600)", **{DRILL_MARK: str(loaded.state_folder) + "-other"}
    )

    with helper.room(loaded):
        pass

    assert other.poll() is None


def test_an_orphan_keeps_the_very_socket_of_a_process_that_closes_it(loaded: Project) -> None:
    number = free_port()
    with socket.create_server(("127.0.0.1", number)) as server:
        words = ["orphan", str(number), "127.0.0.1", "--", f"{os.getpid()}:{server.fileno()}"]
        with helper.Helper("holder", *words, project=loaded) as holder:
            how = holder.line().split()[1]
            if how == "waits":
                pytest.skip("the kernel grants no descriptor of another process")
            server.close()

            ports.connect("127.0.0.1", number, 5).close()
    wait_for(lambda: ports.refuses("127.0.0.1", number))


@pytest.mark.parametrize("words", [["orphan"], ["stranger"]])
def test_without_a_socket_to_take_the_port_is_bound_anew_on_a_word(loaded: Project, words: list[str]) -> None:
    number = free_port()
    with helper.Helper("holder", *words, str(number), "127.0.0.1", "--", project=loaded) as holder:
        pid, how = holder.line().split()
        free = ports.refuses("127.0.0.1", number)
        holder.write_line("now")

        assert (how, free) == ("waits", True)
        assert holder.line() == "bound"
        assert {one.pid for one in ports.listeners(number, "127.0.0.1")} == {int(pid)}
    wait_for(lambda: not helper.left_over(loaded))


def test_a_port_that_stays_taken_is_told(loaded: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with helper.Helper("holder", "stranger", str(number), "127.0.0.1", project=loaded) as holder:
            holder.line()
            holder.write_line("now")

            assert holder.line() == "none"


def test_a_helper_ends_when_whoever_started_it_is_killed(loaded: Project) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from remediation.drill.bystanders import Bystanders\n"
        "from remediation.config.load import load_project\n"
        "project = load_project(Path(sys.argv[1]), {})\n"
        "with Bystanders(project.services['api'], project) as herd:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(loaded.root)], cwd=REPOSITORY)

    wait_for(lambda: not helper.left_over(loaded))
