"""Declared checks: a project without Python of its own, checked, healed and monitored like any other."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import xml.etree.ElementTree as ET

import pytest
from sandbox import PYTHON, Sandbox, wait_for
from watching import rows, watching

# Answers {"status": "ok"} at once, but: /slow-N after N milliseconds if the file `slow` exists; /together only when
# five requests wait; /third only the third time; /count says how often /counted was asked for.
_SERVER = """
import json, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

together, lock, asked, moments = threading.Barrier(5), threading.Lock(), {}, []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with lock:
            asked[self.path] = count = asked.get(self.path, 0) + 1
            moments.append(time.monotonic())
        status = 200
        if self.path.startswith("/slow-") and os.path.exists("slow"):
            time.sleep(int(self.path[6:]) / 1000)
        elif self.path.startswith("/together"):
            try:
                together.wait(10)
            except threading.BrokenBarrierError:
                status = 503
        elif self.path == "/third":
            status = 200 if count > 2 else 500
        counted = {"count": asked.get("/counted", 0), "moments": moments}
        self.answer(status, {"status": "ok", "parts": [{"id": 1, "up": True}]} | counted)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, {"received": json.loads(body)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def own(project: Sandbox) -> Sandbox:
    """A project without Python of its own, and without a folder for it."""
    for check in (project.root / "healthtests").iterdir():
        check.unlink()
    (project.root / "healthtests").rmdir()
    project.write("server.py", _SERVER)
    return project


def declare(project: Sandbox, *checks: str, top: str = "", more: str = "") -> None:
    """Let these be the checks of the service."""
    text = ",\n  ".join(checks)
    project.configure(
        f'ready = "/health"\nchecks = [\n  {text}\n]\n', top=top, more=more,
        command=f"command = {json.dumps(f'{PYTHON} server.py')}",
    )  # fmt: skip


def case(project: Sandbox, name: str) -> ET.Element:
    found = [case for case in project.report.iter("testcase") if case.get("name") == name]
    assert len(found) == 1, ET.tostring(project.report)
    return found[0]


def test_a_project_needs_no_python_to_be_healed(own: Sandbox) -> None:
    declare(own, '{ get = "/health", json = { status = "ok" } }', "{ process = true }")

    assert own.auto_heal("check").code == 0
    first = own.pid
    os.kill(first, signal.SIGKILL)
    result = own.auto_heal("check")

    assert result.code == 0, result
    assert own.property("verdict") == "healed"
    assert own.pid != first
    assert "✅ GET /health OK" in result.lines
    assert "✅ process OK" in result.lines
    assert own.auto_heal("check").code == 0
    assert own.property("verdict") == "healthy"


def test_what_is_expected_of_an_answer_is_compared(own: Sandbox) -> None:
    declare(
        own,
        '{ get = "/", status = [200, 204], contains = ["ok", "parts"], matches = "st.tus", '
        'headers = { content-type = "json" } }',
        '{ post = "/items", body = { name = "x" }, status = 201, json = { received = { name = "x" } } }',
        '{ head = "/", status = 501 }',
        '{ get = "/a", json = { parts = [{ up = false }] } }',
        '{ get = "/b", contains = "Welcome" }',
        '{ get = "/c", headers = { Server = "nginx" } }',
        '{ get = "/d", headers = { X-Shop = "1" } }',
        '{ get = "/e", matches = "^$" }',
        '{ post = "/f", body = "[]", status = 201, json = {} }',
        top="retries = 1\n",
    )
    own.auto_heal("start")

    result = own.auto_heal("check", "--no-heal")

    assert result.code == 1, result
    assert [line for line in result.lines if line.startswith("✅")] == [
        "✅ GET / OK",
        "✅ POST /items OK",
        "✅ HEAD / OK",
        "✅ POST /f OK",
    ]
    failures = [line for line in result.lines if line.startswith("api: ")]
    assert failures[0] == 'api: GET /a: no item of parts fits {"up":false}'
    assert failures[1].startswith('api: GET /b: the body does not contain "Welcome"; the body begins with \'{"status"')
    assert re.fullmatch(r"api: GET /c: the header Server is 'BaseHTTP.*', without nginx", failures[2])
    assert failures[3] == "api: GET /d: the answer has no header X-Shop"
    assert failures[4].startswith("api: GET /e: nothing in the body matches ^$; the body begins with")
    assert len(failures) == 5


def test_checks_of_a_service_run_at_the_same_time(own: Sandbox) -> None:
    declare(own, *(f'{{ get = "/together?{number}" }}' for number in range(5)), top="timeout = 15\nretries = 1\n")
    own.auto_heal("start")

    assert own.auto_heal("check").code == 0


@pytest.mark.soak
def test_the_retries_of_checks_run_at_the_same_time_and_are_reported(own: Sandbox) -> None:
    declare(own, '{ get = "/third" }', '{ get = "/health", contains = "never" }', top="retries = 3\n")
    own.auto_heal("start")

    result = own.auto_heal("check", "--no-heal")

    assert result.code == 1, result
    assert len(case(own, "GET /third").findall("flakyFailure")) == 2
    assert case(own, "GET /third").find("failure") is None
    assert len(case(own, "GET /health").findall("rerunFailure")) == 2
    assert result.lines.count("Attempt 1/3 failed, retrying in 0.1s...") == 2


@pytest.mark.soak
def test_a_regular_expression_that_takes_for_ever_fails_its_own_check_only(own: Sandbox) -> None:
    slow = '{ post = "/", body = { a = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }, status = 201, matches = "(A+)+!" }'
    others = [f'{{ get = "/{number}" }}' for number in range(8)]
    declare(own, *others[:4], slow, *others[4:], top="timeout = 1\nretries = 2\n")
    own.auto_heal("start")

    result = own.auto_heal("check", "--no-heal")

    assert result.code == 1, result
    failed = [line for line in result.lines if line.startswith("❌ ") and "FAIL" in line]
    assert failed == ["❌ POST / FAIL after 2 attempts"], result
    assert len(list(own.report.iter("testcase"))) == 9


@pytest.mark.soak
@pytest.mark.parametrize("arguments", [(), ("-x",), ("-n", "1")])
def test_a_retry_waits_for_its_delay(own: Sandbox, arguments: tuple[str, ...]) -> None:
    own.write("healthtests/README", "")
    declare(own, '{ get = "/third" }', top="retries = 3\nretry_delay = 0.3\n")
    own.auto_heal("start")
    before = len(own.get("/moments")[1]["moments"])

    assert own.check("--no-heal", *arguments).code == 0

    first, second, third = own.get("/moments")[1]["moments"][before:][:3]
    assert min(second - first, third - second) >= 0.3


@pytest.mark.soak
def test_a_hanging_server_fails_each_check_by_its_own_deadline(own: Sandbox) -> None:
    checks = [f'{{ get = "/slow-{60_000 + number}" }}' for number in range(20)]
    declare(own, *checks, '{ get = "/health" }', top="timeout = 1\nretries = 1\n")
    own.auto_heal("start")
    own.write("slow", "")

    result = own.auto_heal("check", "--no-heal")

    assert result.code == 1, result
    assert sum("no whole answer within 1s (timeout)" in line for line in result.lines) == 20
    assert "✅ GET /health OK" in result.lines


@pytest.mark.soak
def test_the_folder_collects_declared_checks_and_a_module_in_it_does_not(own: Sandbox) -> None:
    own.write("healthtests/test_a.py", "def test_a():\n    pass\n")
    declare(own, '{ get = "/health" }', '{ get = "/" }', '{ get = "/" }')
    own.auto_heal("start")

    def collected(*arguments: str) -> list[str]:
        result = own.run("pytest", "--collect-only", "-q", *arguments)
        return [line for line in result.lines if "::" in line]

    declared = [f"auto-heal.toml::api::GET {path}" for path in ("/health", "/", "/ (2)")]
    assert collected("healthtests") == ["healthtests/test_a.py::test_a", *declared]
    assert collected("healthtests/test_a.py") == ["healthtests/test_a.py::test_a"]
    assert collected("auto-heal.toml::api::GET /") == ["auto-heal.toml::api::GET /"]
    assert collected("healthtests", "-k", "GET") == declared
    alias = own.root.parent / f"{own.root.name}-alias"
    alias.symlink_to(own.root)
    for path in (own.root / "healthtests", alias / "healthtests", own.root / "healthtests" / ".." / "healthtests"):
        assert sum("auto-heal.toml::" in line for line in collected(str(path))) == 3
    assert own.run("pytest", "auto-heal.toml::api::GET /health").code == 0
    assert [case.get("name") for case in own.report.iter("testcase")] == ["GET /health"]


@pytest.mark.soak
def test_the_configuration_may_be_a_symbolic_link(own: Sandbox) -> None:
    own.write("healthtests/README", "")
    declare(own, '{ get = "/health" }')
    (own.root / "auto-heal.toml").rename(own.root / "shared.toml")
    (own.root / "auto-heal.toml").symlink_to("shared.toml")
    own.auto_heal("start")

    assert own.auto_heal("check").code == 0
    assert own.check("auto-heal.toml").code == 0
    assert [case.get("name") for case in own.report.iter("testcase")] == ["GET /health"]


@pytest.mark.soak
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_last_failed_is_selected_as_ever(own: Sandbox, workers: tuple[str, ...]) -> None:
    own.write("healthtests/README", "")
    declare(own, '{ get = "/health" }', '{ get = "/", status = 500 }', '{ get = "/b" }', top="retries = 1\n")
    own.auto_heal("start")

    assert own.check("--no-heal", *workers).code == 1
    assert len(list(own.report.iter("testcase"))) == 3
    result = own.check("--lf", "--no-heal", *workers)

    assert result.code == 1, result
    assert [case.get("name") for case in own.report.iter("testcase")] == ["GET /"]


def test_the_report_has_file_and_line_of_a_check(own: Sandbox) -> None:
    declare(own, '{ get = "/health" }', '{ get = "/" }')
    own.auto_heal("start")
    lines = (own.root / "auto-heal.toml").read_text().splitlines()

    own.auto_heal("check", "-o", "junit_family=xunit1")

    for name, text in (("GET /health", '  { get = "/health" },'), ("GET /", '  { get = "/" }')):
        found = case(own, name)
        assert (found.get("file"), found.get("line")) == ("auto-heal.toml", str(lines.index(text) + 1))
        assert found.get("classname") == "auto-heal.toml.api"


@pytest.mark.soak
def test_a_check_may_heal_another_service_or_none(own: Sandbox) -> None:
    declare(own, '{ get = "/", status = 500, heals = [] }', '{ get = "/health" }', top="retries = 1\n")
    own.auto_heal("start")
    before = own.pid

    result = own.auto_heal("check")

    assert result.code == 1, result
    assert own.pid == before
    assert "❌ Still sick: GET /" in result.lines


@pytest.mark.soak
def test_an_answer_that_is_too_slow_fails_at_once_and_heals_after_some_runs(own: Sandbox) -> None:
    declare(own, '{ get = "/slow-900", within = "500ms", for = 2 }', top="retries = 2\n")
    own.auto_heal("start")
    assert own.auto_heal("check").code == 0
    before = own.pid
    own.write("slow", "")

    first = own.auto_heal("check")
    assert first.code == 1, first
    assert any(
        re.fullmatch(
            r"api: GET /slow-900: took \d[.\d]*s, more than 0\.5s \(within\); .* 2 such runs in a row \(1 so far\)",
            line,
        )
        for line in first.lines
    ), first
    assert own.pid == before

    second = own.auto_heal("check")
    assert own.pid != before, second
    assert second.code == 1
    restarted = own.pid
    # The count begins anew after a restart.
    own.auto_heal("check")
    assert own.pid == restarted
    (own.root / "slow").unlink()
    assert own.auto_heal("check").code == 0


@pytest.mark.soak
def test_a_fast_answer_in_between_begins_the_count_anew(own: Sandbox) -> None:
    declare(own, '{ get = "/slow-900", within = 0.5, for = 2 }', top="retries = 1\n")
    own.auto_heal("start")
    before = own.pid

    for slow in (True, False, True):
        if slow:
            own.write("slow", "")
        else:
            (own.root / "slow").unlink()
        assert own.auto_heal("check").code == int(slow)

    assert own.pid == before


# Uses up to so many MiB, from the name of a file, and gives back what it has beyond that.
_HOG = """
import os, re, time
from pathlib import Path

held = []
while True:
    wanted = int(Path("mib").read_text() or 0) if Path("mib").exists() else 0
    while len(held) < wanted:
        held.append(os.urandom(1 << 20))
    del held[wanted:]
    time.sleep(0.02)
"""


@pytest.fixture
def hog(project: Sandbox) -> Sandbox:
    """A project whose service uses as many MiB of memory as the file `mib` says, until a restart."""
    shutil.rmtree(project.root / "healthtests")
    project.write("hog.py", _HOG)
    return project


def limit(project: Sandbox, check: str, top: str = "") -> None:
    project.write(
        "auto-heal.toml",
        f"{top or 'retries = 1'}\n[services.hog]\ncommand = {json.dumps(f'{PYTHON} hog.py')}\nchecks = [{check}]\n",
    )


def pid_of(project: Sandbox) -> int:
    return int((project.root / ".hog-server.pid").read_text())


@pytest.mark.soak
def test_a_leaking_service_is_restarted_once_when_it_has_been_above_its_limit_for_long_enough(hog: Sandbox) -> None:
    limit(hog, '{ memory_below = "100 MiB", for = "2s" }', "interval = 0.5\nretries = 3\n")
    with watching(hog) as monitor:
        monitor.ends_check(1)
        first = pid_of(hog)
        for mib in range(10, 140, 10):
            hog.write("mib", str(mib))
        monitor.says("✅ memory below 100 MiB OK (memory: ")
        monitor.says("lasted 2s (")
        assert pid_of(hog) == first
        (hog.root / "mib").unlink()
        # The memory is given back: it was a peak.
        checks = len(monitor.lines)
        wait_for(lambda: any("so far" not in line and "OK (memory" in line for line in monitor.lines[checks:]))
        assert pid_of(hog) == first
        hog.write("mib", "150")
        monitor.says("⚠️ Problems found, healing...", times=2)
        (hog.root / "mib").unlink()
        monitor.says("🎉 Healed!", times=2)
        second = pid_of(hog)
        assert second != first
        monitor.ends_check(len(monitor._ends()) + 3)
        assert pid_of(hog) == second
    assert any("above 100 MiB" in line for line in monitor.lines)
    # What has lasted needs no retry.
    assert "❌ memory below 100 MiB FAIL after 1 attempt" in monitor.lines


@pytest.mark.soak
def test_a_limit_without_for_heals_in_the_same_run(hog: Sandbox) -> None:
    limit(hog, '{ memory_below = "100 MiB" }')
    assert hog.auto_heal("start").code == 0
    first = pid_of(hog)
    assert hog.auto_heal("check").code == 0
    assert pid_of(hog) == first
    hog.write("mib", "150")
    wait_for(lambda: hog.auto_heal("check").code == 1)
    assert pid_of(hog) != first
    (hog.root / "mib").unlink()
    assert hog.auto_heal("check").code == 0


@pytest.mark.soak
def test_the_other_limits_are_measured(own: Sandbox) -> None:
    declare(
        own, '{ cpu_below = "300%" }', "{ open_files_below = 500 }", '{ open_files_below = "99%" }',
        '{ disk_free = "1 B", path = "/" }', '{ log_without = "Traceback" }', "{ tcp = true }",
        '{ tcp = "127.0.0.1:1", heals = [] }', '{ heartbeat = { name = "backup", within = "1h" }, heals = [] }',
        "{ open_files_below = 2, heals = [] }",
        top="retries = 1\n",
    )  # fmt: skip
    own.auto_heal("start")

    result = own.auto_heal("check")

    assert result.code == 1, result
    failed = [line for line in result.lines if line.startswith("❌ ") and "FAIL" in line]
    assert [line.partition(" FAIL")[0] for line in failed] == [
        "❌ TCP 127.0.0.1:1", "❌ heartbeat backup", "❌ open files below 2",
    ]  # fmt: skip
    assert own.auto_heal("beat", "backup").code == 0
    result = own.auto_heal("check")
    assert any(line.startswith("✅ heartbeat backup OK") for line in result.lines), result
    measured = rows(own, "SELECT DISTINCT name FROM measurements ORDER BY name")
    assert [name for (name,) in measured] == ["cpu", "disk", "heartbeat", "log", "open_files", "tcp"]


def test_the_monitor_heals_and_reads_edited_checks_again(own: Sandbox) -> None:
    declare(own, '{ get = "/health" }', top="interval = 0.3\n")
    with watching(own) as monitor:
        monitor.ends_check(1)
        first = own.pid
        os.kill(first, signal.SIGKILL)
        monitor.says("🎉 Healed!", times=2)
        assert own.pid != first
        declare(own, '{ get = "/health" }', '{ get = "/new" }', top="interval = 0.3\n")
        monitor.says("✅ GET /new OK")


@pytest.mark.soak
def test_the_monitor_checks_less_often_what_says_every(own: Sandbox) -> None:
    declare(own, '{ get = "/counted", every = "1h" }', '{ get = "/health" }', top="interval = 0.2\n")
    with watching(own) as monitor:
        monitor.ends_check(4)

    assert monitor.count("✅ GET /counted OK (checked ") >= 2
    # A run of its own always asks.
    assert "✅ GET /counted OK" in own.auto_heal("check").lines
    assert own.get("/count")[1]["count"] == 2


@pytest.mark.soak
def test_a_project_may_be_in_a_folder_with_a_bracket(own: Sandbox) -> None:
    own.root /= "[id]"
    own.write("healthtests/README", "")
    own.write("auto-heal.toml", f'[services.api]\nurl = "{own.url}"\nchecks = [{{ disk_free = "1 MiB" }}]\n')

    assert own.check().code == 0
    assert own.auto_heal("check").code == 0


def test_validate_names_all_that_is_wrong_with_checks(own: Sandbox) -> None:
    declare(own, '{ get = "health" }', '{ gte = "/" }', "{ tcp = true, json = {} }")

    result = own.auto_heal("validate")

    assert result.code == 4, result
    assert "services.api.checks[1]: unknown key 'gte'; did you mean 'get'?" in result.output
    declare(own, '{ get = "health" }', "{ tcp = true, json = {} }")
    result = own.auto_heal("validate")
    assert "services.api.checks[0].get: 'health' is no path" in result.output
    assert "services.api.checks[1].json: does not go with tcp" in result.output
    assert own.auto_heal("check").code == 4


@pytest.mark.soak
def test_a_check_in_python_has_the_time_that_its_marker_gives(own: Sandbox) -> None:
    own.write(
        "healthtests/test_slow.py",
        "import pytest\n\n\n@pytest.mark.timeout(20)\ndef test_slow(services):\n"
        "    services['api'].get('/slow-900')\n\n\n"
        "@pytest.mark.timeout(20)\ndef test_command(probe):\n    probe.command(['sleep', '0.9'])\n",
    )
    declare(own, '{ get = "/slow-900", heals = [] }', top="timeout = 0.5\nretries = 1\n")
    own.auto_heal("start")
    own.write("slow", "")

    result = own.check()
    assert result.code == 1, result
    failed = [line for line in result.lines if line.startswith("FAILED")]
    assert [line.partition(" - ")[0] for line in failed] == ["FAILED auto-heal.toml::api::GET /slow-900"], result
    assert own.check("--timeout", "20").code == 0
