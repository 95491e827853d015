"""Real servers, as root and not: adopted, healed of every fault, stopped, and nobody near them harmed."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sandbox import DEADLINE, Sandbox, free_port, sandbox, wait_for
from servers import FAULTS, SERVERS, Fault, Server, alive, configure, main_crashes, start_by_hand, worker_crashes
from witnesses import Witnesses, await_server, is_free, witnesses

# A server without workers has no worker that could crash.
PAIRS = [(server, fault) for server in SERVERS for fault in FAULTS if server.has_workers or fault is not worker_crashes]


FAILING = "import pytest\n\n\n@pytest.mark.heals('api')\ndef test_more():\n    assert False\n"


@pytest.fixture
def project() -> Iterator[Sandbox]:
    """A project in a folder that the workers of a server may enter, whatever user they run as."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield from sandbox(Path(folder))


@pytest.fixture
def near(project: Sandbox) -> Iterator[Witnesses]:
    """Bystanders of the project, who are all well at the end."""
    with witnesses(project) as known:
        assert known.count >= 4
        yield known
        assert known.harmed == []


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
@pytest.mark.usefixtures("near")
def test_a_server_that_was_started_by_hand_is_adopted_and_stopped_with_all_its_processes(
    project: Sandbox, server: Server
) -> None:
    command = configure(project, server)
    with start_by_hand(project, server, command) as by_hand:
        try:
            await_server(project.port)
            wait_for(lambda: project.auto_heal("status").output.count("foreign"))
            before = [psutil.Process(by_hand.pid), *psutil.Process(by_hand.pid).children(recursive=True)]

            checked = project.auto_heal("check")
            kept = alive(before)
            told = json.loads(project.auto_heal("status", "--json").output)
            stopped = project.auto_heal("stop")

            assert checked.code == 0, checked
            assert "adopted" in checked.output
            assert project.property("verdict") == "healthy"
            # Some processes of a server only prepare its start.
            assert before[0] in kept
            assert told[0]["pid"] == before[0].pid
            assert stopped.code == 0, stopped
            wait_for(lambda: not alive(before))
            assert is_free(project.port)
        finally:
            if by_hand.poll() is None:
                os.killpg(by_hand.pid, signal.SIGKILL)


