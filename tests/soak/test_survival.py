"""The monitor survives any failure of the process that runs the checks, and reports it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from sandbox import Sandbox, sandbox, wait_for
from watching import command, kill, only_check, rows, watching

SOON = "interval = 0.2\nretries = 1\ntimeout = 0.3"
# In the fork server, what is waited for beyond a check's own deadline.
IMPATIENT = """
from remediation.checks import heartbeat_plugin

heartbeat_plugin._LONGEST_GRACE = 0.3
"""
HANGS = """
import signal, time
import pytest

pytestmark = pytest.mark.heals("slow")


def test_slow(services):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(600)
"""


@pytest.fixture
def alone(project: Sandbox) -> Sandbox:
    """A project whose only check heals nothing."""
    project.configure(top=SOON)
    only_check(project, "pass")
    return project


def test_a_module_from_the_future_does_not_keep_the_checks_from_running(alone: Sandbox) -> None:
    module = alone.write("shop.py", "")
    only_check(alone, "import shop")
    alone.write("healthtests/conftest.py", "import shop\n")
    tomorrow = time.time() + 86_400
    os.utime(module, (tomorrow, tomorrow))

    with watching(alone) as monitor:
        statistics = monitor.ends_check(3)

    assert statistics.errors == 0, monitor
    assert monitor.count("were edited") == 0, monitor


def test_a_configuration_that_is_gone_is_told_and_that_of_a_folder_above_is_not_taken(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "auto-heal.toml").write_text('[services.other]\nurl = "http://127.0.0.1:1"\n')
    for project in sandbox(inner):
        project.configure(top="interval = 0.2")
        only_check(project, "pass")
        with watching(project) as monitor:
            monitor.ends_check(1)
            configuration = inner / "auto-heal.toml"
            configuration.rename(inner / "away")
            monitor.says("The configuration cannot be used, going on with the earlier one")
            (inner / "away").rename(configuration)
            begun = monitor.count("Check #")
            monitor.ends_check(begun + 2)

        assert monitor.count("there is none in") == 1, monitor
        assert not (tmp_path / ".auto-heal").exists()


def test_a_fork_server_whose_socket_a_child_keeps_is_missed_all_the_same(alone: Sandbox) -> None:
    alone.write("healthtests/conftest.py", "import os\n\nif os.fork() == 0:\n    os.execvp('sleep', ['sleep', '60'])\n")

    with watching(alone) as monitor:
        monitor.ends_check(1)
        server = monitor.forkserver()
        server.kill()
        monitor.forkserver(after=server.pid)
        begun = monitor.count("Check #")
        monitor.ends_check(begun + 1)
        code = monitor.stop()

    assert code == 0, monitor


def test_a_fork_server_that_is_stopped_is_replaced(alone: Sandbox) -> None:
    program = (
        "import sys\nfrom remediation.monitor import pool\nfrom remediation.cli.main import main\n"
        "pool._CONFIRMED_WITHIN = 6.0\nsys.exit(main(['monitor']))"
    )

    with command(alone, "-c", program) as monitor:
        monitor.ends_check(1)
        server = monitor.forkserver()
        server.send_signal(signal.SIGSTOP)
        monitor.says("The process that runs the checks hangs")
        monitor.forkserver(after=server.pid)
        begun = monitor.count("Check #")
        monitor.ends_check(begun)
        code = monitor.stop()

    assert code == 0, monitor


def test_a_fork_server_that_dies_in_every_cycle_is_not_restarted_out_of_turn(alone: Sandbox) -> None:
    alone.configure(top="interval = 2\nretries = 1")
    only_check(alone, "import os; os.kill(os.getppid(), 9)")

    with watching(alone) as monitor:
        begun = time.monotonic()
        monitor.ends_check(3)
        took = time.monotonic() - begun

    assert took > 3, monitor


def test_a_check_that_hangs_for_good_is_told_and_does_not_keep_other_services_from_being_healed(
    project: Sandbox,
) -> None:
    project.configure(top=SOON, more='[services.slow]\nurl = "http://127.0.0.1:1"\nready = "tcp"\n')
    project.write("healthtests/conftest.py", IMPATIENT)
    project.write("healthtests/test_a_hang.py", HANGS)

    with watching(project) as monitor:
        monitor.says("test_slow: hung: no end within 0.3s, and no signal interrupts it")
        wait_for(lambda: monitor.statistics.heals == 1)
        project.get("/fall-ill/errors")
        wait_for(lambda: monitor.statistics.heals == 2)

    failed = "SELECT count(*) FROM results JOIN subjects ON id = subject WHERE key = 'slow' AND failed_at IS NOT NULL"
    assert rows(project, failed)[0][0] in range(1, monitor.statistics.errors + 1)


def test_what_checks_open_on_import_is_theirs_in_every_cycle_and_closed_at_the_end(alone: Sandbox) -> None:
    alone.write(
        "healthtests/conftest.py",
        "import atexit, pathlib, tempfile\n\nFOLDER = tempfile.TemporaryDirectory()\n"
        "pathlib.Path('folder').write_text(FOLDER.name)\n"
        "atexit.register(lambda: pathlib.Path('closed').open('a').write('x'))\n",
    )
    only = "import os\n\n\ndef test_it():\n    assert os.path.isdir(open('folder').read())\n"
    alone.write("healthtests/test_it.py", only)

    with watching(alone) as monitor:
        statistics = monitor.ends_check(3)
        assert not (alone.root / "closed").exists()
        monitor.stop()

    assert statistics.errors == 0, monitor
    assert (alone.root / "closed").read_text() == "x"
    assert not Path((alone.root / "folder").read_text()).exists()


def test_while_nothing_may_be_healed_every_check_is_run(healthy: Sandbox) -> None:
    healthy.configure(top="interval = 0.2\nretries = 1")
    healthy.auto_heal("pause")
    healthy.get("/fall-ill/errors")

    with watching(healthy) as monitor:
        monitor.ends_check(1)

    assert monitor.count("/api/health FAIL after 1 attempt") >= 1, monitor
    assert monitor.count("/api/girls FAIL after 1 attempt") >= 1, monitor
    assert monitor.count("skipped") == 0, monitor


def test_a_lock_that_cannot_be_had_does_not_end_the_monitor(healthy: Sandbox) -> None:
    healthy.configure(top="interval = 3600\nretries = 1")

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        lock = healthy.root / ".auto-heal" / "api.lock"
        lock.unlink()
        lock.mkdir()
        kill(healthy)
        monitor.ends_check(2)
        code = monitor.stop()

    assert code == 0, monitor
    assert monitor.count("Traceback") == 0, monitor


def test_an_endless_message_is_cut(alone: Sandbox) -> None:
    only_check(alone, "assert False, 'x' * 1_000_000")

    with watching(alone) as monitor:
        monitor.ends_check(1)

    assert max(map(len, monitor.lines)) < 2_000, monitor
    assert rows(alone, "SELECT count(*) FROM results WHERE length(message) BETWEEN 1000 AND 2000")[0][0] in (1, 2)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(77)"], ids=["killed", "exits"])
def test_a_second_round_that_dies_when_it_has_its_verdict_has_that(project: Sandbox, end: str) -> None:
    project.write(
        "healthtests/conftest.py",
        f"import os\n\n\ndef pytest_unconfigure():\n    if 'AUTO_HEAL_ROUND_FOLDER' in os.environ:\n        {end}\n",
    )

    result = project.check()

    assert result.code == 0, result
    assert "Healed!" in result.output


def test_a_monitor_that_is_killed_before_its_checks_are_collected_leaves_nothing(project: Sandbox) -> None:
    only_check(project, "pass")
    with (project.root / "healthtests" / "test_it.py").open("a", encoding="utf-8") as file:
        file.write("pathlib.Path('collecting').touch()\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.01)\n")
    with watching(project) as monitor:
        wait_for((project.root / "collecting").exists)
        monitor.signal(signal.SIGKILL)
        monitor.process.wait()
        (project.root / "go").touch()

        wait_for(lambda: not monitor.crew)
