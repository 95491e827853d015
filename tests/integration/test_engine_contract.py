"""The contract of every engine; a new engine needs only one more entry in ENGINES."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import service_manager
from sandbox import DEADLINE, IMPATIENT, PATIENT, REPOSITORY, Sandbox, wait_for

from remediation.config.load import load_project
from remediation.engines import engine_of
from remediation.engines.command import CommandEngine
from remediation.engines.engine import Condition, Engine, Operation
from remediation.engines.errors import HealError, StillServedError
from remediation.engines.local import LocalEngine
from remediation.healing.actions import Actions
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.service_state import ServiceState, Store
from remediation.system import ports
from remediation.system.process import Identity

MANAGER = REPOSITORY / "tests" / "support" / "service_manager.py"

# How the patient is configured for each engine, with the program that runs it.
ENGINES = {
    "local": "command = [{program}, {patient}]",
    "command": "\n".join(f"{key} = [{{program}}, {{manager}}, '{key}']" for key in ("restart", "start", "stop")),
}
# A start that is known to fail need not be waited for.
SOON = "start_timeout = 1"


class Bench:
    """A service, its engine, and what can be seen of it from outside."""

    def __init__(self, project: Sandbox) -> None:
        """Load the current configuration."""
        loaded = load_project(project.root, {})
        self.project = project
        self.service = loaded.services["api"]
        self.store = Store(loaded)
        self.event_log = EventLog.of(loaded)
        self.steps = Actions(self.store, self.event_log)
        self.engine: Engine = engine_of(self.service)

    @property
    def service_state(self) -> ServiceState:
        """The stored state of the service."""
        return self.store.recall(self.service)

    def do(self, action: str) -> Operation:
        """Have the engine start, stop or restart the service, as the remediator does."""
        with self.store.lock(self.service, timeout=DEADLINE):
            operation = self.steps.operation(self.service, self.steps.recall(self.service))
            getattr(self.engine, action)(operation)
        return operation

    @property
    def listeners(self) -> list[int]:
        """The PIDs of all processes that listen on the service's port."""
        return sorted({one.pid for one in ports.listeners(self.project.port, "127.0.0.1") if one.pid})

    @property
    def pid(self) -> int:
        """The PID of the one server that listens."""
        (pid,) = self.listeners
        return pid

    @property
    def servers(self) -> list[int]:
        """The PIDs of all servers of the project, whether they listen or not."""
        managed = service_manager.running() if service_manager.PID_FILE.exists() else None
        return sorted({*self.project.servers(), *([managed.pid] if managed else [])})

    def remediator(self) -> Remediator:
        """Return a new remediator, as each process has its own."""
        return Remediator(Store(self.store.project), self.event_log, record=lambda _: None, origin="hand")


class Configure:
    """Configures the service for one engine."""

    def __init__(self, project: Sandbox, commands: str) -> None:
        """Have it configured by these `commands`."""
        self._project = project
        self._commands = commands

    def __call__(self, service: str = "", *, top: str = "", program: str = sys.executable) -> Bench:
        """Configure the service with these further keys, and with the program that every command of it calls."""
        words = {"program": program, "patient": str(PATIENT), "manager": str(MANAGER)}
        command = self._commands.format_map({key: json.dumps(word) for key, word in words.items()})
        self._project.configure(service, top=top, command=command)
        return Bench(self._project)


