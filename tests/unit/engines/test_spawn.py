"""A service's command outlives us and inherits nothing; other commands end in time, with all their children."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandbox import DEADLINE, REPOSITORY, Sandbox, wait_for
from systems import needs_setsid

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.engines.spawn import Started, ended, launch, reap, spawn
from remediation.healing import commands
from remediation.healing.commands import run_command
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity

LONG = 600.0


@pytest.fixture(autouse=True)
def reaped() -> Iterator[None]:
    """Leave no zombies once the project has ended its processes."""
    yield
    reap()


def configured(project: Sandbox, *command: str, service: str = "") -> Service:
    """Return the service of the project with this command."""
    project.configure(service, command=f"command = {json.dumps(command)}")
    return load_project(project.root, {}).services["api"]


def python(script: str) -> tuple[str, ...]:
    """Return the command that runs a script."""
    return sys.executable, "-c", script


def death(started: Started) -> str:
    """Wait until a command has ended, and return how."""
    return str(wait_for(started.death))


def log(project: Sandbox) -> str:
    """Return the log of the service."""
    return (project.root / "api-server.log").read_text()


# A command of our own.


def test_a_service_runs_in_a_session_of_its_own_with_what_it_is_to_know(
    project: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNNER_TRACKING_ID", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER", "AUTO_HEAL_LANG"):
        monkeypatch.setenv(name, "ours")
    monkeypatch.setenv("KEPT", "ours")
    (project.root / "folder").mkdir()
    script = (
        "import json, os\n"
        "facts = {'env': dict(os.environ), 'cwd': os.getcwd(), 'sid': os.getsid(0), 'pid': os.getpid(),\n"
        "         'stdin': os.readlink('/dev/fd/0'), 'open': [fd for fd in os.listdir('/dev/fd')]}\n"
        "print(json.dumps(facts))\n"
    )
    service = configured(project, *python(script), service='cwd = "folder"\nenv = { MINE = "1" }')
    with Path(os.devnull).open("rb") as inheritable:
        os.set_inheritable(inheritable.fileno(), True)

        assert death(launch(service)).startswith("exited with status 0")

    facts: dict[str, Any] = json.loads(log(project))
    assert facts["cwd"] == str((project.root / "folder").resolve())
    assert facts["sid"] == facts["pid"]
    assert facts["stdin"] == os.devnull
    # The fourth is the listing's own.
    assert len(facts["open"]) == 4
    environ = facts["env"]
    assert environ["KEPT"] == "ours"
    assert environ["MINE"] == "1"
    assert (environ["HOST"], environ["PORT"]) == ("127.0.0.1", str(project.port))
    assert environ[SERVICE_MARK] == service.mark
    assert "ours" not in {value for name, value in environ.items() if name != "KEPT"}


def test_the_services_own_environment_wins_over_its_url(project: Sandbox) -> None:
    script = "import os; print(os.environ['PORT'], os.environ['HOST'])"
    service = configured(project, *python(script), service='env = { PORT = "1", HOST = "h" }')

    death(launch(service))

    assert log(project) == "1 h\n"


def test_a_service_outlives_whoever_started_it(project: Sandbox) -> None:
    configured(project, "sleep", "600")
    script = (
        "import sys; from pathlib import Path\n"
        "from remediation.engines.spawn import launch; from remediation.config.load import load_project\n"
        "print(launch(load_project(Path(sys.argv[1]), {}).services['api']).identity.pid)\n"
    )
    environ = project.environment(PYTHONWARNINGS="error")

    # The pipe closes when the starter ends, since the service does not hold it.
    result = subprocess.run(
        [*python(script), project.root], cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=True
    )

    assert result.stderr == ""
    assert Identity.of(int(result.stdout))


def test_the_output_is_appended_and_the_excerpt_is_of_the_commands_own(project: Sandbox) -> None:
    script = "import sys; [print('line', n, flush=True) for n in range(30)]; sys.stderr.buffer.write(b'\\xff end\\n')"
    service = configured(project, *python(script))
    project.write("api-server.log", "from before\n")

    started = launch(service)
    death(started)

    assert (project.root / "api-server.log").read_bytes().startswith(b"from before\nline 0\n")
    assert started.excerpt().lines == [*(f"line {number}" for number in range(11, 30)), "\\xff end"]


def test_a_command_that_said_nothing_has_no_excerpt_though_its_log_is_long(project: Sandbox) -> None:
    service = configured(project, "true")
    project.write("api-server.log", "from before\n" * 9999)

    started = launch(service)
    death(started)

    assert started.excerpt().lines == []
    service.log_file.unlink()
    assert started.excerpt().lines == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", "exited with status 0 (a command has to stay in the foreground)"),
        ("exit 255", "exited with status 255"),
        ("kill -KILL $$", "was killed by SIGKILL"),
        ("kill -TERM $$", "was killed by SIGTERM"),
    ],
)
def test_a_death_is_told_as_it_was(project: Sandbox, script: str, expected: str) -> None:
    started = launch(configured(project, "sh", "-c", script))

    assert death(started) == expected
    assert str(started.death()) == expected


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert str(ended(-(signal.SIGRTMIN + 1))) == f"was killed by signal {signal.SIGRTMIN + 1}"


def test_a_sleep_ends_with_the_process(project: Sandbox) -> None:
    started = launch(configured(project, "sleep", "0.2"))

    started.sleep(LONG)

    assert death(started).startswith("exited with status 0")


def test_a_live_process_has_no_death_and_a_dead_one_stays_no_zombie(project: Sandbox) -> None:
    started = launch(configured(project, "sleep", "600"))
    assert started.death() is None
    assert started.identity is not None

    os.kill(started.identity.pid, signal.SIGKILL)
    wait_for(lambda: not started.identity or not started.identity.alive)
    reap()

    assert not psutil.pid_exists(started.identity.pid)


@pytest.mark.parametrize(
    ("program", "service", "reason"),
    [
        ("no-such-program", "", "'no-such-program' was not found; check its name, PATH and cwd"),
        ("./none", "", "'./none' was not found"),
        ("./data", "", "'./data' is not executable"),
        ("./orphan", "", "'./orphan' needs an interpreter that was not found"),
        ("./noformat", "", "'./noformat' cannot be executed: Exec format error"),
        ("true", 'cwd = "nowhere"', "nowhere (cwd) does not exist"),
        ("true", 'cwd = "data"', "data (cwd) is not a directory"),
        ("true", 'log_file = "link"', "link cannot be written: "),
        ("true", 'log_file = "fifo"', "fifo cannot be written: "),
        ("true", 'log_file = "data/log"', "log cannot be written: "),
    ],
)
def test_a_program_that_cannot_be_started_is_told_in_one_sentence_and_leaks_nothing(
    project: Sandbox, program: str, service: str, reason: str
) -> None:
    project.write("data", "no program").chmod(0o600)
    project.write("orphan", "#!/no/such/interpreter\n").chmod(0o755)
    (project.root / "noformat").write_bytes(b"\x7fELF nothing")
    (project.root / "noformat").chmod(0o755)
    (project.root / "link").symlink_to(project.root / "victim")
    os.mkfifo(project.root / "fifo")
    found = configured(project, program, service=service)
    before = sorted(Path("/dev/fd").iterdir())

    with pytest.raises(HealError) as raised:
        launch(found)
    with pytest.raises(HealError) as raised_too:
        run_command(found, [program], timeout=LONG)

    gc.collect()
    assert sorted(Path("/dev/fd").iterdir()) == before
    assert str(raised.value).startswith("api: ")
    assert reason in str(raised.value)
    assert str(raised_too.value) == str(raised.value)
    assert not (project.root / "victim").exists()


# Other commands.


def running_in(project: Sandbox) -> list[psutil.Process]:
    """Return the live processes whose working directory is that of the project, as that of its commands is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(project.root.resolve()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_a_command_that_succeeds_says_so_in_the_log_of_the_service(project: Sandbox) -> None:
    service = configured(project, "true")
    project.write("api-server.log", "from before\n")

    run_command(service, ["sh", "-c", "echo out; echo err >&2; cat"], timeout=LONG)

    assert log(project) == "from before\nout\nerr\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [("exit 7", "exited with status 7"), ("kill -KILL $$", "was killed by SIGKILL")],
)
def test_a_command_that_fails_without_a_word_is_told_with_its_end(project: Sandbox, script: str, reason: str) -> None:
    project.write("api-server.log", "ValueError: from before\n")

    with pytest.raises(HealError) as raised:
        run_command(configured(project, "true"), ["sh", "-c", script], timeout=LONG)

    assert str(raised.value) == f"api: `sh -c {script}` {reason}; it left nothing in its log"


