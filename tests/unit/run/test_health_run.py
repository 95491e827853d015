"""A run always ends: a process is found again only once, each ladder step is used once, and the rounds are bounded."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from remediations import remediation
from sandbox import Sandbox

from remediation.checks.results import Attempt, RoundFindings
from remediation.config.load import load_project
from remediation.healing import dependencies
from remediation.run.health_run import HealthRun, Options
from remediation.run.rounds import Part, Round
from remediation.run.run_state import RunState
from remediation.state.event_log import EventLog
from remediation.state.remediation import Remediation, RemediationResult
from remediation.state.service_state import Store
from remediation.supervision.round_files import FINDINGS_NAME, XML_NAME

# Answers well, and writes a PID of its own choice over the PID file all the time.
MEDDLER = """
import http.server, os, pathlib, sys, threading, time

def meddle():
    while True:
        pathlib.Path(".api-server.pid").write_text(sys.argv[1])
        time.sleep(0.005)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=meddle, daemon=True).start()
server.serve_forever()
"""
SICK = "import pytest\n\n\n@pytest.mark.heals('api')\ndef test_sick():\n    assert False\n"


@pytest.mark.parametrize("content", ["1", "nonsense", "999999999", ""])
def test_a_service_that_writes_its_own_pid_file_is_found_again_once_and_then_restarted(
    project: Sandbox, content: str
) -> None:
    project.write("meddler.py", MEDDLER)
    project.configure(top="retries = 1", command=f'command = ["{sys.executable}", "meddler.py", "{content}"]')
    project.write("healthtests/test_sick.py", SICK)
    project.auto_heal("start")

    result = project.check()

    assert result.code == 1, result
    assert project.property("api.action") == "found its process again, then restart"
    assert project.property("rounds") == "3"
    assert len(project.state["restarts"]) == 1
    assert len(project.servers()) == 1


def test_a_dependency_that_writes_its_own_pid_file_does_not_keep_a_run_from_its_end(project: Sandbox) -> None:
    project.write("meddler.py", MEDDLER)
    project.configure(
        'depends_on = ["db"]',
        top="retries = 1",
        more=f'[services.db]\ncommand = ["{sys.executable}", "meddler.py", "1"]\nurl = "{project.url}"\nready = "/"\n',
    )
    text = (project.root / "auto-heal.toml").read_text()
    api = f'url = "{project.url}"\nready = "/api/health"'
    assert api in text
    project.write("auto-heal.toml", text.replace(api, 'ready = "none"').replace("patient.py", "no-such.py"))
    project.write("healthtests/test_sick.py", SICK)

    result = project.check()

    assert result.code == 1, result
    assert int(project.property("rounds") or 0) <= 4


@pytest.fixture
def endless(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[[Remediation], int]:
    """Return a function that counts the heals of a run whose checks always fail and whose heals always end alike."""

    def count(done: Remediation) -> int:
        found, numbers = load_project(project.root, {}), itertools.count(1)
        attempt = Attempt("t.py::t", "t", False, "ill", "E", "ill", time.time(), True, 0, {"api": 0})
        monkeypatch.setattr(dependencies, "heal_all", lambda *_, **__: next(numbers) and [done])

        def round_in(folder: Path) -> Round:
            xml = folder / XML_NAME
            xml.write_text('<testsuites><testsuite tests="1"><testcase classname="t" name="t"><failure/></testcase>'
                           "</testsuite></testsuites>")  # fmt: skip
            return Round(1, [Part(xml, RoundFindings([attempt], []))])

        def again(folder: Path) -> tuple[int, list[Path]]:
            import msgspec

            (folder / FINDINGS_NAME).write_bytes(msgspec.json.encode(round_in(folder).parts[0].findings))
            return 1, [folder]

        run = HealthRun(
            project=found, store=Store(found), event_log=EventLog.of(found),
            options=Options("auto", None, fail_on_heal=False),
            run_state=RunState(found), again=again, report=found.report, root=found.root, selected=[],
        )  # fmt: skip
        first = project.root / "first"
        first.mkdir()
        run.finish(round_in(first))
        return next(numbers) - 1

    return count


@pytest.mark.parametrize("result", RemediationResult)
@pytest.mark.parametrize("action", ["restart", ""])
def test_no_remediation_that_is_repeated_for_ever_keeps_a_run_from_its_end(
    endless: Callable[[Remediation], int], result: RemediationResult, action: str
) -> None:
    assert 1 <= endless(remediation(action=action, result=result)) <= 2
