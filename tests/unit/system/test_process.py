"""One process and its family: its identity survives a reused PID, and ending it ends exactly its family."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandbox import REPOSITORY, wait_for
from systems import needs_open_environments, needs_proc, needs_setsid

from remediation.system import process as primitive
from remediation.system.process import (
    Identity,
    Life,
    Protection,
    await_death,
    descendants,
    marked,
    protected,
    terminate,
)

Spawn = Callable[..., subprocess.Popen[bytes]]

MARK = "TEST_PROCESS_MARK"
# Longer than any test may take: what waits for it is seen to hang.
LONG = 600.0
DEAF = "trap '' TERM; echo ready; exec sleep 600"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start processes and end them after the test; one with a pipe must print a line first."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(*command: str, env: dict[str, str] | None = None, user: int | None = None) -> subprocess.Popen[bytes]:
        environ, pipe = os.environ | (env or {}), subprocess.PIPE
        process = subprocess.Popen(command, env=environ, user=user, stdin=pipe, stdout=pipe)
        started.append(process)
        assert process.stdout is not None
        assert "echo" not in command[-1] or process.stdout.readline()
        return process

    yield spawn
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Return a value for MARK that no other test uses, and end its processes after the test."""
    yield str(tmp_path)

    def ended() -> bool:
        # Again and again: while it executes a program, a process has no environment to be found by.
        left = marked(MARK, str(tmp_path))
        for identity in left:
            with suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGKILL)
        return not left

    wait_for(ended)


def identity_of(process: subprocess.Popen[bytes]) -> Identity:
    """Return the identity of a live process."""
    identity = Identity.of(process.pid)
    assert identity is not None
    return identity


def test_a_live_process_is_itself_each_time_it_is_looked_at(spawn: Spawn) -> None:
    identity = identity_of(spawn("sleep", "600"))

    assert identity == Identity.of(identity.pid)
    assert identity.life is Life.RUNNING


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("pid", [0, -1, -(10**30), 2**22 + 1, 2**31, 2**63, 10**300])
def test_a_number_that_is_no_process_has_no_identity(pid: int) -> None:
    assert Identity.of(pid) is None
    assert not Identity(pid, "any").alive


@pytest.mark.usefixtures("either_way")
def test_a_zombie_is_gone(spawn: Spawn) -> None:
    process = spawn("sleep", "600")
    identity = identity_of(process)

    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)

    assert Identity.of(process.pid) is None
    assert identity.life is Life.GONE


@pytest.mark.usefixtures("either_way")
def test_a_process_that_got_the_pid_of_another_is_not_the_other_and_survives(spawn: Spawn) -> None:
    process = spawn("sleep", "600")

    former = Identity(process.pid, identity_of(process).born + "0")

    assert former.life is Life.GONE
    assert descendants([former]) == []
    assert terminate(lambda: [former], timeout=LONG) == []
    assert process.poll() is None


@pytest.mark.usefixtures("either_way")
def test_a_suspended_process_is_told_from_a_running_one(spawn: Spawn) -> None:
    identity = identity_of(spawn("sleep", "600"))

    os.kill(identity.pid, signal.SIGSTOP)
    wait_for(lambda: identity.life is Life.SUSPENDED)
    os.kill(identity.pid, signal.SIGCONT)

    wait_for(lambda: identity.life is Life.RUNNING)


@pytest.mark.parametrize("name", [") Z 1 (", "))"])
def test_a_process_cannot_pass_for_another_by_its_name(spawn: Spawn, tmp_path: Path, name: str) -> None:
    script = tmp_path / name
    script.write_text("#!/bin/sh\nread line\n")
    script.chmod(0o755)
    process = spawn(str(script))
    wait_for(lambda: psutil.Process(process.pid).name() == name)

    assert identity_of(process).life is Life.RUNNING


