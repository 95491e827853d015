"""A start that fails because of a zombie is tried again when the zombie is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from sandbox import DEADLINE, PATIENT, PYTHON, Sandbox, wait_for

from remediation.system.process import Identity, await_removal, zombies

# Starts as PostgreSQL does: not while the PID in its own file is that of a process that there is.
LIKE_POSTGRES = f"""
import os, pathlib, runpy, sys

own = pathlib.Path("postmaster.pid")
if own.exists():
    try:
        os.kill(int(own.read_text()), 0)
        sys.exit('FATAL: lock file "postmaster.pid" already exists')
    except ProcessLookupError:
        pass
own.write_text(str(os.getpid()))
sys.argv = [{str(PATIENT)!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# A parent that takes over what its children leave behind, and waits for nobody until it is told to, or ever.
LATE = """
import ctypes, os, subprocess, sys

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, prctl(2)
first = subprocess.run(sys.argv[1:])
print(first.returncode, flush=True)
sys.stdin.readline()
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
print("reaped", flush=True)
sys.stdin.read()
"""


@contextmanager
def late(project: Sandbox, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a parent of a service, started by this command, that is slow to wait for dead children."""
    words = [sys.executable, "-c", LATE, sys.executable, "-m", *command]
    parent = subprocess.Popen(
        words, cwd=project.root, env=project.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        wait_for(lambda: parent.stdout and parent.stdout.readline().strip().isdigit())
        yield parent
    finally:
        parent.kill()
        parent.communicate()


def is_zombie(pid: int) -> bool:
    """Return whether a process is a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def has_died(pid: int) -> None:
    """Kill a server, and assert that it stays as a zombie."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_zombie(pid))


@pytest.fixture
def postgres(project: Sandbox) -> Sandbox:
    """A project whose service starts as PostgreSQL does."""
    project.write("postgres.py", LIKE_POSTGRES)
    project.configure("restart_delay = 60", top="retries = 1", command=f'command = ["{sys.executable}", "postgres.py"]')
    return project


SAID = "t may have taken the dead process {}, which is still listed, for a server that runs"
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")


@needs_linux
def test_a_server_that_does_not_start_beside_its_dead_pid_is_started_when_that_is_gone(postgres: Sandbox) -> None:
    with late(postgres, "remediation", "start") as parent:
        old = postgres.pid
        has_died(old)
        check = postgres.start("pytest", "healthtests")
        wait_for(lambda: SAID.format(old) in postgres.log)
        assert is_zombie(old)
        assert parent.stdin is not None
        parent.stdin.write("now\n")
        parent.stdin.flush()

        output, _ = check.communicate(timeout=DEADLINE)

        assert check.returncode == 0, output
        assert postgres.pid != old
        assert len(postgres.state["restarts"]) == 1


@needs_linux
def test_the_dead_leader_of_the_session_is_waited_for_whatever_process_the_state_names(postgres: Sandbox) -> None:
    with late(postgres, "remediation", "start") as parent:
        leader = postgres.pid
        has_died(leader)
        # As if a successor had died, whose PID then went to another process.
        state = postgres.state | {"pid": os.getpid()}
        postgres.write(".auto-heal/api.json", json.dumps(state))
        check = postgres.start("pytest", "healthtests")
        wait_for(lambda: SAID.format(leader) in postgres.log or check.poll() is not None)
        assert parent.stdin is not None
        parent.stdin.write("now\n")
        parent.stdin.flush()

        output, _ = check.communicate(timeout=DEADLINE)

        assert check.returncode == 0, output


@pytest.mark.soak
@needs_linux
def test_a_dead_pid_that_never_goes_is_not_waited_for_for_ever(postgres: Sandbox) -> None:
    with late(postgres, "remediation", "start"):
        old = postgres.pid
        has_died(old)

        result = postgres.check()

        assert is_zombie(old)
        assert result.code == 1, result
        assert result.output.count("Starting the API server") == 2
        assert 'FATAL: lock file "postmaster.pid" already exists' in (postgres.property("api.action") or "")
        assert len(postgres.state["restarts"]) == 1


@needs_linux
def test_a_server_that_does_not_ask_for_its_dead_pid_is_not_kept_waiting(healthy: Sandbox) -> None:
    assert healthy.auto_heal("stop").code == 0
    with late(healthy, "remediation", "start"):
        old = healthy.pid
        has_died(old)

        result = healthy.check()

        assert is_zombie(old)
        assert result.code == 0, result
        assert healthy.pid != old
        assert "still listed" not in result.output


@needs_linux
@pytest.mark.parametrize("wait", ["", "exec "], ids=["behind a shell", "instead of the shell"])
def test_a_restart_waits_for_what_it_ended_itself(postgres: Sandbox, wait: str) -> None:
    script = f"trap '' INT; {wait}{PYTHON} postgres.py"
    postgres.configure(top="retries = 1", command=f"command = {json.dumps(['sh', '-c', script])}")
    with late(postgres, "remediation", "start") as parent:
        server = int((postgres.root / "postmaster.pid").read_text())
        restart = postgres.start("remediation", "restart")
        wait_for(lambda: is_zombie(server) or Identity.of(server) is None)
        assert parent.stdin is not None
        parent.stdin.write("now\n")
        parent.stdin.flush()

        output, _ = restart.communicate(timeout=DEADLINE)

        assert restart.returncode == 0, output


@contextmanager
def corpse() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a dead child of this process that nobody has waited for."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_zombies_are_found_by_their_birth_and_by_the_session_that_they_belonged_to() -> None:
    with corpse() as child:
        identity = Identity.of(child.pid)
        assert identity
        assert zombies([identity]) == []
        has_died(child.pid)

        assert zombies([identity]) == [identity]
        assert zombies([Identity(os.getpid(), "long ago")]) == []
        assert zombies([]) == []


@pytest.mark.parametrize(
    ("reaps", "seconds"), [(True, 0.0), (False, 0.3)], ids=["a child of ours", "a child of somebody who is late"]
)
def test_a_zombie_is_waited_for_until_it_is_gone_or_the_time_is_over(reaps: bool, seconds: float) -> None:
    with corpse() as child:
        identity = Identity.of(child.pid)
        assert identity
        has_died(child.pid)
        reap: Callable[[], object] = child.poll if reaps else lambda: None
        begin = time.monotonic()

        await_removal([identity], 0.3, reap)

        assert is_zombie(child.pid) is not reaps
        assert time.monotonic() - begin >= seconds
