"""Whatever a PID file names, that process gets no signal, and the service is healed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable

import pytest
from sandbox import DEADLINE, Sandbox, is_healed

GIGABYTE = 1 << 30


def heals(project: Sandbox) -> None:
    """Run one check, and assert that it heals."""
    project.configure(top="retries = 1")
    is_healed(project)


@pytest.mark.parametrize(
    "content",
    [
        b"\x7fELF\x00\xff\xfe\x01" * 8,
        "٣٤٥".encode(),
        b"+12",
        b"2147483648\n",
    ],
)
def test_what_is_no_pid_is_ignored(project: Sandbox, content: bytes) -> None:
    (project.root / ".api-server.pid").write_bytes(content)

    heals(project)


def test_a_pid_file_of_a_gigabyte_is_ignored_and_takes_no_memory(project: Sandbox) -> None:
    path = project.root / ".api-server.pid"
    path.write_bytes(b"1\n")
    os.truncate(path, GIGABYTE)

    heals(project)

    assert path.stat().st_size < 100


@pytest.mark.parametrize("form", ["{}\r\n", "\ufeff{}\n", " {}\n\n", "{}\0\n"])
def test_a_stranger_survives_however_its_pid_is_written(project: Sandbox, form: str) -> None:
    stranger = project.stranger("sleep", "600")
    (project.root / ".api-server.pid").write_bytes(form.format(stranger.pid).encode())

    heals(project)

    assert stranger.poll() is None


def test_a_process_of_another_user_survives(project: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    with subprocess.Popen(["sleep", "600"], user=65534) as other:
        try:
            project.write(".api-server.pid", f"{other.pid}\n")

            heals(project)

            assert other.poll() is None
        finally:
            other.kill()


def test_the_number_of_a_thread_is_no_service(project: Sandbox) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(4 * DEADLINE,))
    thread.start()
    try:
        project.write(".api-server.pid", f"{thread.native_id}\n")

        heals(project)

        assert thread.is_alive()
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize(
    "script",
    [
        # Its parent's, and its own.
        'echo $$ > .api-server.pid; "$0" -m remediation check; code=$?; echo survived; exit $code',
        'echo $$ > .api-server.pid; exec "$0" -m remediation check',
    ],
    ids=["parent", "itself"],
)
def test_auto_heal_and_its_parent_survive(project: Sandbox, script: str) -> None:
    result = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=project.root, env=project.environment(),
        capture_output=True, text=True, timeout=4 * DEADLINE,
    )  # fmt: skip

    assert result.returncode == 0, result
    assert "survived" in result.stdout or "exec" in script
    assert len(project.servers()) == 1


# A PID that was given to somebody else, for real.

REUSED = """
import os, pathlib, signal, subprocess, sys, time

def auto_heal(*words):
    return subprocess.run([sys.executable, "-m", "remediation", *words]).returncode

assert auto_heal("start") == 0
pid = int(pathlib.Path(".api-server.pid").read_text())
os.kill(pid, signal.SIGKILL)
while os.path.exists(f"/proc/{pid}"):
    # We are its init.
    os.waitpid(-1, 0)
pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
decoy = subprocess.Popen(["sleep", "600"])
assert decoy.pid == pid, (decoy.pid, pid)
code = auto_heal(*sys.argv[1:])
print(f"code {code}, decoy {'lives' if decoy.poll() is None else 'died'}, "
      f"server {int(pathlib.Path('.api-server.pid').read_text() or 0) != pid}", flush=True)
os.kill(int(pathlib.Path(".api-server.pid").read_text()), signal.SIGKILL)
decoy.kill()
"""


@pytest.fixture
def namespace(project: Sandbox) -> Callable[..., str]:
    """Run Python as the first process of a new PID namespace; return its output."""

    def run(script: str, *words: str) -> str:
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if subprocess.run([*command, "true"], capture_output=True).returncode:
            pytest.skip("no PID namespace can be made here")
        result = subprocess.run(
            [*command, sys.executable, "-c", textwrap.dedent(script), *words],
            cwd=project.root, env=project.environment(), capture_output=True, text=True, timeout=4 * DEADLINE,
        )  # fmt: skip
        assert result.returncode == 0, result
        return result.stdout

    return run


@pytest.mark.parametrize("command", ["check", "start", "restart"])
def test_whoever_was_given_the_pid_of_the_dead_service_survives(namespace: Callable[..., str], command: str) -> None:
    said = namespace(REUSED, command)

    assert "code 0, decoy lives, server True" in said


def test_stop_spares_whoever_was_given_the_pid_of_the_dead_service(namespace: Callable[..., str]) -> None:
    script = REUSED.split("print(", maxsplit=1)[0] + "print(code, decoy.poll() is None)\ndecoy.kill()\n"

    said = namespace(script, "stop")

    assert said.splitlines()[-1] == "0 True"
