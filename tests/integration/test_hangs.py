"""A run always ends with a true verdict, even if its checks hang in C, crash, or leave something behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import psutil
import pytest
from hanging import CRASHES, NATIVE, NATIVE_WITH_LOCK, check
from sandbox import DEADLINE, PATIENT, PYTHON, Result, Sandbox, wait_for
from watching import watching

from remediation.system.process import Identity

SOON = "retries = 1\nretry_delay = 0.1\ntimeout = 1.5\ncollect_timeout = 2"
TWICE = SOON.replace("retries = 1", "retries = 2")
HUNG = "hung: no end within 1.5s, and no signal interrupts it"


def outcomes(project: Sandbox) -> dict[str, str]:
    """Return the outcome of each check in the report."""
    kinds = ("failure", "error", "skipped")
    return {
        case.get("name", ""): next((child.tag for child in case if child.tag in kinds), "passed")
        for case in project.report.iter("testcase")
    }


def failure_of(project: Sandbox, name: str) -> ET.Element:
    """Return the failure of a check in the report."""
    found = project.report.find(f"testcase[@name='{name}']/*")
    assert found is not None
    return found


def run(project: Sandbox, way: str) -> Result:
    """Run the checks in one of the usual ways."""
    return project.auto_heal("check") if way == "auto-heal check" else project.check(*way.split()[2:])


COMMAND = pytest.param("auto-heal check", marks=pytest.mark.soak)
WORKERS = pytest.param("pytest healthtests -n 2", marks=pytest.mark.soak)
WAYS = pytest.mark.parametrize("way", [COMMAND, "pytest healthtests", WORKERS])
WITHOUT_WORKERS = pytest.mark.parametrize("way", [COMMAND, "pytest healthtests"])
THE_OTHERS_PASS = {"test_health": "passed", "test_girls": "passed", "test_process": "passed"}


@WAYS
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(NATIVE, id="waits"),
        pytest.param(NATIVE_WITH_LOCK, id="keeps the interpreter", marks=pytest.mark.soak),
    ],
)
def test_a_check_that_hangs_in_c_has_failed_and_the_rest_is_run_and_healed(
    project: Sandbox, way: str, head: str
) -> None:
    project.configure(top=SOON)
    project.write("healthtests/test_a.py", check(head, "hang()", heals=""))

    result = run(project, way)

    assert result.code == 1, result
    assert project.get("/api/health")[0] == 200
    assert outcomes(project) == {"test_it": "failure", **THE_OTHERS_PASS}
    failed = failure_of(project, "test_it")
    assert failed.get("message", "").startswith(HUNG)
    assert failed.get("type") == "Hung"
    assert "in hang" in (failed.text or "")
    assert "library.pthread_mutex_lock(lock)" in (failed.text or "")


@WAYS
@pytest.mark.parametrize(("head", "deed", "says"), CRASHES.values(), ids=CRASHES)
def test_a_check_that_ends_its_process_has_failed_and_the_rest_is_run_and_healed(
    project: Sandbox, way: str, head: str, deed: str, says: str
) -> None:
    project.configure(top=SOON)
    project.write("healthtests/test_a.py", check(head, deed, heals=""))

    result = run(project, way)

    assert result.code == 1, result
    assert project.get("/api/health")[0] == 200
    assert outcomes(project) == {"test_it": "failure", **THE_OTHERS_PASS}
    assert failure_of(project, "test_it").get("message", "").startswith(says)


@WAYS
def test_a_check_that_hangs_heals_its_service_and_is_an_attempt_like_others(healthy: Sandbox, way: str) -> None:
    healthy.configure(top=TWICE)
    before = healthy.pid
    # It goes on hanging until the service was restarted.
    until = f"import pathlib\n    if int(pathlib.Path('.api-server.pid').read_text()) == {before}:\n        hang()"
    healthy.write("healthtests/test_a.py", check(NATIVE, until))

    result = run(healthy, way)

    assert result.code == 0, result
    assert healthy.pid != before
    case = healthy.report.find("testcase[@name='test_it']")
    assert case is not None
    assert [child.tag for child in case] == ["flakyFailure", "flakyFailure"]
    assert (healthy.property("verdict"), healthy.property("rounds")) == ("healed", "2")


@pytest.mark.soak
@WITHOUT_WORKERS
def test_an_attempt_that_hangs_is_repeated_in_a_fresh_process_with_its_fixtures_set_up_anew(
    healthy: Sandbox, way: str
) -> None:
    healthy.configure(top=TWICE)
    note = "open('pids', 'a').write(f'{os.getpid()}\\n')"
    healthy.write(
        "healthtests/conftest.py",
        f"import os, pytest\n\n\n@pytest.fixture(scope='session', autouse=True)\ndef all_along():\n    {note}\n",
    )
    healthy.write(
        "healthtests/test_a.py", check(NATIVE, "import os\n    os.path.exists('again') or (open('again', 'w'), hang())")
    )

    result = run(healthy, way)

    assert result.code == 0, result
    assert len(set((healthy.root / "pids").read_text().split())) == 2
    case = healthy.report.find("testcase[@name='test_it']")
    assert case is not None
    assert [child.tag for child in case] == ["flakyFailure"]
    assert result.output.count("/api/health OK") == (1 if way == "auto-heal check" else 0)


@pytest.mark.soak
def test_a_run_ends_within_the_time_of_its_attempts_and_five_seconds(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 3\nretry_delay = 0.2\ntimeout = 0.5")
    healthy.write("healthtests/test_a.py", check(NATIVE, "hang()", heals=""))
    began = time.monotonic()
    healthy.check("-k", "not test_it")
    alone = time.monotonic() - began

    began = time.monotonic()
    result = healthy.check()
    took = time.monotonic() - began

    assert result.code == 1, result
    assert took < 3 * 0.5 + 2 * 0.2 + 5 + 3 * alone


@WAYS
@pytest.mark.parametrize(
    ("deed", "says"),
    [
        pytest.param(
            "import time\ntime.sleep(600)",
            "healthtests/test_a.py:2: the import of healthtests/test_a.py takes longer",
            id="sleeps",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            "import time\nwhile True:\n    try:\n        time.sleep(600)\n    except Exception:\n        pass",
            "the import of healthtests/test_a.py",
            id="swallows",
            marks=pytest.mark.soak,
        ),
        pytest.param(f"{NATIVE}\nhang()", "the import of healthtests/test_a.py hung", id="hangs"),
        pytest.param(
            "import os\nos._exit(0)",
            "the import of healthtests/test_a.py ended its process with exit code 0",
            id="exits",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            "import ctypes\nctypes.string_at(0)",
            "the import of healthtests/test_a.py crashed",
            id="segfaults",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_a_module_that_cannot_be_imported_in_time_is_an_error_that_says_where_and_the_others_run(
    project: Sandbox, way: str, deed: str, says: str
) -> None:
    project.configure(top=SOON)
    project.write("healthtests/test_a.py", f"{deed}\n\n\ndef test_it():\n    pass\n")

    result = run(project, way)

    assert result.code == 1, result
    assert project.get("/api/health")[0] == 200
    assert outcomes(project) == {"healthtests.test_a": "error", **THE_OTHERS_PASS}
    assert says in result.output
    assert says in (failure_of(project, "healthtests.test_a").text or "")


KILLS_ITSELF = "import os, pathlib, signal\nonce = pathlib.Path('killed')\n"
ONCE = "if not once.exists():\n{0}once.touch()\n{0}os.kill(os.getpid(), signal.SIGKILL)\n"
KILLED_WHILE_IT_COLLECTS = {
    "a module": ("healthtests/test_a.py", ONCE.format("    ")),
    "a folder": (
        "healthtests/conftest.py",
        "def pytest_collect_file(file_path):\n    if file_path.name == 'test_items.py':\n        "
        + ONCE.format("        ").replace("\n", "\n    "),
    ),
    "the root": ("conftest.py", "def pytest_collect_directory():\n    " + ONCE.format("    ").replace("\n", "\n    ")),
}


@WAYS
@pytest.mark.parametrize(("file", "deed"), KILLED_WHILE_IT_COLLECTS.values(), ids=KILLED_WHILE_IT_COLLECTS)
def test_a_session_that_the_system_kills_while_it_collects_is_replaced_and_every_check_runs(
    healthy: Sandbox, way: str, file: str, deed: str
) -> None:
    healthy.write(file, KILLS_ITSELF + deed)

    result = run(healthy, way)

    assert result.code == 0, result
    assert (healthy.root / "killed").exists()
    assert outcomes(healthy) == THE_OTHERS_PASS
    assert result.output.count("test session starts") == (way != "auto-heal check")


@pytest.mark.soak
@WAYS
def test_a_folder_that_ends_every_session_that_collects_it_leaves_no_verdict(healthy: Sandbox, way: str) -> None:
    file, deed = KILLED_WHILE_IT_COLLECTS["a folder"]
    healthy.write(file, KILLS_ITSELF + deed.replace("once.touch()", "pass"))

    result = run(healthy, way)

    assert result.code == 3, result
    assert "killed by SIGKILL" in result.output
    assert not (healthy.root / "reports" / "health.xml").exists()


@WITHOUT_WORKERS
@pytest.mark.parametrize(
    ("hook", "deed"),
    [
        pytest.param("", "time.sleep(600)", id="conftest sleeps"),
        pytest.param("", "hang()", id="conftest hangs", marks=pytest.mark.soak),
        pytest.param("def pytest_configure(config): ", "time.sleep(600)", id="configure", marks=pytest.mark.soak),
        pytest.param("def pytest_collection_modifyitems(items): ", "hang()", id="selection", marks=pytest.mark.soak),
        pytest.param("def pytest_sessionfinish(session): ", "time.sleep(600)", id="finish", marks=pytest.mark.soak),
    ],
)
def test_a_session_that_hangs_outside_its_checks_ends_without_a_verdict_and_says_where(
    healthy: Sandbox, way: str, hook: str, deed: str
) -> None:
    healthy.configure(top=SOON)
    healthy.write("healthtests/conftest.py", f"import time\n{NATIVE}\n{hook}{deed}\n")

    result = run(healthy, way)

    assert result.code == 3, result
    assert "healthtests/conftest.py:" in result.output
    assert not (healthy.root / "reports" / "health.xml").exists()


IN_WORKERS = "    if hasattr({}, 'workerinput'):\n        {}\n"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("hook", "deed"),
    [
        ("def pytest_configure(config):\n", IN_WORKERS.format("config", "time.sleep(600)")),
        ("def pytest_configure(config):\n", IN_WORKERS.format("config", "os._exit(0)")),
        ("def pytest_sessionstart(session):\n", IN_WORKERS.format("session.config", "time.sleep(600)")),
        ("def pytest_collection_modifyitems(config):\n", IN_WORKERS.format("config", "hang()")),
        ("def pytest_sessionfinish(session):\n", IN_WORKERS.format("session.config", "time.sleep(600)")),
        ("def pytest_runtest_logreport(report):\n", "    if hasattr(report, 'node'):\n        time.sleep(600)\n"),
    ],
    ids=["configure", "configure exits", "start", "selection", "finish", "controller"],
)
def test_a_session_whose_workers_hang_outside_their_checks_ends_without_a_verdict_and_says_where(
    healthy: Sandbox, hook: str, deed: str
) -> None:
    healthy.configure(top=SOON)
    healthy.write("healthtests/conftest.py", f"import os, time\n{NATIVE}\n{hook}{deed}")

    result = healthy.check("-n", "2")

    assert result.code == 3, result
    assert "os._exit" in deed or "healthtests/conftest.py:" in result.output, result


@pytest.mark.parametrize("hang", [pytest.param("time.sleep(600)", marks=pytest.mark.soak), "hang()"])
def test_a_session_fixture_that_hangs_fails_the_check_that_wants_it_and_no_other(healthy: Sandbox, hang: str) -> None:
    healthy.configure(top=SOON)
    healthy.write(
        "healthtests/conftest.py",
        f"import time, pytest\n{NATIVE}\n\n@pytest.fixture(scope='session')\ndef database():\n    {hang}\n",
    )
    healthy.write("healthtests/test_a.py", "def test_it(database):\n    pass\n")

    result = healthy.check()

    assert result.code == 1, result
    assert outcomes(healthy) == {"test_it": "error", **THE_OTHERS_PASS}


LEFT = {
    "thread": ("import threading, time", "threading.Thread(target=time.sleep, args=(600,)).start()"),
    "atexit": ("import atexit, time", "atexit.register(time.sleep, 600)"),
    "child": ("import subprocess\nKEPT = []", "KEPT.append(subprocess.Popen(['sleep', '600']))"),
    "deaf child": (
        "import subprocess\nKEPT = []",
        "KEPT.append(subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 600; :']))",
    ),
    "orphan": ("import subprocess", "subprocess.run(['sh', '-c', 'sleep 600 &'])"),
    "fork of a fork": ("import os, time", "os.fork() or (os.fork() or time.sleep(600), os._exit(0))"),
    "nothing, but a plugin hangs at the end": ("", "pass"),
}


@pytest.mark.soak
@WITHOUT_WORKERS
@pytest.mark.parametrize(("head", "deed"), LEFT.values(), ids=LEFT)
def test_what_a_check_leaves_behind_keeps_nobody_waiting(healthy: Sandbox, way: str, head: str, deed: str) -> None:
    healthy.configure(top=SOON)
    if deed == "pass":
        healthy.write("healthtests/conftest.py", "import time\n\n\ndef pytest_unconfigure():\n    time.sleep(600)\n")
    healthy.write("healthtests/test_a.py", check(head, deed, heals=""))
    began = time.monotonic()

    # Reads until nobody keeps its pipe open.
    result = run(healthy, way)

    assert result.code == 0, result
    assert time.monotonic() - began < DEADLINE
    assert psutil.Process(healthy.pid).is_running()


def test_a_run_whose_supervisor_is_killed_ends_although_its_check_hangs(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 1\ntimeout = 600")
    deed = "import os\n    open('pid.new', 'w').write(str(os.getpid()))\n    os.rename('pid.new', 'pid')\n    hang()"
    healthy.write("healthtests/test_a.py", check(NATIVE, deed))
    process = healthy.start("remediation", "check")
    wait_for((healthy.root / "pid").exists)
    session = Identity.of(int((healthy.root / "pid").read_text()))
    assert session

    process.kill()
    process.communicate()

    wait_for(lambda: not session.alive)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("deed", [pytest.param("time.sleep(600)", marks=pytest.mark.soak), "hang()"])
def test_a_signal_to_the_process_that_is_waited_for_ends_the_run(
    healthy: Sandbox, number: signal.Signals, deed: str
) -> None:
    healthy.configure(top="retries = 1\ntimeout = 2")
    healthy.write("healthtests/test_a.py", check(f"import time\n{NATIVE}", f"open('begun', 'w').close(); {deed}"))
    before = healthy.pid
    process = healthy.start("pytest", "healthtests")
    wait_for((healthy.root / "begun").exists)

    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE)

    assert process.returncode == 2, output
    assert healthy.pid == before


def test_two_interrupts_end_a_run_that_hangs_at_once(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 1\ntimeout = 600")
    healthy.write("healthtests/test_a.py", check(NATIVE, "open('begun', 'w').close(); hang()"))
    process = healthy.start("pytest", "healthtests")
    wait_for((healthy.root / "begun").exists)

    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    output, _ = process.communicate(timeout=DEADLINE)

    assert process.returncode == 2, output


def test_whoever_calls_pytest_from_a_program_goes_on_after_it(healthy: Sandbox) -> None:
    healthy.write(
        "program.py",
        "import pytest\ncode = pytest.main(['healthtests', '-q'])\nprint('went on with', int(code), 'once')\n",
    )

    done = subprocess.run(
        [sys.executable, "program.py"], cwd=healthy.root, env=healthy.environment(), capture_output=True, text=True
    )

    assert done.returncode == 0, done
    assert done.stdout.count("went on with 0 once") == 1


@pytest.mark.soak
@pytest.mark.parametrize(
    "arguments", ["'healthtests', '--no-such-option'", "'healthtests', '-q'"], ids=["wrongly", "well"]
)
def test_whoever_called_pytest_from_a_program_may_go_on_for_long(healthy: Sandbox, arguments: str) -> None:
    healthy.configure(top="collect_timeout = 1")
    healthy.write("program.py", f"import pytest, time\npytest.main([{arguments}])\ntime.sleep(2)\nprint('went on')\n")

    done = subprocess.run(
        [sys.executable, "program.py"], cwd=healthy.root, env=healthy.environment(), capture_output=True, text=True
    )

    assert (done.returncode, "went on" in done.stdout) == (0, True), done


def test_pytest_can_be_called_in_a_thread(healthy: Sandbox) -> None:
    healthy.write(
        "program.py",
        "import pytest, threading\ncodes = []\n"
        "thread = threading.Thread(target=lambda: codes.append(pytest.main(['healthtests', '-q'])))\n"
        "thread.start()\nthread.join()\nprint('ended with', *map(int, codes))\n",
    )

    done = subprocess.run(
        [sys.executable, "program.py"], cwd=healthy.root, env=healthy.environment(), capture_output=True, text=True
    )

    assert "ended with 0" in done.stdout, done


@pytest.mark.soak
def test_a_fork_that_a_crashed_check_leaves_behind_keeps_nobody_waiting(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)
    healthy.write("healthtests/test_a.py", check("import os, time", "os.fork() or time.sleep(600)\n    os._exit(1)"))
    began = time.monotonic()

    # Reads until nobody keeps its pipe open.
    result = healthy.auto_heal("check", "--no-heal")

    assert result.code == 1, result
    assert time.monotonic() - began < DEADLINE


@pytest.mark.soak
@pytest.mark.parametrize("scheduling", ["loadscope", "loadfile", "loadgroup"])
def test_a_run_ends_although_xdist_waits_for_workers_that_wait_for_it(healthy: Sandbox, scheduling: str) -> None:
    healthy.configure(top="retries = 2\nretry_delay = 0.1\ncollect_timeout = 1")
    # As xdist 3.8 does where it has nothing more to hand out, and several workers have crashed.
    checks = "".join(f"def test_{name}():\n    os._exit(1)\n\n\n" for name in "abc")
    healthy.write("healthtests/test_a.py", f"import os\n\n\n{checks}")

    result = healthy.check("-n", "2", "--dist", scheduling)

    assert result.code in (1, 3), result


@pytest.mark.soak
def test_a_run_with_workers_that_is_over_before_its_supervisor_hears_of_them_is_healthy(healthy: Sandbox) -> None:
    run = healthy.start("remediation", "check", "-n", "2")
    supervisor = psutil.Process(run.pid)
    (folder,) = wait_for(lambda: list(healthy.root.glob(".auto-heal/run-*")))

    supervisor.suspend()
    wait_for(lambda: not folder.exists())
    supervisor.resume()

    result = Result.of(run)
    assert result.code == 0, result


@pytest.mark.soak
@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_that_is_started_without_streams_has_its_verdict(healthy: Sandbox, streams: str) -> None:
    command = f"{PYTHON} -m remediation check --no-heal {streams}"

    done = subprocess.run(["sh", "-c", command], cwd=healthy.root, env=healthy.environment())

    assert done.returncode == 0
    assert healthy.property("verdict") == "healthy"


@pytest.mark.soak
@pytest.mark.parametrize("plugin", ["rerunfailures", "terminal"])
def test_a_check_that_crashes_is_a_failed_check_without_the_plugins_that_can_be_missed(
    healthy: Sandbox, plugin: str
) -> None:
    healthy.configure(top=SOON)
    marked = check("import os", "os._exit(0)", heals="@pytest.mark.flaky(reruns=1)")
    healthy.write("healthtests/test_a.py", marked)

    result = healthy.check("-p", f"no:{plugin}")

    assert result.code == 1, result
    assert outcomes(healthy)["test_it"] == "failure"


@pytest.mark.soak
@pytest.mark.parametrize("deed", ["return", "raise AssertionError", "sys.exit(3)"])
def test_a_child_that_a_check_has_forked_and_that_comes_back_does_not_go_on_with_the_session(
    healthy: Sandbox, deed: str
) -> None:
    healthy.configure(top=SOON)
    before = healthy.pid
    module = check("import os, sys", f"if not os.fork():\n        {deed}\n    os.wait()")
    healthy.write("healthtests/test_a.py", f"{module}\n\ndef test_next():\n    open('runs', 'a').write('x')\n")

    result = healthy.check()

    assert result.code == 0, result
    assert (healthy.root / "runs").read_text() == "x"
    assert healthy.pid == before


# A service whose child bears no mark of it, as those of PostgreSQL do not, which write their titles over it.
WITH_A_CHILD = """
import runpy, subprocess
child = subprocess.Popen(["sleep", "600"], env={{}})
open("child", "w").write(str(child.pid))
runpy.run_path({patient!r}, run_name="__main__")
"""


@pytest.mark.soak
@WITHOUT_WORKERS
def test_what_a_healed_service_has_started_survives_the_run_whatever_its_environment(
    project: Sandbox, way: str
) -> None:
    project.write("service.py", WITH_A_CHILD.format(patient=str(PATIENT)))
    project.configure(command=f"command = [{json.dumps(sys.executable)}, 'service.py']")

    result = run(project, way)

    assert result.code == 0, result
    child = Identity.of(int((project.root / "child").read_text()))
    assert child
    assert child.alive
    os.kill(child.pid, signal.SIGKILL)


@pytest.mark.soak
def test_a_debugger_session_waits_for_a_person_however_long(healthy: Sandbox) -> None:
    healthy.configure(top=SOON)
    healthy.write("healthtests/test_a.py", check("", "value = 42\n    breakpoint()", heals=""))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "healthtests", "-s"], cwd=healthy.root, env=healthy.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    shown = ""
    while not shown.endswith("(Pdb) "):
        shown += process.stdout.read(1)
    # Longer than the check and its grace may take.
    time.sleep(3)
    process.stdin.write("p value * 2\nc\n")
    process.stdin.flush()
    rest, _ = process.communicate(timeout=DEADLINE)

    assert process.returncode == 0, shown + rest
    assert "84" in rest


# The monitor.


@pytest.mark.soak
@pytest.mark.parametrize(
    ("head", "deed", "says"), [(NATIVE, "hang()", HUNG), *CRASHES.values()], ids=["hangs", *CRASHES]
)
def test_a_monitor_heals_the_service_of_a_check_that_hangs_or_crashes(
    healthy: Sandbox, head: str, deed: str, says: str
) -> None:
    healthy.configure(top=f"{SOON}\ninterval = 0.5")
    before = healthy.pid
    until = f"import pathlib\n    if int(pathlib.Path('.api-server.pid').read_text()) == {before}:\n        {deed}"
    healthy.write("healthtests/test_a.py", check(head, until))

    with watching(healthy) as monitor:
        monitor.says("Healed!")
        monitor.stop()

    assert monitor.count(f"test_it: {says}") == 1, monitor
    assert monitor.count("no verdict") == 0, monitor
    assert monitor.statistics.heals == 1, monitor
    assert healthy.pid != before


@pytest.mark.soak
def test_a_monitor_reports_the_stack_of_a_crash_and_leaves_no_file_to_the_collector(healthy: Sandbox) -> None:
    healthy.configure(top=f"{SOON}\ninterval = 600")
    healthy.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    crash = "import gc, ctypes\n    gc.collect()\n    ctypes.string_at(0)"
    healthy.write("healthtests/test_a.py", check("", crash, heals=""))

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        failed = failure_of(healthy, "test_it")
        monitor.stop()

    assert 'test_a.py", line' in (failed.text or "")
    assert outcomes(healthy)["test_health"] == "passed", monitor


@pytest.mark.soak
def test_a_monitor_goes_on_without_a_module_that_cannot_be_imported_in_time_and_says_so(healthy: Sandbox) -> None:
    healthy.configure(top=f"{SOON}\ninterval = 0.3")
    healthy.write("healthtests/test_a.py", "import time\ntime.sleep(600)\n")

    with watching(healthy) as monitor:
        monitor.says("healthtests/test_a.py:2: the import of healthtests/test_a.py takes longer")
        monitor.ends_check(1)
        os.kill(healthy.pid, signal.SIGKILL)
        wait_for(lambda: monitor.statistics.heals == 1)

    assert monitor.count("Still sick: healthtests.test_a") >= 1, monitor
