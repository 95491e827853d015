"""One process and its family: its identity survives a reused PID, and ending it ends exactly its family."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from sandbox import DEADLINE, REPOSITORY, wait_for
from systems import needs_open_environments, needs_proc, needs_setsid

from remediation.system import process as primitive
from remediation.system.capabilities import has_pidfd
from remediation.system.process import (
    Identity,
    Life,
    Protection,
    await_death,
    descendants,
    introduce,
    marked,
    protected,
    session_members,
    terminate,
)

Spawn = Callable[..., subprocess.Popen[bytes]]

MARK = "TEST_PROCESS_MARK"
# Longer than any test may take: what waits for it is seen to hang.
LONG = 600.0
DEAF = "trap '' TERM; echo ready; exec sleep 600"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start processes and end them after the test; one that echoes must print a line first."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(*command: str, env: dict[str, str] | None = None, user: int | None = None) -> subprocess.Popen[bytes]:
        environ, pipe = os.environ | (env or {}), subprocess.PIPE
        process = subprocess.Popen(command, env=environ, user=user, stdin=pipe, stdout=pipe)
        started.append(process)
        assert process.stdout is not None
        assert "echo" not in " ".join(command) or process.stdout.readline()
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
            with contextlib.suppress(ProcessLookupError):
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


def test_it_is_told_why_a_process_is_protected(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, other = spawn("sleep", "600"), spawn("sleep", "600")
    # As if it had started us.
    monkeypatch.setattr(psutil.Process, "parents", lambda _: [psutil.Process(parent.pid)])

    assert protected(1) is Protection.INIT
    assert protected(os.getpid()) is Protection.OURSELVES
    assert protected(parent.pid) is Protection.ANCESTOR
    assert protected(0) is Protection.NO_PROCESS
    assert protected(other.pid) is None


@pytest.mark.parametrize(("failures", "reason"), [(2, None), (3, Protection.UNKNOWN)])
def test_a_process_that_changes_while_it_is_examined_is_examined_again(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, failures: int, reason: Protection | None
) -> None:
    process = spawn("sleep", "600")
    real, left = psutil.Process.uids, [psutil.AccessDenied(process.pid)] * failures

    def uids(examined: psutil.Process) -> Any:
        if left:
            raise left.pop()
        return real(examined)

    monkeypatch.setattr(psutil.Process, "uids", uids)

    assert protected(process.pid) is reason


def test_one_that_ends_while_it_is_examined_is_no_process(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    process = spawn("sleep", "600")

    def uids(examined: psutil.Process) -> Any:
        process.kill()
        process.wait()
        raise psutil.NoSuchProcess(examined.pid)

    monkeypatch.setattr(psutil.Process, "uids", uids)

    assert protected(process.pid) is Protection.NO_PROCESS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_is_protected_and_survives(spawn: Spawn) -> None:
    identity = identity_of(spawn("sleep", "600"))

    def survives_another_user() -> bool:
        os.setuid(65534)
        return protected(identity.pid) is Protection.OTHER_USER and terminate(lambda: [identity], timeout=0.1) == []

    assert in_a_fork(survives_another_user)
    assert identity.alive


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ((1000, 1000), (1000, 1000, 1000), None),
        ((1000, 1000), (1001, 1001, 1001), Protection.OTHER_USER),
        # Of theirs the real and the saved one count, of ours the real and the effective one, kill(2).
        ((1000, 1000), (1001, 1000, 1001), Protection.OTHER_USER),
        ((1000, 1000), (1000, 1001, 1001), None),
        ((1000, 1000), (1001, 1001, 1000), None),
        ((1001, 1000), (1000, 1002, 1002), None),
        ((1000, 1001), (1000, 1002, 1002), None),
        ((1000, 0), (1001, 1001, 1001), None),
    ],
)
def test_a_process_may_be_signalled_as_the_kernel_allows(
    spawn: Spawn,
    monkeypatch: pytest.MonkeyPatch,
    ours: tuple[int, int],
    theirs: tuple[int, int, int],
    reason: Protection | None,
) -> None:
    process = spawn("sleep", "600")
    uids = SimpleNamespace(real=theirs[0], effective=theirs[1], saved=theirs[2])
    monkeypatch.setattr(psutil.Process, "uids", lambda _: uids)
    monkeypatch.setattr(os, "getuid", lambda: ours[0])
    monkeypatch.setattr(os, "geteuid", lambda: ours[1])

    assert protected(process.pid) is reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_mark_finds_another_users_process_only_if_it_is_secret(spawn: Spawn) -> None:
    known, secret = f"{MARK}_KNOWN", f"{MARK}_SECRET"
    marks = {known: str(os.getpid()), secret: f"{os.getpid()}-secret"}
    ours = identity_of(spawn("sleep", "600", env={known: marks[known]}))
    theirs = identity_of(spawn("sleep", "600", env=marks, user=65534))
    spawn("sleep", "600", env={known: marks[known]}, user=65534)
    wait_for(lambda: primitive.value_of(secret, theirs.pid))

    assert primitive.marked_by(marks) == [ours]
    assert set(primitive.marked_by(marks, secret=secret)) == {ours, theirs}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_root_may_end_the_processes_of_every_user(spawn: Spawn) -> None:
    other = spawn("sleep", "600", user=65534)
    identity = identity_of(other)

    assert protected(other.pid) is None
    assert terminate(lambda: [identity], timeout=DEADLINE) == []
    assert other.wait() == -signal.SIGTERM


SESSION = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], env={})
print(child.pid, flush=True)
time.sleep(600)
"""