def test_a_command_that_fails_is_told_with_the_line_that_tells_why(project: Sandbox) -> None:
    project.write("fail.sh", "echo cannot connect with token=abcDEF123xyz987; echo bye; exit 7\n")
    project.write("api-server.log", "ValueError: from before\n")

    with pytest.raises(HealError) as raised:
        run_command(configured(project, "true"), ["sh", "fail.sh"], timeout=LONG)

    said = "api-server.log says: cannot connect with token=***"
    assert str(raised.value) == f"api: `sh fail.sh` exited with status 7; {said}"


@pytest.mark.parametrize(("key", "command"), [("start_timeout", 'restart = ["sh", "slow.sh"]'), ("timeout", None)])
def test_a_command_that_takes_too_long_is_told_with_its_limit_and_what_it_said(
    project: Sandbox, key: str, command: str | None
) -> None:
    project.write("slow.sh", "echo password for root?; sleep 600\n")
    project.configure(command=command)
    service = load_project(project.root, {}).services["api"]

    with pytest.raises(HealError) as raised:
        run_command(service, service.restart_command or ("sh", "slow.sh"), timeout=0.5)

    assert str(raised.value) == (
        f"api: `sh slow.sh` did not end within 0.5s ({key}) and was killed; api-server.log says: password for root?"
    )


