"""The facts about a process from the kernel, one by one, until the process is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandbox import REPOSITORY, wait_for
from systems import needs_proc

from remediation.system.process import Identity
from remediation.system.process_info import Facts, vitals


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps, with a file open."""
    script = f"import time; file = open({str(tmp_path / 'open')!r}, 'w'); print(1, flush=True); time.sleep(600)"
    environ = {**os.environ, "A_SECRET": "hidden"}
    with subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def facts(pid: int) -> Facts:
    """Return all facts about a process."""
    identity = Identity.of(pid)
    assert identity
    found: Facts = {}
    for fact in vitals(identity):
        found |= fact
    return found


@needs_proc
def test_they_tell_who_it_is_what_it_does_and_what_it_has(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    found = facts(child.pid)

    assert (found["pid"], found["state"], found["parent"]) == (child.pid, "running", os.getpid())
    assert found["user"] == psutil.Process().username()
    assert found["working_directory"] == os.getcwd()
    assert str(tmp_path / "open") in str(found["open_files"])
    assert "A_SECRET" in str(found["environment_variables"])
    assert "hidden" not in str(found)
    for name in ("waits_in", "threads", "memory_bytes", "limits", "descriptors", "cpu_seconds"):
        assert found[name], name


def test_sockets_are_told_with_both_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)) as client:
            sockets: Any = facts(os.getpid())["sockets"]
            ends = {"local": f"127.0.0.1:{client.getsockname()[1]}", "remote": f"127.0.0.1:{number}"}

    assert {"local": f"127.0.0.1:{number}", "remote": "", "status": "LISTEN"} in sockets
    assert {**ends, "status": "ESTABLISHED"} in sockets


@pytest.mark.usefixtures("only_posix")
def test_without_proc_they_tell_what_psutil_knows(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    found = facts(child.pid)

    assert (found["pid"], found["state"], found["parent"]) == (child.pid, "running", os.getpid())
    assert found["threads"] == 1
    assert str(tmp_path / "open") in str(found["open_files"])
    assert "A_SECRET" in str(found["environment_variables"])
    assert "hidden" not in str(found)
    assert not {"waits_in", "limits", "oom_score"} & found.keys()


@needs_proc
def test_each_thread_is_told(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)

    found = facts(child.pid)

    assert found["state"] == "suspended"
    threads: Any = found["threads"]
    assert [(thread["id"], thread["state"]) for thread in threads] == [(child.pid, "T")]


def test_of_one_that_dies_meanwhile_there_is_what_came_before(child: subprocess.Popen[bytes]) -> None:
    identity = Identity.of(child.pid)
    assert identity
    found = vitals(identity)
    first = [next(found), next(found)]
    child.kill()
    child.wait()

    rest = list(found)

    assert first[0]["pid"] == child.pid
    assert rest == []


def test_a_pid_that_is_somebody_else_s_by_now_is_not_looked_at(child: subprocess.Popen[bytes]) -> None:
    found = list(vitals(Identity(child.pid, "another birth")))

    assert found == [{"pid": child.pid, "state": "gone"}]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_is_hidden_from_us_is_told_as_such(child: subprocess.Popen[bytes]) -> None:
    script = (
        "import os, sys, json; sys.path.insert(0, sys.argv[2])\n"
        "from remediation.system.process import Identity\n"
        "from remediation.system.process_info import vitals\n"
        "one = Identity.of(int(sys.argv[1]))\n"
        # Before the change, since another user might not be able to import what this one can.
        "list(vitals(one))\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "print(json.dumps([list(fact.items())[0] for fact in vitals(one)]))\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", script, str(child.pid), str(REPOSITORY)], capture_output=True, text=True, check=True
    )

    assert '["parent", ' in told.stdout
    assert '["open_files", "not known: ' in told.stdout