@needs_proc
def test_the_number_of_a_thread_is_no_process_and_one_of_ours_is_protected() -> None:
    # kill(2) with such a number ends the whole process that the thread belongs to.
    ids: list[int] = []
    end = threading.Event()

    def work() -> None:
        ids.append(threading.get_native_id())
        end.wait()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        number = wait_for(lambda: ids)[0]
        assert Identity.of(number) is None
        assert protected(number) is not None
    finally:
        end.set()
        thread.join()


def test_a_process_is_not_taken_for_dead_when_we_have_no_descriptor_left_to_look() -> None:
    script = (
        "import os, resource; from remediation.system.process import Identity\n"
        "identity = Identity.of(os.getpid())\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: print('alive' if identity.alive else 'taken for dead')\n"
        "except OSError: print('told')\n"
    )

    result = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert result.stdout.strip() in ("alive", "told")


@pytest.mark.parametrize("pid", [1, 0, -1, -(10**30), 2**22 + 1, 10**30])
def test_what_is_no_process_of_ours_is_protected(pid: int) -> None:
    assert protected(pid)


def test_a_process_of_another_user_is_protected_and_survives(spawn: Spawn) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    other = spawn("sleep", "600", user=65534)
    identity = identity_of(other)

    left = terminate(lambda: [identity], timeout=0.1)

    assert protected(other.pid) is Protection.OTHER_USER
    assert left == []
    assert other.poll() is None


def test_a_process_is_described_by_name_pid_and_user(spawn: Spawn) -> None:
    process = spawn("sh", "-c", "echo ready; read line")

    assert primitive.describe(process.pid) == f"sh (PID {process.pid}, user {psutil.Process().username()})"
    assert [primitive.describe(pid) for pid in (2**22 + 1, -1)] == [f"PID {2**22 + 1}", "PID -1"]


@needs_setsid
def test_a_family_is_found_whatever_session_its_members_are_in(spawn: Spawn) -> None:
    process = spawn("sh", "-c", "setsid sh -c 'sleep 600 & echo ready; wait' & wait")

    family = descendants([identity_of(process)])

    assert family[0].pid == process.pid
    assert len(family) == 3
    terminate(lambda: family, timeout=LONG)


@needs_setsid
@pytest.mark.usefixtures("either_way")
def test_a_mark_finds_orphans_and_matches_as_a_whole(spawn: Spawn, mark: str) -> None:
    parent = spawn("sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600", env={MARK: mark})
    spawn("sleep", "600", env={MARK: mark + "0"})
    spawn("sleep", "600", env={MARK + "_": mark})
    parent.kill()
    parent.wait()

    # While it executes a program, it has no environment to be found by.
    [orphan] = wait_for(lambda: marked(MARK, mark))

    assert psutil.Process(orphan.pid).environ()[MARK] == mark
    assert orphan.pid != parent.pid


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_process_is_ended_by_the_signal_asked_for_at_once(spawn: Spawn, signum: signal.Signals) -> None:
    process = spawn("sh", "-c", "echo ready; exec sleep 600")
    identity = identity_of(process)
    before = sorted(Path("/dev/fd").iterdir())

    assert terminate(lambda: [identity], signum=signum, timeout=LONG) == []

    assert process.wait() == -signum
    assert sorted(Path("/dev/fd").iterdir()) == before


@pytest.mark.usefixtures("either_way")
def test_a_suspended_process_acts_on_sigterm_at_once(spawn: Spawn) -> None:
    process = spawn("sleep", "600")
    identity = identity_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: identity.life is Life.SUSPENDED)

    assert terminate(lambda: [identity], timeout=LONG) == []

    assert process.wait() == -signal.SIGTERM


@pytest.mark.usefixtures("either_way")
def test_deaf_processes_are_waited_for_together_and_then_killed(spawn: Spawn) -> None:
    processes = [spawn("sh", "-c", DEAF) for _ in range(12)]
    identities = [identity_of(process) for process in processes]
    start = time.monotonic()

    assert terminate(lambda: identities, timeout=1.0) == []

    assert 1.0 <= time.monotonic() - start < 12.0
    assert {process.wait() for process in processes} == {-signal.SIGKILL}