@needs_setsid
def test_what_is_left_of_a_session_is_known_by_its_dead_leader() -> None:
    with subprocess.Popen([sys.executable, "-c", SESSION], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout
        child = psutil.Process(int(process.stdout.readline()))
        leader = identity_of(process)
        both = {identity.pid for identity in session_members(leader)}
        process.kill()
        process.wait()

        left = [identity.pid for identity in session_members(leader)]
        of_another_boot = session_members(Identity(leader.pid, f"other/{leader.born.rpartition('/')[2]}"))
        of_a_later_leader = session_members(Identity(leader.pid, f"{leader.born}99"))
        child.kill()

    assert both == {process.pid, child.pid}
    assert left == [child.pid]
    assert of_another_boot == of_a_later_leader == []


@needs_setsid
def test_a_session_whose_number_another_process_leads_by_now_is_not_the_one_that_was_meant() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        leader = identity_of(process)

        members = session_members(Identity(leader.pid, "before"))
        process.kill()

    assert members == []


def test_the_main_process_is_signalled_first_and_the_others_when_it_is_gone(spawn: Spawn, tmp_path: Path) -> None:
    order = tmp_path / "order"
    worker = "trap 'echo worker >> \"$1\"; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    main = "trap 'sleep 0.3; echo main >> \"$1\"; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    processes = [spawn("sh", "-c", script, "echo", str(order)) for script in (worker, main)]
    identities = [identity_of(process) for process in processes]

    left = terminate(lambda: identities, main=identities[1], timeout=DEADLINE)

    assert left == []
    assert order.read_text().split() == ["main", "worker"]


def test_the_others_are_signalled_although_the_main_process_takes_its_time(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primitive, "MAIN_ALONE", 0.1)
    deaf, other = spawn("sh", "-c", DEAF), spawn("sleep", "600")
    identities = [identity_of(process) for process in (deaf, other)]

    left = terminate(lambda: identities, main=identities[0], timeout=0.5)

    assert left == []
    assert other.wait() == -signal.SIGTERM
    assert deaf.wait() == -signal.SIGKILL


SLOWLY = "trap 'echo signalled >> \"$1\"; sleep 0.5; exit 0' TERM; echo ready; while :; do sleep 0.01; done"


def test_a_main_process_that_takes_its_time_is_signalled_once_and_waited_for(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(primitive, "MAIN_ALONE", 0.1)
    main = spawn("sh", "-c", SLOWLY, "echo", str(tmp_path / "signals"))
    identity = identity_of(main)

    assert terminate(lambda: [identity], main=identity, timeout=DEADLINE) == []

    assert main.wait() == 0
    assert (tmp_path / "signals").read_text().split() == ["signalled"]


def test_a_main_process_has_no_more_time_than_all(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitive, "MAIN_ALONE", LONG)
    identity = identity_of(spawn("sh", "-c", DEAF))

    assert terminate(lambda: [identity], main=identity, timeout=0.1) == []


def test_what_a_main_process_starts_while_it_ends_is_asked_to_end_as_well(spawn: Spawn) -> None:
    main, late = spawn("sleep", "600"), spawn("sleep", "600")
    identities = [identity_of(process) for process in (main, late)]

    left = terminate(lambda: identities[: 1 + (main.poll() is not None)], main=identities[0], timeout=DEADLINE)

    assert left == []
    assert late.wait() == -signal.SIGTERM


def test_a_suspended_worker_does_not_keep_its_main_process_waiting(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primitive, "MAIN_ALONE", LONG)
    worker = spawn("sleep", "600")
    # Ends as soon as its worker runs again.
    script = f"trap 'while grep -q \"^State:.T\" /proc/{worker.pid}/status; do :; done; exit 0' TERM; echo ready; "
    main = spawn("sh", "-c", f"{script} while :; do sleep 0.01; done", "echo")
    worker.send_signal(signal.SIGSTOP)
    identities = [identity_of(process) for process in (main, worker)]
    wait_for(lambda: identities[1].life is Life.SUSPENDED)

    left = terminate(lambda: identities, main=identities[0], timeout=DEADLINE)

    assert left == []
    assert main.wait() == 0


def test_a_process_is_introduced_with_its_working_directory(spawn: Spawn) -> None:
    process = spawn("sleep", "600")

    assert introduce(process.pid) == f"sleep (PID {process.pid}, user {psutil.Process().username()}, cwd {Path.cwd()})"
    assert introduce(2**22 + 1) == f"PID {2**22 + 1}"


def in_a_fork(question: Callable[[], bool]) -> bool:
    """Return the answer to a question that a fork of this process gives."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os._exit(not question())
        os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


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


def test_a_zombie_is_of_no_family(spawn: Spawn) -> None:
    process = spawn("sh", "-c", "sleep 600 & echo ready; exec sleep 600")
    root = identity_of(process)
    # A shell might wait for its child.
    wait_for(lambda: psutil.Process(root.pid).name() == "sleep")
    [child] = psutil.Process(root.pid).children()

    child.kill()
    wait_for(lambda: child.status() == psutil.STATUS_ZOMBIE)

    assert descendants([root]) == [root]


def test_the_children_of_a_pid_that_is_another_s_by_now_are_not_of_the_family(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, root, foreign = spawn("sleep", "600"), spawn("sleep", "600"), spawn("sleep", "600")
    identities = [identity_of(process), identity_of(root)]

    def children(asked: psutil.Process, *, recursive: bool) -> list[psutil.Process]:
        if asked.pid != root.pid:
            return []
        # It ends, and its PID is given away, before its children are listed.
        assert recursive
        root.kill()
        root.wait()
        return [psutil.Process(foreign.pid)]

    monkeypatch.setattr(psutil.Process, "children", children)

    assert identity_of(foreign) not in descendants(identities)


def test_a_root_that_ends_while_its_children_are_listed_does_not_hide_another_family(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = spawn("sleep", "600"), identity_of(spawn("sleep", "600"))
    real = psutil.Process.children

    def children(asked: psutil.Process, *, recursive: bool) -> list[psutil.Process]:
        if asked.pid == root.pid:
            root.kill()
            root.wait()
            raise psutil.NoSuchProcess(root.pid)
        return real(asked, recursive=recursive)

    identities = [identity_of(root), other]
    monkeypatch.setattr(psutil.Process, "children", children)

    assert other in descendants(identities)


def test_a_child_whose_pid_is_another_s_by_now_is_not_of_the_family(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, foreign = identity_of(spawn("sleep", "600")), spawn("sleep", "600")
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [psutil.Process(foreign.pid)])
    monkeypatch.setattr(psutil.Process, "is_running", lambda _: False)

    assert descendants([root]) == [root]


@needs_open_environments
@pytest.mark.usefixtures("either_way")
def test_a_mark_finds_those_processes_that_have_one_of_those_asked_for(spawn: Spawn, tmp_path: Path) -> None:
    value = str(tmp_path)
    process = spawn("sh", "-c", "echo ready; read line", env={MARK: value})
    spawn("sh", "-c", "echo ready; read line", env={MARK: f"{value}/other"})

    assert marked(MARK, value) == [identity_of(process)]
    assert primitive.marked_by({MARK: value, f"{MARK}_1": "1"}) == [identity_of(process)]
    assert primitive.marked_by({f"{MARK}_1": "1"}) == primitive.marked_by({}) == []


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

    assert process.poll() == -signum
    assert sorted(Path("/dev/fd").iterdir()) == before


def test_processes_are_looked_for_until_all_have_ended_and_no_longer(spawn: Spawn) -> None:
    identity = identity_of(spawn("sleep", "600"))
    looks = []

    def find() -> list[Identity]:
        looks.append(identity.alive)
        return [identity]

    assert terminate(find, timeout=LONG) == []

    assert looks == [True, False]


@pytest.mark.usefixtures("either_way")
def test_a_suspended_process_acts_on_sigterm_at_once(spawn: Spawn) -> None:
    process = spawn("sleep", "600")
    identity = identity_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: identity.life is Life.SUSPENDED)

    assert terminate(lambda: [identity], timeout=10.0) == []

    assert process.poll() == -signal.SIGTERM


@pytest.mark.usefixtures("either_way")
def test_a_running_process_gets_no_signal_but_the_one_asked_for(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    # It outlives the first signal, so that it could get another.
    process = spawn("sh", "-c", DEAF)
    identity, sent = identity_of(process), []
    place: tuple[Any, str] = (signal, "pidfd_send_signal") if has_pidfd() else (os, "kill")
    real = getattr(*place)

    def signalled(target: int, signum: signal.Signals) -> None:
        sent.append(signum)
        real(target, signum)

    with monkeypatch.context() as watched:
        watched.setattr(*place, signalled)
        terminate(lambda: [identity], timeout=0.1)

    assert sent == [signal.SIGTERM, signal.SIGKILL]


@pytest.mark.usefixtures("either_way")
def test_deaf_processes_are_waited_for_together_and_then_killed(spawn: Spawn) -> None:
    processes = [spawn("sh", "-c", DEAF) for _ in range(12)]
    identities = [identity_of(process) for process in processes]
    start = time.monotonic()

    assert terminate(lambda: identities, timeout=1.0) == []

    assert 1.0 <= time.monotonic() - start < 12.0
    assert {process.poll() for process in processes} == {-signal.SIGKILL}


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


def test_a_fork_bomb_is_given_up_after_three_kills_and_its_survivors_are_returned(spawn: Spawn) -> None:
    born: list[subprocess.Popen[bytes]] = []

    def find() -> list[Identity]:
        born.append(spawn("sleep", "600"))
        return [identity_of(born[-1])]

    assert terminate(find, timeout=LONG) == [identity_of(born[-1])]

    ends = [signal.SIGTERM] + [signal.SIGKILL] * 3
    assert [process.poll() for process in born[:-1]] == [-signum for signum in ends]
    assert born[-1].poll() is None


@pytest.mark.usefixtures("either_way")
def test_one_that_not_even_sigkill_ends_is_returned_although_it_is_not_found_again(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = identity_of(spawn("sleep", "600"))
    found = [[identity]]
    # As one that hangs in the kernel.
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None, raising=False)
    with monkeypatch.context() as hanging:
        hanging.setattr(os, "kill", lambda *_: None)
        hanging.setattr(primitive, "KILL_TIMEOUT", 0.0)

        assert terminate(lambda: found.pop() if found else [], timeout=0.0) == [identity]


@pytest.mark.usefixtures("either_way")
def test_a_signal_is_sent_to_a_process_and_to_no_other_that_got_its_pid(spawn: Spawn) -> None:
    process, other = spawn("sleep", "600"), spawn("sleep", "600")
    assert protected(process.pid) is None

    primitive.send([Identity(other.pid, "another birth"), identity_of(process)], signal.SIGTERM)

    assert process.wait(10) == -signal.SIGTERM
    assert other.poll() is None


@pytest.mark.skipif(not has_pidfd(), reason="this kernel has no pidfd")
def test_a_pinned_process_is_not_signalled_by_its_pid(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    process = spawn("sleep", "600")
    with monkeypatch.context() as pinned:
        pinned.setattr(os, "kill", lambda *_: pytest.fail("has been signalled"))
        primitive.send([identity_of(process)], signal.SIGTERM)

    assert process.wait(10) == -signal.SIGTERM


@needs_proc
@pytest.mark.skipif(not has_pidfd(), reason="this kernel has no pidfd")
def test_no_signal_is_sent_to_one_that_gets_the_pid_before_it_is_pinned(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, real = identity_of(spawn("sleep", "600")), primitive.pidfd

    def pidfd(pid: int) -> int | None:
        # From now on, the birth of the process is another.
        monkeypatch.setattr(primitive, "boot_id", lambda: "another boot")
        return real(pid)

    monkeypatch.setattr(primitive, "pidfd", pidfd)
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: pytest.fail("has been signalled"))

    primitive.send([identity], signal.SIGTERM)

    assert not identity.alive


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_it_is_no_error_if_a_process_ends_before_its_signal(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    identity = identity_of(spawn("sleep", "600"))
    sent = []

    def signalled(_: int, signum: signal.Signals) -> None:
        sent.append(signum)
        raise error

    monkeypatch.setattr(signal, "pidfd_send_signal", signalled, raising=False)
    with monkeypatch.context() as ended:
        ended.setattr(os, "kill", signalled)
        primitive.send([identity], signal.SIGTERM)

    assert sent == [signal.SIGTERM]


def test_a_signal_has_a_name_or_else_its_number() -> None:
    assert primitive.signal_name(signal.SIGTERM) == "SIGTERM"
    assert primitive.signal_name(1000) == "signal 1000"


@pytest.mark.usefixtures("either_way")
def test_a_variable_is_read_from_the_environment_of_a_process(spawn: Spawn) -> None:
    process = spawn("sleep", "600", env={f"{MARK}_1": "1", MARK: "a=b", f"{MARK}_2": "2"})

    # While it executes a program, it has no environment.
    wait_for(lambda: primitive.value_of(f"{MARK}_2", process.pid) == "2")
    assert primitive.value_of(MARK, process.pid) == "a=b"
    assert primitive.value_of(MARK[:-1], process.pid) is None
    assert primitive.value_of(MARK, 2**22 + 1) is None


@needs_proc
@pytest.mark.parametrize("error", [FileNotFoundError, ProcessLookupError, PermissionError])
def test_a_process_that_the_kernel_hides_from_us_is_none_and_has_no_environment(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    process = spawn("sleep", "600")
    wait_for(lambda: primitive.value_of("PATH", process.pid))

    def hide(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as hidden:
        hidden.setattr("builtins.open", hide)
        hidden.setattr(Path, "read_bytes", hide)
        found = primitive.value_of("PATH", process.pid), Identity.of(process.pid)

    assert found == (None, None)


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
@pytest.mark.parametrize("last", [1, 2])
def test_a_marked_process_that_ends_while_it_is_looked_at_is_not_found(
    spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    process, mark = spawn("sleep", "600"), f"{MARK}={tmp_path}".encode()
    place, real, looks = f"/proc/{process.pid}/environ", open, []

    def looked_at(path: str, *args: Any, **options: Any) -> Any:
        if path != place:
            return real(path, *args, **options)
        looks.append(mark)
        if len(looks) == last:
            process.kill()
            process.wait()
        # After the end, it is another marked process with this PID.
        return io.BytesIO(mark)

    monkeypatch.setattr("builtins.open", looked_at)

    assert marked(MARK, str(tmp_path)) == []
    assert len(looks) >= last


@needs_proc
def test_a_process_that_got_the_pid_of_a_marked_one_is_not_found(
    spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = spawn("sh", "-c", "echo ready; read line")
    place, real, former = f"/proc/{process.pid}/environ", open, [f"{MARK}={tmp_path}".encode()]

    def looked_at(path: str, *args: Any, **options: Any) -> Any:
        return io.BytesIO(former.pop()) if path == place and former else real(path, *args, **options)

    monkeypatch.setattr("builtins.open", looked_at)

    assert marked(MARK, str(tmp_path)) == []
    assert not former


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


@pytest.mark.skipif(not has_pidfd(), reason="this kernel has no pidfd")
def test_a_descriptor_of_a_process_is_readable_once_it_has_ended(spawn: Spawn) -> None:
    process = spawn("sleep", "600")
    fd = primitive.pidfd(process.pid)
    assert fd is not None
    try:
        assert select.select([fd], [], [], 0)[0] == []
        process.kill()
        assert select.select([fd], [], [], LONG)[0] == [fd]
    finally:
        os.close(fd)
    process.wait()
    assert primitive.pidfd(process.pid) is None


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


@pytest.mark.usefixtures("either_way")
def test_a_process_that_got_the_pid_of_another_is_not_waited_for(spawn: Spawn) -> None:
    former = Identity(spawn("sleep", "600").pid, "another birth")
    start = time.monotonic()

    await_death(former, 10.0)

    assert time.monotonic() - start < 10.0


@pytest.mark.usefixtures("only_posix")
def test_without_a_descriptor_a_process_is_looked_at_again_after_a_pause(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, looks, real = identity_of(spawn("sleep", "600")), [], psutil.Process.status

    def status(asked: psutil.Process) -> str:
        looks.append(asked)
        return real(asked)

    monkeypatch.setattr(psutil.Process, "status", status)

    await_death(identity, 0.05)

    assert len(looks) <= 6
