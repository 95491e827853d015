"""Evidence is collected before a heal: it shows the service as it was, and the output names its folder."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandbox import IMPATIENT, PATIENT, PYTHON, Sandbox, is_healed, wait_for

from remediation.healing.diagnostics import _py_spy


def folders(project: Sandbox) -> list[Path]:
    """Return the folders of evidence, in order."""
    archive = project.root / ".auto-heal" / "evidence"
    return sorted(archive.iterdir()) if archive.is_dir() else []


def evidence(project: Sandbox) -> Path:
    """Return the only folder of evidence."""
    (only,) = folders(project)
    return only


def read(folder: Path, name: str) -> Any:
    """Return a JSON file of the evidence."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def heal_a_hung_one(project: Sandbox) -> int:
    """Start the service, suspend it and heal it; return its previous PID."""
    project.auto_heal("start")
    pid = project.pid
    os.kill(pid, signal.SIGSTOP)
    is_healed(project)
    return pid


def test_the_processes_are_there_as_they_were_before_the_first_signal(project: Sandbox) -> None:
    project.configure('env = { CHILDREN = "1" }\nstop_timeout = 0.1')

    pid = heal_a_hung_one(project)

    processes = {process["pid"]: process for process in read(evidence(project), "processes.json")}
    hung, child = processes.pop(pid), processes.popitem()[1]
    assert (hung["state"], hung["status"], hung["user"]) == ("suspended", "stopped", psutil.Process().username())
    assert hung["command_line"][-1].endswith("patient.py")
    assert hung["threads"][0]["state"] == "T"
    assert hung["waits_in"]
    assert hung["limits"]["Max open files"]
    assert "PORT" in hung["environment_variables"]
    assert {"local": f"127.0.0.1:{project.port}", "remote": "", "status": "LISTEN"} in hung["sockets"]
    assert (child["parent"], child["state"]) == (pid, "running")


@pytest.mark.soak
def test_so_are_attempts_port_machine_and_the_service_s_own_last_words(project: Sandbox) -> None:
    patient = str(PATIENT)
    script = (
        "import sys, runpy\nprint('\\n'.join(f'line {n}' for n in range(999)), flush=True)\n"
        f"sys.argv = ['patient.py']\nrunpy.run_path({patient!r}, run_name='__main__')"
    )
    project.write("talk.py", script)
    project.configure(command=f'command = ["{sys.executable}", "talk.py"]')

    pid = heal_a_hung_one(project)

    folder = evidence(project)
    assert "test_health.py::test_health\napi: its process" in (folder / "attempts.txt").read_text()
    assert "round 1, attempt 1" in (folder / "attempts.txt").read_text()
    assert (folder / "log.txt").read_text().splitlines() == [f"line {n}" for n in range(799, 999)]
    assert read(folder, "machine.json")["memory_bytes"]["available"] > 0
    (holder,) = read(folder, "port.json")["holders"]
    assert (holder["pid"], holder["of_the_service"]) == (pid, True)
    assert read(folder, "port.json")["connections"]["LISTEN"] == 1
    about = read(folder, "heal.json")
    assert (about["service"], about["missing"]) == ("api", {})
    assert about["cause"] == f"api: its process {pid} is stopped (SIGSTOP)"


@pytest.mark.soak
def test_it_is_its_owner_s_alone(project: Sandbox) -> None:
    heal_a_hung_one(project)

    folder = evidence(project)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_log_report_and_history_name_the_folder(project: Sandbox) -> None:
    is_healed(project)

    name = str(evidence(project).relative_to(project.root))
    assert f"[INFO] Evidence is in {name}" in project.log
    assert project.property("api.evidence") == name
    with closing(sqlite3.connect(project.root / ".auto-heal" / "history.db")) as database:
        assert database.execute("SELECT evidence FROM heals").fetchall() == [(name,)]


