"""Whatever a check does to its own process, the monitor goes on, and the next cycle begins clean."""

from __future__ import annotations

import json
import shutil

import psutil
import pytest
from sandbox import Sandbox, wait_for
from watching import Statistics, Watching, rows, watching

from remediation.system.process import Identity

# Writes down in what state it found its process; then, in the first cycle alone, does what it should not.
CHECK = """
import ctypes, json, logging, os, pathlib, random, signal, subprocess, sys, threading, time

import pytest

STATES = pathlib.Path("states").absolute()
HOARD = []


def state():
    return {{
        "environ": sorted(os.environ), "cwd": os.getcwd(), "hoard": len(HOARD), "path": sys.path,
        "descriptors": len(os.listdir("/proc/self/fd")), "threads": threading.active_count(),
        "handler": str(signal.getsignal(signal.SIGTERM)), "blocked": str(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "level": logging.root.level, "umask": os.umask(os.umask(0)),
    }}


def test_it():
    \"\"\"it\"\"\"
    first = not STATES.exists()
    with STATES.open("a") as states:
        states.write(json.dumps(state()) + chr(10))
    if first:
        {deed}
"""


@pytest.fixture
def alone(project: Sandbox) -> Sandbox:
    """A project whose only check heals nothing, so that no service is ever started."""
    project.configure(top="interval = 0.1\nretries = 1\ntimeout = 0.3")
    shutil.rmtree(project.root / "healthtests")
    return project


def states(project: Sandbox) -> list[dict[str, object]]:
    """Return the state in which each cycle found its process."""
    return [json.loads(line) for line in (project.root / "states").read_text().splitlines()]


def without_a_verdict(monitor: Watching) -> int:
    """Count the checks that the monitor reports as being without a verdict."""
    return monitor.count("❌ The check came to no verdict")


@pytest.mark.parametrize(
    "deed", ["raise KeyboardInterrupt", "pytest.exit('enough', returncode=0)", "os.closerange(3, 1000)"]
)
def test_a_check_that_breaks_off_its_session_is_a_cycle_without_a_verdict_and_the_next_one_is_clean(
    alone: Sandbox, deed: str
) -> None:
    alone.write("healthtests/test_it.py", CHECK.format(deed=deed))

    with watching(alone) as monitor:
        statistics = monitor.ends_check(2)
        code = monitor.stop()

    assert statistics == Statistics(checks=2, errors=1, heals=0), monitor
    assert monitor.count("❌ The check came to no verdict: ") == 1, monitor
    assert monitor.count("Status: sick ❌") == 1, monitor
    first, second = states(alone)[:2]
    assert first == second
    assert code == 0


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os._exit(0)", "ended its process with exit code 0"),
        ("ctypes.string_at(0)", "crashed: its process was killed by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "crashed: its process was killed by SIGKILL"),
        ("os.abort()", "crashed: its process was killed by SIGABRT"),
    ],
)
def test_a_check_that_crashes_its_process_has_failed_and_the_next_cycle_is_clean(
    alone: Sandbox, deed: str, reason: str
) -> None:
    alone.write("healthtests/test_it.py", CHECK.format(deed=deed))

    with watching(alone) as monitor:
        statistics = monitor.ends_check(2)
        code = monitor.stop()

    assert statistics == Statistics(checks=2, errors=1, heals=0), monitor
    assert without_a_verdict(monitor) == 0, monitor
    assert monitor.count(f"it: {reason}") == 1, monitor
    first, second = states(alone)[:2]
    assert first == second
    assert code == 0


@pytest.mark.parametrize("deed", ["sys.exit(0)", "raise RecursionError"])
def test_what_a_check_raises_is_its_failure_and_the_next_cycle_is_clean(alone: Sandbox, deed: str) -> None:
    alone.write("healthtests/test_it.py", CHECK.format(deed=deed))

    with watching(alone) as monitor:
        statistics = monitor.ends_check(2)

    assert statistics == Statistics(checks=2, errors=1, heals=0), monitor
    assert without_a_verdict(monitor) == 0, monitor
    first, second = states(alone)[:2]
    assert first == second


