"""As the first process of a container, the monitor leaves no zombies and receives signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import DEADLINE, REPOSITORY, wait_for

# Becomes PID 1; the child bears an orphan that ends at once, and then does what the argument says.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from remediation.monitor.pid1 import step_aside
ended = step_aside()
if ended is not None:
    sys.exit(ended)
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os._exit(0)
os.wait()
end = time.monotonic() + 20
while any("\\nState:\\tZ" in path.read_text() for path in Path("/proc").glob("[0-9]*/status")):
    if time.monotonic() > end:
        sys.exit(99)
    time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("no zombie", os.getpid(), flush=True)
if sys.argv[1] == "wait":
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def may_unshare() -> bool:
    """Return whether a PID namespace can be made here."""
    return (
        shutil.which("unshare") is not None and not subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode
    )


@pytest.fixture
def first(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that was PID 1 of a namespace, and has reported that there is no zombie."""
    if not may_unshare():
        pytest.skip("no PID namespace can be had here")
    command = [*NAMESPACE, sys.executable, "-c", PROGRAM, request.param]
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("no zombie")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("first", ["wait"], indirect=True)
def test_pid_1_collects_orphans_and_hands_signals_on(first: subprocess.Popen[str]) -> None:
    (init,) = wait_for(lambda: Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split())

    os.kill(int(init), signal.SIGTERM)

    assert first.wait(DEADLINE) == 7


@pytest.mark.parametrize("first", ["die"], indirect=True)
def test_pid_1_ends_as_a_shell_does_when_the_monitor_is_killed(first: subprocess.Popen[str]) -> None:
    assert first.wait(DEADLINE) == 128 + signal.SIGKILL