@pytest.mark.soak
def test_a_service_that_is_gone_leaves_what_there_is(project: Sandbox) -> None:
    project.configure('evidence = ["cat", "/proc/{pid}/status"]')
    project.auto_heal("start")
    project.write("api-server.log", "the last words\n")
    os.kill(project.pid, signal.SIGKILL)

    is_healed(project)

    folder = evidence(project)
    names = {file.name for file in folder.iterdir()}
    assert names == {"attempts.txt", "heal.json", "log.txt", "machine.json", "port.json"}
    assert (folder / "log.txt").read_text() == "the last words\n"
    assert read(folder, "port.json") == {"port": project.port, "holders": []}
    assert read(folder, "heal.json")["missing"] == {"command.txt": "its process is not running, so there is no {pid}"}


@pytest.mark.soak
def test_a_stranger_on_the_port_is_named(project: Sandbox) -> None:
    project.configure('free_port = "user"', top=IMPATIENT)
    stranger = project.stranger_on_port()

    is_healed(project)

    (holder,) = read(evidence(project), "port.json")["holders"]
    assert (holder["pid"], holder["of_the_service"]) == (stranger.pid, False)
    assert "python" in holder["who"]


@pytest.mark.soak
def test_every_rung_has_its_own(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }\nladder = ["restart", "restart"]')

    result = project.check()

    assert result.code == 1, result
    names = [str(folder.relative_to(project.root)) for folder in folders(project)]
    assert len(names) == 2
    assert project.property("api.evidence") == ", ".join(names)
    # What killed the first restart stands in the log that the second one found.
    assert "no database" in (folders(project)[1] / "log.txt").read_text()


@pytest.mark.soak
@pytest.mark.parametrize("action", ["start", "restart"])
def test_by_hand_there_is_none(project: Sandbox, action: str) -> None:
    project.auto_heal("start")

    project.auto_heal(action)

    assert not folders(project)


@pytest.mark.soak
def test_without_time_there_is_none(project: Sandbox) -> None:
    project.configure(top="evidence = { timeout = 0 }")

    is_healed(project)

    assert not folders(project)
    assert "vidence" not in project.log
    assert project.property("api.evidence") is None


@pytest.mark.soak
@pytest.mark.skipif(_py_spy() is None, reason="py-spy is not installed")
def test_a_python_process_shows_its_stack(project: Sandbox) -> None:
    pid = heal_a_hung_one(project)

    folder = evidence(project)
    assert "serve_forever" in (folder / f"stack-{pid}.txt").read_text(), read(folder, "heal.json")


# The user's command.


@pytest.mark.soak
def test_the_user_s_command_is_asked_about_the_process(project: Sandbox) -> None:
    project.configure('evidence = ["sh", "-c", "echo $0 in $(pwd) on $PORT; echo more >&2", "{pid}"]')

    pid = heal_a_hung_one(project)

    told = (evidence(project) / "command.txt").read_text()
    assert told == f"{pid} in {project.root} on {project.port}\nmore\n"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("command", "output", "problem"),
    [
        ('["sh", "-c", "echo half; exit 3"]', "half\n", "exited with status 3"),
        ('["sh", "-c", "kill -9 $$"]', "", "was killed by SIGKILL"),
        ('["no-such-program"]', "", "cannot be run: No such file or directory"),
        ('["sh", "-c", "echo half; trap \'\' TERM; while :; do sleep 1; done"]', "half\n", "did not end in time"),
        ('["yes"]', "y\n" * 131_072, "printed more than is kept"),
    ],
    ids=["status", "signal", "missing", "hangs", "endless"],
)
def test_a_command_that_fails_or_hangs_leaves_what_it_said_and_holds_nobody_up(
    project: Sandbox, command: str, output: str, problem: str
) -> None:
    project.configure(f"evidence = {command}", top="evidence = { timeout = 1 }")

    is_healed(project)

    folder = evidence(project)
    found = (folder / "command.txt").read_text() if output else ""
    assert found == output
    assert read(folder, "heal.json")["missing"]["command.txt"].endswith(f"` {problem}")
    wait_for(lambda: not [one for one in psutil.process_iter() if marked(one, project)])