@needs_setsid
def test_a_deaf_child_does_not_escape_when_its_parent_obeys(spawn: Spawn, mark: str) -> None:
    process = spawn("sh", "-c", f'setsid sh -c "{DEAF}" & wait', env={MARK: mark})
    roots = [identity_of(process)]
    assert len(descendants(roots)) == 2

    assert terminate(lambda: descendants(roots), timeout=0.5) == []

    assert marked(MARK, mark) == []


@needs_setsid
def test_a_child_born_while_its_parent_is_ended_does_not_escape(spawn: Spawn, mark: str) -> None:
    heir = "trap 'setsid sleep 600 & exit' TERM; echo ready; while :; do sleep 0.01; done"
    spawn("sh", "-c", heir, env={MARK: mark})

    assert terminate(lambda: marked(MARK, mark), timeout=LONG) == []

    assert marked(MARK, mark) == []


@needs_proc
def test_a_process_in_the_middle_of_its_exec_does_not_escape(
    spawn: Spawn, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = spawn("sleep", "600", env={MARK: mark})
    wait_for(lambda: marked(MARK, mark))
    place, real = f"/proc/{process.pid}/environ", open
    # The kernel's answer in that moment, which lasts too short to be had otherwise.
    answers = [b"", b""]

    def exec_is_under_way(path: str, *args: Any, **options: Any) -> Any:
        return io.BytesIO(answers.pop()) if path == place and answers else real(path, *args, **options)

    monkeypatch.setattr("builtins.open", exec_is_under_way)

    assert [identity.pid for identity in marked(MARK, mark)] == [process.pid]
    assert not answers


@needs_open_environments
@pytest.mark.usefixtures("only_posix")
def test_without_proc_a_process_in_the_middle_of_its_exec_does_not_escape_either(
    spawn: Spawn, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = spawn("sleep", "600", env={MARK: mark})
    wait_for(lambda: marked(MARK, mark))
    real = psutil.Process.environ
    answers: list[dict[str, str]] = [{}, {}]

    def exec_is_under_way(asked: psutil.Process) -> dict[str, str]:
        return answers.pop() if asked.pid == process.pid and answers else real(asked)

    monkeypatch.setattr(psutil.Process, "environ", exec_is_under_way)

    assert [identity.pid for identity in marked(MARK, mark)] == [process.pid]
    assert not answers


@pytest.mark.usefixtures("only_posix")
def test_without_proc_the_birth_does_not_move_when_the_clock_is_set(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = spawn("sleep", "600")
    identity = identity_of(process)

    # As psutil since 7.1 has it on macOS, once the clock was set.
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() + 3600)

    assert identity.alive


@needs_proc
def test_one_without_an_environment_is_nobodys(spawn: Spawn, mark: str) -> None:
    process = spawn("env", "-i", "sleep", "600", env={MARK: mark})
    wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")

    assert marked(MARK, mark) == []


def test_we_and_our_ancestors_survive_our_own_signals() -> None:
    ancestors = [parent.pid for parent in psutil.Process().parents()]
    identities = [identity for pid in (os.getpid(), *ancestors, 1) if (identity := Identity.of(pid))]

    assert terminate(lambda: identities, timeout=LONG) == []

    assert all(identity.alive for identity in identities)
    assert protected(os.getpid()) is Protection.OURSELVES
    assert all(protected(pid) for pid in ancestors)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("timeout", [LONG, 1e8])
def test_a_death_is_seen_when_it_happens(spawn: Spawn, timeout: float) -> None:
    process = spawn("sh", "-c", "echo ready; read line")
    identity = identity_of(process)
    assert process.stdin is not None
    threading.Timer(0.1, process.stdin.close).start()

    await_death(identity, timeout)

    assert not identity.alive


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.05])
def test_a_process_that_lives_on_is_waited_for_no_longer_than_asked(spawn: Spawn, timeout: float) -> None:
    identity = identity_of(spawn("sleep", "600"))

    await_death(identity, timeout)

    assert identity.alive
