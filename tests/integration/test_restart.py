"""The manners of a restart: tries of a start, slow starts, validation, reloads, the start period and limits."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import accumulate
from typing import Any

import pytest
from other_user import open_project
from sandbox import DEADLINE, IMPATIENT, SERVE, Sandbox, free_port, wait_for
from watching import kill, only_check, watching

from remediation.system.process import Identity

# Notes each of its starts.
NOTED = "echo start >> starts; "


def shell(script: str) -> str:
    """Return the key for a command that runs a script."""
    return f"command = {json.dumps(['sh', '-c', script])}"


def one_check(project: Sandbox, body: str) -> None:
    """Let this be the only check of api."""
    only_check(project, body)
    test = "import pathlib, pytest\n\n\n@pytest.mark.heals('api')\ndef test_it(services):\n"
    project.write("healthtests/test_it.py", f"{test}    {body}\n")


def starts(project: Sandbox) -> int:
    """Count the starts of a command that notes them."""
    return len((project.root / "starts").read_text().split())


def state(project: Sandbox) -> dict[str, Any]:
    """Return the stored state of api."""
    found: dict[str, Any] = json.loads((project.root / ".auto-heal" / "api.json").read_text())
    return found


def evidence(project: Sandbox, name: str) -> list[str]:
    """Return the content of this file in each folder of evidence."""
    return [path.read_text() for path in sorted((project.root / ".auto-heal/evidence").glob(f"*/{name}"))]


# Starts that fail.

THIRD_TIME = NOTED + f'test "$(wc -l < starts)" -ge 3 || {{ echo "port in use" >&2; exit 1; }}; exec {SERVE}'


def test_a_run_tries_a_start_that_fails_again_as_one_restart_of_the_budget(project: Sandbox) -> None:
    project.configure("restart_delay = 0.1\nbudget = { restarts = 1 }", top=IMPATIENT, command=shell(THIRD_TIME))

    result = project.check()

    assert result.code == 0, result
    assert starts(project) == 3
    assert len(state(project)["restarts"]) == 1
    assert result.output.count("trying the start again in") == 2


@pytest.mark.soak
def test_a_run_tries_a_start_no_longer_than_start_timeout(project: Sandbox) -> None:
    project.configure("restart_delay = 0.2\nstart_timeout = 1", top=IMPATIENT, command=shell(f"{NOTED} exit 1"))

    result = project.check()

    assert result.code == 1, result
    # At 0, 0.2 and 0.6 seconds; the next one would be at 1.4.
    assert 1 < starts(project) <= 3
    assert state(project)["failed_starts"] == starts(project)


@pytest.mark.soak
def test_an_interrupt_ends_the_tries_of_several_services(project: Sandbox) -> None:
    keys = f"{shell(NOTED + 'exit 1')}\nrestart_delay = 40\nstart_timeout = 60"
    project.configure(
        "restart_delay = 40\nstart_timeout = 60",
        top=IMPATIENT,
        command=shell(f"{NOTED} exit 1"),
        more=f'[services.db]\n{keys}\nurl = "tcp://127.0.0.1:{free_port()}"\n',
    )
    project.write(
        "healthtests/test_db.py",
        "import pytest\n\n\n@pytest.mark.heals('db')\ndef test_db(services):\n    assert services['db'].process\n",
    )

    check = project.start("pytest", "healthtests")
    wait_for((project.root / "auto-heal.log").exists)
    wait_for(lambda: project.log.count("trying the start again in 40s") == 2)
    check.send_signal(signal.SIGINT)
    output, _ = check.communicate(timeout=DEADLINE)

    assert check.returncode == 2, output
    assert starts(project) == 2


def test_a_monitor_tries_a_start_again_when_it_is_due_and_not_only_at_its_interval(project: Sandbox) -> None:
    project.configure("restart_delay = 0.1", top="interval = 3600\nretries = 1", command=shell(THIRD_TIME))
    one_check(project, "services['api'].require_process()")

    with watching(project) as monitor:
        wait_for(lambda: monitor.statistics.heals == 1)

    assert starts(project) == 3
    assert len(state(project)["restarts"]) == 1
    assert monitor.count("giving up") == 0


@pytest.mark.soak
def test_a_start_by_hand_forgets_the_delay_before_the_next_try(project: Sandbox) -> None:
    project.configure("restart_delay = 60\nstart_timeout = 1", top=IMPATIENT, command=shell(f"{NOTED} exit 1"))
    failed = project.check()
    refused = project.check()
    project.configure()

    started = project.auto_heal("start")

    assert (failed.code, refused.code, started.code) == (1, 1, 0)
    assert "its last start failed; the next try is at" in refused.output
    assert starts(project) == 1


# Slow starts.

WHEN_TOLD = NOTED + f"until test -e go; do sleep 0.02; done; exec {SERVE}"


def test_a_process_that_is_not_ready_in_time_is_left_running_and_the_key_is_named(project: Sandbox) -> None:
    project.configure("start_timeout = 0.5", top=IMPATIENT, command=shell(WHEN_TOLD))

    result = project.check()

    assert result.code == 1, result
    assert "it was left running; raise start_timeout" in result.output
    assert project.pid in [process.pid for process in project.family()]
    project.write("go", "")
    wait_for(project.answers)
    assert project.check().code == 0
    assert starts(project) == 1


@pytest.mark.soak
def test_a_process_that_became_ready_meanwhile_is_not_restarted(project: Sandbox) -> None:
    project.configure("start_timeout = 0.3\nrestart_delay = 20", top=IMPATIENT, command=shell(WHEN_TOLD))
    assert project.check().code == 1
    project.configure("start_timeout = 30", top=IMPATIENT, command=shell(WHEN_TOLD))

    process = project.start("remediation", "check")
    wait_for(lambda: "trying the start again in" in project.log)
    project.write("go", "")
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0, output
    assert "took longer than its start_timeout, and is ready now" in output
    assert starts(project) == 1


@pytest.mark.soak
def test_a_start_after_one_that_was_too_slow_may_take_twice_as_long(project: Sandbox) -> None:
    project.configure("start_timeout = 0.3\nrestart_delay = 0.01", top=IMPATIENT, command=shell(WHEN_TOLD))

    first, second = project.check(), project.check()

    assert (first.code, second.code) == (1, 1)
    assert [state(project)["slow_starts"], starts(project)] == [2, 2]
    assert "this start may take 0.6s" in second.output


@pytest.mark.soak
def test_a_restart_after_a_reload_that_failed_ends_nothing_that_it_could_not_replace(project: Sandbox) -> None:
    pid = serves(project, UNHANDLED, 'reload = "SIGHUP"\nladder = ["reload", "restart"]')
    (project.root / "server.py").rename(project.root / "away.py")
    config = project.root / "auto-heal.toml"
    config.write_text(config.read_text().replace(json.dumps(sys.executable), '"./no-such-python"'))

    result = project.check()

    assert result.code == 1, result
    assert "'./no-such-python' was not found" in result.output
    assert project.pid == pid
    assert Identity.of(pid)


# The service's own configuration.

VALIDATE = 'validate = ["sh", "-c", "test -e valid || { echo line 7: error in it >&2; echo done; exit 3; }"]'


def test_a_restart_by_hand_ends_nothing_if_the_service_could_not_start_again(healthy: Sandbox) -> None:
    healthy.configure(VALIDATE)
    pid = healthy.pid

    refused = healthy.auto_heal("restart")

    assert refused.code == 1, refused
    assert "exited with status 3, so nothing was stopped or started: line 7: error in it" in refused.output
    assert healthy.pid == pid
    assert healthy.answers()
    healthy.write("valid", "")
    assert healthy.auto_heal("restart").code == 0
    assert healthy.pid != pid


def test_a_heal_ends_nothing_if_the_service_could_not_start_again(healthy: Sandbox) -> None:
    healthy.configure(VALIDATE, top=IMPATIENT)
    pid = healthy.pid
    healthy.get("/fall-ill/errors")

    result = healthy.check()

    assert result.code == 1, result
    assert healthy.pid == pid
    assert state(healthy)["restarts"] == []
    assert evidence(healthy, "validate.txt") == ["line 7: error in it\ndone\n"]


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a service as another user")
def test_validation_and_reload_run_as_the_user_of_the_service_and_with_its_environment() -> None:
    for project in open_project():
        told = project.root / "told"
        told.mkdir(mode=0o777)
        told.chmod(0o777)
        says = f"echo $(id -un) $(pwd) $WANTED >> {told}/words"
        project.write(
            "auto-heal.toml",
            '[services.api]\ncommand = ["sleep", "600"]\nuser = "www-data"\nready = "none"\ncwd = "told"\n'
            f'env = {{ WANTED = "here" }}\nvalidate = ["sh", "-c", "{says}"]\nreload = ["sh", "-c", "{says}"]\n',
        )
        started = project.auto_heal("start")

        reloaded = project.auto_heal("reload")

        assert (started.code, reloaded.code) == (0, 0), reloaded
        assert (told / "words").read_text() == f"www-data {told} here\n" * 2
        assert project.auto_heal("stop").code == 0


@pytest.mark.soak
def test_a_monitor_reports_an_invalid_configuration_once(healthy: Sandbox) -> None:
    healthy.configure(VALIDATE, top=f"interval = 0.1\n{IMPATIENT}")
    healthy.get("/fall-ill/errors")

    with watching(healthy) as monitor:
        monitor.ends_check(3)

    assert monitor.count("so nothing was stopped or started") == 1
    assert len(evidence(healthy, "validate.txt")) == 1


@pytest.mark.soak
def test_a_dead_service_is_started_without_validation(healthy: Sandbox) -> None:
    healthy.configure(VALIDATE, top=IMPATIENT)
    kill(healthy)

    assert healthy.check().code == 0


# A reload.

# Answers with an error until SIGHUP.
RELOADS = (
    "import http.server, os, signal\ncode = 500\n\n\ndef reload(*_):\n    global code\n    code = 200\n\n\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n"
    "        self.send_response(200 if self.path == '/ready' else code)\n        self.end_headers()\n\n"
    "    def log_message(self, *_):\n        pass\n\n\n"
    "{handler}http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n"
)
HANDLED = RELOADS.format(handler="signal.signal(signal.SIGHUP, reload)\n")
UNHANDLED = RELOADS.format(handler="")
CHECK = "assert services['api'].get('/').status_code == 200"


def serves(project: Sandbox, script: str, keys: str) -> int:
    """Start a server that a reload makes well, and return its PID."""
    project.write("server.py", script)
    one_check(project, CHECK)
    project.configure(
        f'ready = "/ready"\n{keys}', top=IMPATIENT, command=f"command = {json.dumps([sys.executable, 'server.py'])}"
    )
    started = project.auto_heal("start")
    assert started.code == 0, started
    return project.pid


def test_a_reload_by_signal_heals_without_a_restart(project: Sandbox) -> None:
    pid = serves(project, HANDLED, 'reload = "SIGHUP"\nladder = ["reload", "restart"]')

    result = project.check()

    assert result.code == 0, result
    assert project.pid == pid
    assert len(state(project)["restarts"]) == 1
    assert project.property("api.action") == "reload"


def test_a_signal_without_a_handler_is_not_sent_and_the_restart_follows_in_the_same_round(project: Sandbox) -> None:
    pid = serves(project, UNHANDLED, 'reload = "hup"\nladder = ["reload", "restart"]')

    result = project.check()

    assert result.code == 1, result
    assert f"its process {pid} has no handler for SIGHUP, which would end it; nothing was sent" in result.output
    assert project.pid != pid
    assert project.property("rounds") == "2"
    assert len(state(project)["restarts"]) == 1


@pytest.mark.soak
def test_a_reload_that_ends_the_process_is_followed_by_the_next_step(project: Sandbox) -> None:
    command = json.dumps(["sh", "-c", "kill -9 $(cat .api-server.pid)"])
    serves(project, HANDLED, f'reload = {command}\nladder = ["reload", "restart"]')

    result = project.check()

    assert "`sh -c kill -9 $(cat .api-server.pid)` ended the main process before it was ready" in result.output
    assert (project.property("api.action") or "").startswith("reload, restart")


def test_auto_heal_reload_signals_the_main_process(project: Sandbox) -> None:
    pid = serves(project, HANDLED, 'reload = "SIGHUP"')

    result = project.auto_heal("reload")

    assert result.code == 0, result
    assert project.pid == pid
    wait_for(lambda: project.check("--no-heal").code == 0)


def test_auto_heal_reload_of_a_service_without_the_key_fails(healthy: Sandbox) -> None:
    result = healthy.auto_heal("reload", "api")

    assert result.code == 1
    assert "has no key reload" in result.output


def test_a_reload_is_planned(project: Sandbox) -> None:
    serves(project, HANDLED, f'reload = "SIGHUP"\nladder = ["reload", "restart"]\n{VALIDATE}')

    result = project.auto_heal("plan")

    assert "would validate by `sh -c test" in result.output
    assert "would reload it by SIGHUP" in result.output


# The start period.

CURED = "assert pathlib.Path('cure').exists()"


def warms_up(project: Sandbox, seconds: float, top: str = IMPATIENT) -> None:
    """Start a service whose check fails at first, and which has a start period."""
    one_check(project, CURED)
    project.configure(f"start_period = {seconds}", top=top, command=shell(f"{NOTED} exec {SERVE}"))
    started = project.auto_heal("start")
    assert started.code == 0, started


def test_a_run_asks_until_the_checks_pass_and_heals_nothing_in_the_start_period(project: Sandbox) -> None:
    warms_up(project, 3600)

    process = project.start("remediation", "check")
    wait_for(lambda: project.log.count("api is still starting") >= 2)
    project.write("cure", "")
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0, output
    assert starts(project) == 1
    assert project.property("verdict") == "healthy"
    # It ended at the first round that passed.
    assert state(project)["started_at"] == 0


@pytest.mark.soak
def test_after_the_start_period_a_failing_check_starts_a_heal(project: Sandbox) -> None:
    warms_up(project, 1)

    result = project.check()

    assert result.code == 1, result
    assert starts(project) == 2
    assert "api is still starting" in result.output


@pytest.mark.soak
def test_a_service_that_dies_in_its_start_period_is_healed(project: Sandbox) -> None:
    warms_up(project, 3600)
    project.write("cure", "")
    one_check(project, "services['api'].require_process()")
    kill(project)

    assert project.check().code == 0
    assert starts(project) == 2


def test_a_monitor_opens_no_incident_in_the_start_period(project: Sandbox) -> None:
    warms_up(project, 3600, top=f"interval = 0.1\n{IMPATIENT}")

    with watching(project) as monitor:
        monitor.says("Status: starting", times=2)
        errors = monitor.statistics.errors
        project.write("cure", "")
        monitor.says("Status: healthy")

    assert errors == 0
    assert starts(project) == 1
    assert not (project.root / ".auto-heal/.incidents").exists()
    assert monitor.count("Still sick") == 0


# Limits.


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_no_more_services_are_healed_at_once_than_the_limit_allows(project: Sandbox, processes: int) -> None:
    restart = json.dumps(["sh", "-c", "echo 1 >> active; sleep 0.2; echo -1 >> active"])
    names = [f"s{number}" for number in range(6)]
    project.configure(
        command=f"restart = {restart}",
        top=f"{IMPATIENT}\nlimits = {{ at_once = 2 }}",
        more="\n".join(
            f'[services.{name}]\nrestart = {restart}\nurl = "tcp://127.0.0.1:{free_port()}"\nready = "none"'
            for name in names
        ),
    )
    for check in (project.root / "healthtests").glob("test_*.py"):
        check.unlink()
    for name in names:
        project.write(
            f"healthtests/test_{name}.py",
            f"import pytest\n\n\n@pytest.mark.heals({name!r})\ndef test_{name}():\n    assert False\n",
        )

    runs = [
        project.start("remediation", "check", "-k", " or ".join(names[number::processes]), f"--junitxml=r{number}.xml")
        for number in range(processes)
    ]
    for run in runs:
        run.communicate(timeout=60)

    counts = list(accumulate(int(word) for word in (project.root / "active").read_text().split()))
    assert len(counts) == 2 * len(names)
    assert max(counts) == 2