@pytest.mark.soak
def test_a_command_that_becomes_a_daemon_is_ended_and_not_waited_for(project: Sandbox) -> None:
    daemon = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(600)"
    command = json.dumps(["sh", "-c", f'echo begun; {PYTHON} -c "{daemon}"'])
    project.configure(f"evidence = {command}", top="evidence = { timeout = 60 }")

    is_healed(project)

    folder = evidence(project)
    assert (folder / "command.txt").read_text() == "begun\n"
    assert read(folder, "heal.json")["missing"] == {}
    assert not [one for one in psutil.process_iter() if marked(one, project)]


@pytest.mark.soak
def test_a_command_does_not_go_on_after_ctrl_c(project: Sandbox) -> None:
    project.configure('evidence = ["sh", "-c", "echo $$ > asked; sleep 600"]', top="evidence = { timeout = 60 }")
    remediator = project.start("remediation", "check")
    asked = project.root / "asked"
    wait_for(lambda: asked.exists() and asked.read_text().strip())

    remediator.send_signal(signal.SIGINT)
    remediator.communicate()

    wait_for(lambda: not [one for one in psutil.process_iter() if marked(one, project)])


@pytest.mark.soak
def test_a_command_that_a_killed_healer_left_is_ended_by_the_next(project: Sandbox) -> None:
    project.configure('evidence = ["sh", "-c", "echo $$ >> asked; sleep 600"]', top="evidence = { timeout = 60 }")
    remediator = project.start("pytest", "healthtests")
    try:
        wait_for(lambda: (project.root / "asked").exists() and (project.root / "asked").read_text().strip())
    finally:
        project.kill(remediator)
    left = psutil.Process(int((project.root / "asked").read_text()))
    project.configure('evidence = ["true"]')

    is_healed(project)

    wait_for(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)


def marked(process: psutil.Process, project: Sandbox) -> bool:
    """Return whether a process collects evidence for the project."""
    try:
        return process.environ().get("AUTO_HEAL_EVIDENCE", "").startswith(f"{project.root}:")
    except psutil.Error:
        return False


# What must not be.


def test_what_the_service_logged_is_without_secrets(project: Sandbox) -> None:
    project.configure('env = { API_TOKEN = "f3b9-77aa-9c1e" }')
    project.write("api-server.log", "token f3b9-77aa-9c1e\nhttp://me:pa55w0rd@db/ refused\n")

    is_healed(project)

    assert (evidence(project) / "log.txt").read_text() == "token ***\nhttp://***@db/ refused\n"


@pytest.mark.soak
def test_a_link_in_its_place_is_not_followed_and_the_heal_goes_on(project: Sandbox, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (project.root / ".auto-heal").mkdir()
    (project.root / ".auto-heal" / "evidence").symlink_to(elsewhere)

    is_healed(project)

    assert not list(elsewhere.iterdir())
    assert "[WARN] No evidence of this: " in project.log


@pytest.mark.soak
@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: Path(path).write_text("mine")], ids=["fifo", "file"])
def test_something_else_in_its_place_is_left_and_the_heal_goes_on(project: Sandbox, plant: Any) -> None:
    place = project.root / ".auto-heal" / "evidence"
    place.parent.mkdir()
    plant(place)

    is_healed(project)

    assert not place.is_dir()
    assert "[WARN] No evidence of this: " in project.log


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_user_s_folder_is_not_used(project: Sandbox) -> None:
    place = project.root / ".auto-heal" / "evidence"
    place.mkdir(parents=True)
    os.chown(place, 65_534, 65_534)

    is_healed(project)

    assert not list(place.iterdir())
    assert "belongs to another user" in project.log


@pytest.mark.soak
def test_evidence_of_too_many_heals_goes(project: Sandbox) -> None:
    project.configure(top="evidence = { megabytes = 1, days = 1 }")
    is_healed(project)
    first = evidence(project)
    (first / "more").write_bytes(bytes(1_000_000))

    os.kill(project.pid, signal.SIGKILL)
    is_healed(project)

    assert evidence(project) != first