@pytest.fixture(params=ENGINES)
def configure(project: Sandbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Return a function that configures the service, for each engine in turn."""
    monkeypatch.chdir(project.root)
    try:
        yield Configure(project, ENGINES[request.param])
    finally:
        service_manager.stop()


@pytest.fixture
def bench(configure: Configure) -> Bench:
    """Return a service that is not started yet."""
    return configure()


@pytest.fixture
def running(bench: Bench) -> Bench:
    """Return a service that runs."""
    bench.do("start")
    return bench


def state(project: Sandbox) -> dict[Path, bytes]:
    """Return all files of a project."""
    return {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}


# Start.


def test_a_start_makes_it_run_and_returns_when_it_is_ready(bench: Bench) -> None:
    bench.do("start")

    assert bench.project.answers()
    assert bench.servers == [bench.pid]


def test_a_start_of_what_runs_does_nothing(running: Bench) -> None:
    pid = running.pid

    running.do("start")

    assert running.servers == [pid]
    assert running.project.answers()


def test_a_start_brings_back_what_died(running: Bench) -> None:
    pid = running.pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: Identity.of(pid) is None)

    running.do("start")

    assert running.servers == [running.pid]
    assert running.pid != pid


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_start_that_dies_says_so_and_leaves_nothing(configure: Configure, action: str) -> None:
    bench = configure(f'env = {{ CRASH = "3" }}\n{SOON}')

    with pytest.raises(HealError, match=r"^api: "):
        bench.do(action)

    assert bench.servers == []
    assert bench.listeners == []


def test_what_is_left_of_a_start_that_died_is_ended_if_its_processes_are_ours(configure: Configure) -> None:
    # It has its children first, and then dies of an address that is not this machine's.
    bench = configure(f'env = {{ CHILDREN = "2", CHILD_FILE = "children", HOST = "192.0.2.1" }}\n{SOON}')

    with pytest.raises(HealError, match=r"^api: "):
        bench.do("start")

    children = [int(line) for line in (bench.project.root / "children").read_text().split()]
    living = [pid for pid in children if Identity.of(pid)]
    for pid in living:
        os.kill(pid, signal.SIGKILL)
    assert len(children) == 2
    assert not (living and bench.engine.owns_processes)


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_program_that_is_missing_is_named_and_nothing_counts_as_done(configure: Configure, action: str) -> None:
    bench = configure(program="./none")
    with bench.store.lock(bench.service, timeout=DEADLINE):
        operation = bench.steps.operation(bench.service, bench.steps.recall(bench.service))

        with pytest.raises(HealError, match=r"^api: '\./none' was not found"):
            getattr(bench.engine, action)(operation)

    assert not operation.has_acted
    assert bench.servers == []


def test_a_start_that_is_not_ready_in_time_says_so_and_can_be_stopped(configure: Configure) -> None:
    bench = configure(f'env = {{ SLOW = "600" }}\n{SOON}')

    with pytest.raises(HealError, match=r"no answer"):
        bench.do("start")
    bench.do("stop")

    assert bench.servers == []


# Stop.


def test_a_stop_makes_it_not_run(running: Bench) -> None:
    pid = running.pid

    running.do("stop")

    assert Identity.of(pid) is None
    assert running.servers == running.listeners == []


@pytest.mark.parametrize("before", ["never started", "stopped before"])
def test_a_stop_of_what_does_not_run_does_nothing(bench: Bench, before: str) -> None:
    if before == "stopped before":
        bench.do("start")
        bench.do("stop")

    bench.do("stop")

    assert bench.servers == []


# Restart.


def test_a_restart_gives_another_process(running: Bench) -> None:
    pid = running.pid

    running.do("restart")

    assert running.project.answers()
    assert running.servers == [running.pid]
    assert running.pid != pid


def test_a_restart_of_what_does_not_run_starts_it(bench: Bench) -> None:
    bench.do("restart")

    assert bench.project.answers()
    assert bench.servers == [bench.pid]


def test_a_restart_replaces_what_does_not_answer(running: Bench) -> None:
    pid = running.pid
    os.kill(pid, signal.SIGSTOP)

    running.do("restart")

    assert running.project.answers()
    assert running.pid != pid


# Whom it never touches.


@pytest.mark.parametrize("actions", [("start",), ("restart",), ("stop",)])
def test_a_process_that_has_got_the_pid_of_one_of_ours_is_not_signalled(bench: Bench, actions: tuple[str, ...]) -> None:
    stranger = bench.project.stranger("sleep", "600")
    bench.do("start")
    bench.do("stop")
    with bench.store.lock(bench.service, timeout=DEADLINE):
        service_state = bench.service_state
        service_state.pid, service_state.born = stranger.pid, "another moment"
        bench.store.keep(bench.service, service_state)
    bench.project.write(".api-server.pid", f"{stranger.pid}\n")

    assert bench.engine.main_process(service_state) is None
    assert bench.engine.processes(service_state) == []
    for action in actions:
        bench.do(action)

    assert stranger.poll() is None
    assert len(bench.servers) == (actions[-1] != "stop")


def test_a_process_of_the_same_command_line_is_not_signalled(running: Bench, tmp_path: Path) -> None:
    words = running.engine.service.command or (sys.executable, str(PATIENT))
    stranger = subprocess.Popen(
        words, cwd=tmp_path, env=running.project.environment(SLOW="600", HOST="127.0.0.1", PORT="1")
    )
    try:
        running.do("restart")
        running.do("stop")

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_stranger_on_the_port_is_not_signalled_and_the_start_fails(configure: Configure, action: str) -> None:
    bench = configure(f'free_port = "own"\n{SOON}', top=IMPATIENT)
    stranger = bench.project.stranger_on_port()

    with pytest.raises(HealError, match=r"^api: "):
        bench.do(action)
    # A command that stops the service has done so; whose listener answers, it cannot know.
    told = pytest.raises(StillServedError, match=rf"still served by .* \(PID {stranger.pid}, ")
    with told if bench.engine.owns_processes else nullcontext():
        bench.do("stop")

    assert stranger.poll() is None
    assert bench.servers == []


# Two at once.


@pytest.mark.parametrize("action", ["start", "restart"])
def test_two_at_once_leave_one(bench: Bench, action: str) -> None:
    healers = [bench.remediator() for _ in range(2)]
    failed: list[BaseException] = []

    def act(remediator: Remediator) -> None:
        try:
            getattr(remediator, action)(bench.service)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=act, args=(remediator,)) for remediator in healers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert bench.project.answers()
    assert bench.servers == [bench.pid]


# What it knows.


def test_of_what_runs_it_knows_all_or_admits_that_it_does_not(running: Bench) -> None:
    engine, service_state = running.engine, running.service_state

    process = engine.main_process(service_state)

    if engine.knows_process:
        assert process is not None
        assert process.pid == running.pid
        assert process in engine.processes(service_state)
        assert engine.is_running(service_state) is True
        assert engine.condition(service_state) is Condition.RUNNING
    else:
        assert process is None
        assert engine.is_running(service_state) is None
        assert engine.condition(service_state) is Condition.UNKNOWN
    assert engine.owns_address(service_state)
    assert engine.lost_process(service_state, running.store) is None


def test_of_what_was_stopped_it_knows_no_process(running: Bench) -> None:
    running.do("stop")
    engine, service_state = running.engine, running.service_state

    assert engine.main_process(service_state) is None
    assert engine.processes(service_state) == []
    assert engine.is_running(service_state) is (False if engine.knows_process else None)
    assert engine.condition(service_state) is (Condition.DEAD if engine.knows_process else Condition.UNKNOWN)


def test_a_death_is_seen_where_the_process_is_known(running: Bench) -> None:
    engine, service_state = running.engine, running.service_state
    pid = running.pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: Identity.of(pid) is None)

    assert engine.main_process(service_state) is None
    assert (engine.condition(service_state) is Condition.DEAD) is engine.knows_process


def test_what_was_stopped_by_hand_is_that_whatever_runs(running: Bench) -> None:
    service_state = running.service_state
    service_state.stopped_by_hand = True

    assert running.engine.condition(service_state) is Condition.BY_HAND


def test_an_engine_that_owns_processes_knows_them_and_can_end_them(bench: Bench) -> None:
    engine = bench.engine

    assert engine.can_start
    assert engine.can_stop
    assert engine.out_of_reach() is None
    assert engine.knows_process or not engine.owns_processes


# What it would do.


@pytest.mark.parametrize("before", ["start", "stop"])
def test_to_look_and_to_plan_touches_nothing(bench: Bench, before: str) -> None:
    bench.do(before)
    engine, service_state, servers, files = bench.engine, bench.service_state, bench.servers, state(bench.project)

    engine.condition(service_state)
    engine.main_process(service_state)
    engine.processes(service_state)
    engine.is_running(service_state)
    engine.owns_address(service_state)
    engine.lost_process(service_state, bench.store)
    obstacle, planned = engine.obstacle(service_state), list(engine.plan(service_state))

    assert obstacle is None
    assert planned
    assert all(message.render(language, named=True) for message in planned for language in ("en", "ru"))
    assert bench.servers == servers
    assert state(bench.project) == files


def test_why_a_restart_would_come_to_nothing_is_known_before_anything_is_ended(configure: Configure) -> None:
    configure().do("start")
    bench = configure(program="./none")

    obstacle = bench.engine.obstacle(bench.service_state)

    assert "'./none' was not found" in str(obstacle)
    assert bench.project.answers()


# Which engine it is.


@pytest.mark.parametrize(
    ("command", "kind", "can_start", "can_stop"),
    [
        ('command = ["server"]', LocalEngine, True, True),
        ('restart = ["true"]', CommandEngine, True, False),
        ('restart = ["true"]\nstop = ["true"]', CommandEngine, True, True),
        ("", CommandEngine, False, False),
    ],
)
def test_the_configuration_says_which_engine_it_is_and_what_it_can_do(
    project: Sandbox, command: str, kind: type[Engine], can_start: bool, can_stop: bool
) -> None:
    project.configure(command=command)

    engine = Bench(project).engine

    assert type(engine) is kind
    assert (engine.can_start, engine.can_stop) == (can_start, can_stop)
    assert (engine.out_of_reach() is None) is can_start