@pytest.mark.parametrize(
    "deed",
    [
        "HOARD.append(bytearray(50_000_000)); HOARD.extend(os.open('/dev/null', os.O_RDONLY) for _ in range(200))",
        "os.environ['LEFT'] = 'behind'; os.environ.pop('PATH'); os.chdir('/'); sys.path.clear(); os.umask(0o077)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
        "logging.root.setLevel(1); json.dumps = None; globals().clear()",
        "HOARD.append(subprocess.Popen(['sleep', '600'])); threading.Thread(target=time.sleep, args=(600,)).start()",
        "os.fork() or time.sleep(600)",
    ],
)
def test_what_a_check_leaves_behind_is_not_there_in_the_next_cycle(alone: Sandbox, deed: str) -> None:
    alone.write("healthtests/test_it.py", CHECK.format(deed=deed))

    with watching(alone) as monitor:
        statistics = monitor.ends_check(2)

    assert statistics == Statistics(checks=2, errors=0, heals=0), monitor
    first, second = states(alone)[:2]
    assert first == second


def test_a_heal_counts_although_its_cycle_came_to_no_verdict(project: Sandbox) -> None:
    project.configure(top="interval = 0.1\nretries = 1")
    # In the round after the heal.
    check = "if pathlib.Path('ran').exists():\n        raise KeyboardInterrupt\n    pathlib.Path('ran').touch()"
    project.write("healthtests/test_after.py", f"import os, pathlib\n\n\ndef test_after():\n    {check}\n")

    with watching(project) as monitor:
        statistics = monitor.ends_check(1)

    assert statistics == Statistics(checks=1, errors=1, heals=1), monitor
    assert rows(project, "SELECT ok FROM heals") == [(1,)]
    assert rows(project, "SELECT verdict FROM runs ORDER BY id LIMIT 1") == [("incomplete",)]


def test_memory_and_descriptors_that_checks_leak_do_not_add_up(alone: Sandbox) -> None:
    deed = "pass\n    HOARD.append(bytearray(20_000_000))\n    HOARD.extend(os.pipe() for _ in range(50))"
    alone.configure(top="interval = 0.01\nretries = 1")
    alone.write("healthtests/test_it.py", CHECK.format(deed=deed))

    with watching(alone) as monitor:
        monitor.ends_check(5)
        crew = [psutil.Process(monitor.process.pid), monitor.forkserver()]
        early = [(process.memory_info().rss, process.num_fds()) for process in crew]
        statistics = monitor.ends_check(40)
        late = [(process.memory_info().rss, process.num_fds()) for process in crew]

    assert statistics.errors == 0, monitor
    for (state, descriptors), (later_memory, later_descriptors) in zip(early, late, strict=True):
        assert later_memory < state + 10_000_000
        # A look may come while a cycle is under way.
        assert later_descriptors < descriptors + 20


def test_random_numbers_differ_from_cycle_to_cycle(alone: Sandbox) -> None:
    alone.write(
        "healthtests/test_it.py",
        "import random\n\ndef test_it():\n    open('drawn', 'a').write(f'{random.random()}\\n')\n",
    )

    with watching(alone) as monitor:
        monitor.ends_check(4)

    drawn = (alone.root / "drawn").read_text().split()
    assert len(set(drawn)) == len(drawn) >= 4


# Neither pytest-timeout's alarm nor Ctrl+C reaches it.
HANGS = """
import pathlib, signal, subprocess, sys, time


def test_hang():
    if not pathlib.Path("hung").exists():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        pathlib.Path("hung").write_text(str(child.pid))
        time.sleep(600)
"""
# In the fork server, whose own module is called __main__: there is no need to wait long for what surely hangs.
IMPATIENT = """

from remediation.checks import heartbeat_plugin

heartbeat_plugin._LONGEST_GRACE = 0.3
"""


def test_a_check_that_hangs_for_good_is_ended_with_its_children_and_has_failed(alone: Sandbox) -> None:
    alone.write("healthtests/conftest.py", IMPATIENT)
    alone.write("healthtests/test_hang.py", HANGS)

    with watching(alone) as monitor:
        statistics = monitor.ends_check(2)
        child = int((alone.root / "hung").read_text())

        wait_for(lambda: Identity.of(child) is None)

    assert statistics == Statistics(checks=2, errors=1, heals=0), monitor
    assert monitor.count("test_hang: hung: no end within 0.3s, and no signal interrupts it") == 1, monitor
    assert without_a_verdict(monitor) == 0, monitor


def test_ctrl_c_ends_a_cycle_that_hangs_for_good(alone: Sandbox) -> None:
    alone.write("healthtests/test_hang.py", HANGS)

    with watching(alone) as monitor:
        wait_for((alone.root / "hung").exists)
        code = monitor.stop()

        wait_for(lambda: not monitor.crew)

    assert code == 0, monitor