@needs_setsid
def test_a_command_that_takes_too_long_is_ended_with_its_deaf_and_scattered_children(project: Sandbox) -> None:
    service = configured(project, "true", service="stop_timeout = 0.3")
    script = "setsid sh -c \"trap '' TERM; sleep 600\" & setsid sleep 600 & sleep 600"

    with pytest.raises(HealError, match=r"did not end within 1s \(timeout\) and was killed"):
        run_command(service, ["sh", "-c", script], timeout=1)

    assert running_in(project) == []


@needs_setsid
def test_an_interruption_ends_the_command_with_its_children(project: Sandbox) -> None:
    service = configured(project, "true")
    former = signal.signal(signal.SIGUSR1, signal.default_int_handler)

    def interrupt() -> None:
        with suppress(AssertionError):
            wait_for(lambda: len(running_in(project)) == 2)
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            # Not before: only SIGINT is held back while the command is being started.
            run_command(
                service, ["sh", "-c", "setsid sleep 600 & wait"], timeout=LONG, on_start=lambda _: thread.start()
            )
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, former)

    assert running_in(project) == []


def test_ctrl_c_just_after_the_start_of_a_command_ends_it_too(
    project: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> tuple[subprocess.Popen[bytes], int | None]:
        started = spawn(*arguments, **options)
        signal.raise_signal(signal.SIGINT)
        begun.append(started[0].pid)
        return started

    begun: list[int] = []
    monkeypatch.setattr(commands, "spawn", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run_command(configured(project, "true"), ["sleep", "600"], timeout=LONG)

    assert Identity.of(begun[0]) is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@needs_setsid
@pytest.mark.parametrize("command", ['command = "true"', 'restart = "true"'])
def test_what_a_command_leaves_running_is_not_the_service(project: Sandbox, command: str) -> None:
    project.configure(command=command)
    service = load_project(project.root, {}).services["api"]
    start = time.monotonic()

    run_command(service, ["sh", "-c", "setsid sleep 600 & echo $!"], timeout=LONG)

    left = int(Path(service.log_file).read_text())
    try:
        assert Identity.of(left)
        assert project.family() == []
        assert time.monotonic() - start < DEADLINE
    finally:
        os.kill(left, signal.SIGKILL)
    wait_for(lambda: Identity.of(left) is None)
