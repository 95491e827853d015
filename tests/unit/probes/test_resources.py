"""What processes use is measured as the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sandbox import wait_for

from remediation.probes import resources
from remediation.probes.resources import UnreadableError
from remediation.system.process import Identity

MIB = 1 << 20
Run = Callable[[str], Identity]


@pytest.fixture
def run() -> Iterator[Run]:
    """Run programs until the end of the test; each is known once it has printed a line."""
    children: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> Identity:
        text = f"import os, time\n{program}\nprint(flush=True)\ntime.sleep(600)\n"
        child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        identity = Identity.of(child.pid)
        assert identity is not None
        return identity

    yield start
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def soon() -> float:
    """Return a deadline far enough."""
    return time.monotonic() + 10


def gone() -> Identity:
    """Return a process that is no more."""
    child = subprocess.Popen(["sleep", "600"])
    identity = Identity.of(child.pid)
    child.kill()
    child.wait()
    assert identity is not None
    return identity


@pytest.mark.usefixtures("either_way")
def test_the_memory_of_all_processes_is_added_up(run: Run) -> None:
    small, big = run(""), run("held = b'x' * (100 << 20)")

    both = resources.memory([small, big, gone()], deadline=soon())
    one = resources.memory([small], deadline=soon())

    assert 100 * MIB < both.size < 200 * MIB
    assert 0 < one.size < 50 * MIB


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this kernel does not tell the PSS")
def test_memory_that_processes_share_is_counted_once(run: Run) -> None:
    parent = run("held = b'x' * (100 << 20)\nif not os.fork(): time.sleep(600)")
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    child = Identity.of(int(wait_for(children.read_text)))
    assert child is not None
    try:
        found = resources.memory([parent, child], deadline=soon())
    finally:
        os.kill(child.pid, 9)

    assert found.is_proportional
    assert found.size < 150 * MIB


@pytest.mark.usefixtures("either_way")
def test_cpu_time_is_in_percent_of_one_core(run: Run) -> None:
    idle = run("")
    busy = run("import threading\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()")

    calm = resources.cpu(lambda: [idle], deadline=soon())
    hot = resources.cpu(lambda: [idle, busy], deadline=soon())

    assert calm < 15
    assert 20 < hot < 150


BRIEF_CHILDREN = """
import subprocess, threading
def loop():
    while True:
        subprocess.run(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
threading.Thread(target=loop, daemon=True).start()
"""


def test_the_time_of_children_that_have_ended_counts(run: Run) -> None:
    # Each child lives for a moment, so that no look finds the same one twice.
    parent = run(BRIEF_CHILDREN)

    assert resources.cpu(lambda: [parent], deadline=soon()) > 15


def test_a_process_that_begins_meanwhile_counts_and_one_that_ends_takes_nothing_away(run: Run) -> None:
    first = run("")
    looks = iter([[first, gone()], [first]])

    assert 0 <= resources.cpu(lambda: next(looks), deadline=soon()) < 15


FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({}, 4096))
held = [open(os.devnull) for _ in range({})]
"""


def test_the_process_that_is_nearest_to_its_own_limit_is_told(run: Run) -> None:
    many, near = run(FILES.format(2048, 300)), run(FILES.format(64, 50))

    found = resources.open_files([many, near, gone()], deadline=soon())

    assert (found.pid, found.limit) == (near.pid, 64)
    assert 50 <= found.opened <= 60
    assert found.share == 100 * found.opened / 64


@pytest.mark.usefixtures("only_posix")
def test_open_files_are_counted_without_proc_too(run: Run) -> None:
    assert resources.open_files([run(FILES.format(64, 50))], deadline=soon()).opened >= 50


@pytest.mark.parametrize(
    "measure",
    [
        lambda found: resources.memory(found, deadline=soon()),
        lambda found: resources.cpu(lambda: found, deadline=soon()),
        lambda found: resources.open_files(found, deadline=soon()),
    ],
    ids=["memory", "cpu", "open files"],
)
def test_processes_that_are_gone_are_no_measurement_of_zero(measure: Callable[[list[Identity]], object]) -> None:
    with pytest.raises(UnreadableError) as caught:
        measure([gone()])

    assert not caught.value.is_denied


def test_memory_that_may_not_be_read_is_counted_for_each_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(resources, "_proportional", refuse)

    found = resources.memory([run("")], deadline=soon())

    assert found.size > 0
    assert not found.is_proportional


def test_what_nobody_but_the_owner_may_know_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: psutil.Process) -> int:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "num_fds", refuse)

    with pytest.raises(UnreadableError) as caught:
        resources.open_files([run("")], deadline=soon())

    assert caught.value.is_denied


def test_reading_that_hangs_in_the_kernel_is_abandoned(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    process, began = run(""), time.monotonic()
    monkeypatch.setattr(resources, "_proportional", lambda _: time.sleep(3))
    monkeypatch.setattr(resources, "_open_files", lambda _: time.sleep(3))

    for measure in (resources.memory, resources.open_files):
        with pytest.raises(TimeoutError):
            measure([process], deadline=time.monotonic() + 0.2)

    assert time.monotonic() - began < 1.5