@pytest.mark.parametrize(("server", "fault"), PAIRS, ids=lambda each: getattr(each, "name", None) or each.__name__)
@pytest.mark.usefixtures("near")
def test_a_server_is_healed_of_a_fault_and_stopped_with_all_its_processes(
    project: Sandbox, server: Server, fault: Fault
) -> None:
    configure(project, server)
    started = project.auto_heal("start")
    assert started.code == 0, started
    main = psutil.Process(project.pid)
    if server.has_workers:
        wait_for(main.children)
    fault(main)

    result = project.auto_heal("check")

    assert result.code == 0, result
    status = project.auto_heal("status")
    assert status.code == 0, status
    new = psutil.Process(project.pid)
    family = [new, *new.children(recursive=True)]
    again = project.auto_heal("check", "--no-heal")
    assert again.code == 0, again
    stopped = project.auto_heal("stop")
    assert stopped.code == 0, stopped
    assert alive(family) == []
    assert is_free(project.port)
    assert not psutil.pid_exists(main.pid) or main.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def neighbour() -> Iterator[Sandbox]:
    """Another project, in a folder that the workers of a server may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield from sandbox(Path(folder))


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_the_same_server_in_another_folder_and_a_twin_on_another_port_are_not_harmed(
    project: Sandbox, neighbour: Sandbox, server: Server
) -> None:
    known = Witnesses()
    with ExitStack() as stack:
        command = configure(project, server)
        others = [(start_by_hand(neighbour, server, configure(neighbour, server)), neighbour.port)]
        if server.by_environment:
            others.append((start_by_hand(project, server, command, port=(twin := free_port())), twin))
        for process, port in others:
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
            await_server(port)
        assert project.auto_heal("start").code == 0
        for process, _ in others:
            # Some processes of PostgreSQL only prepare its start.
            known.add(process.pid, alone=server.name == "postgres")
        main_crashes(psutil.Process(project.pid))

        healed = project.auto_heal("check")
        restarted = project.auto_heal("restart")
        stopped = project.auto_heal("stop")

        assert healed.code == 0, healed
        assert restarted.code == 0, restarted
        assert stopped.code == 0, stopped
        assert known.harmed == []
        assert not any(is_free(port) for _, port in others)


# What a server is asked by, in front of a restart, and the signal by which it reads its configuration again.
VALIDATED = {"nginx": ("-t", "SIGHUP"), "apache": ("-t", "SIGUSR1"), "haproxy": ("-c", "SIGUSR2")}


@pytest.mark.parametrize("server", [each for each in SERVERS if each.name in VALIDATED], ids=lambda each: each.name)
@pytest.mark.usefixtures("near")
def test_a_server_with_a_typo_in_its_configuration_runs_on_through_a_restart_a_reload_and_a_heal(
    project: Sandbox, server: Server
) -> None:
    command = configure(project, server)
    flag, name = VALIDATED[server.name]
    with (project.root / "auto-heal.toml").open("a") as file:
        file.write(
            f'validate = {json.dumps([*command.words, flag])}\nreload = "{name}"\nladder = ["reload", "restart"]\n'
        )
    assert project.auto_heal("start").code == 0
    pid = project.pid
    reloaded = project.auto_heal("reload")
    (config,) = (path for path in project.root.iterdir() if path.suffix in (".conf", ".cfg"))
    correct = config.read_text()
    config.write_text(f"{correct}\nno_such_directive on;\n")
    failing = project.write("healthtests/test_more.py", FAILING)

    refused = [project.auto_heal("restart"), project.auto_heal("reload"), project.check()]

    assert reloaded.code == 0, reloaded
    assert [result.code for result in refused] == [1, 1, 1]
    assert all("so nothing was stopped or started" in result.output for result in refused), refused
    assert all("no_such_directive" in result.output for result in refused), refused
    assert project.pid == pid
    assert not is_free(project.port)
    failing.unlink()
    config.write_text(correct)
    assert project.auto_heal("restart").code == 0
    assert project.check().code == 0
    assert project.auto_heal("stop").code == 0


@pytest.mark.usefixtures("near")
def test_an_upgrade_of_gunicorn_without_downtime_is_no_reason_to_restart(project: Sandbox) -> None:
    gunicorn = next(server for server in SERVERS if server.name == "gunicorn")
    configure(project, gunicorn)
    assert project.auto_heal("start").code == 0
    old = psutil.Process(project.pid)
    wait_for(lambda: len(old.children()) == 4)
    old.send_signal(signal.SIGUSR2)
    (successor,) = wait_for(lambda: [each for each in old.children() if len(each.children()) == 4])
    old.send_signal(signal.SIGQUIT)
    wait_for(lambda: not alive([old]), deadline=2 * DEADLINE)

    result = project.auto_heal("check")

    assert result.code == 0, result
    assert project.property("verdict") == "healthy"
    assert project.pid == successor.pid
    assert project.auto_heal("stop").code == 0
    assert is_free(project.port)


@pytest.mark.parametrize(
    "server",
    [server for server in SERVERS if server.name in {"nginx", "apache", "postgres", "gunicorn"}],
    ids=lambda server: server.name,
)
@pytest.mark.usefixtures("near")
def test_a_drill_of_a_server_heals_every_fault_and_leaves_nothing_over(project: Sandbox, server: Server) -> None:
    configure(project, server)
    assert project.auto_heal("start").code == 0
    faults = [word for fault in ("full-log", "stale-pid", "hang", "stranger") for word in ("--fault", fault)]

    result = project.auto_heal("drill", "--yes", *faults)

    assert result.code == 0, result
    assert project.auto_heal("stop").code == 0
    assert is_free(project.port)
