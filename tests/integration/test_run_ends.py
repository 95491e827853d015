"""A run always ends, though a service that writes its own PID file is found again for ever."""

from __future__ import annotations

import sys

import pytest
from sandbox import Sandbox

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


@pytest.mark.parametrize(
    "content", ["1", *(pytest.param(text, marks=pytest.mark.soak) for text in ("nonsense", "999999999", ""))]
)
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
        'depends_on = ["db"]\nrestart_delay = 60',
        top="retries = 1",
        more=f'[services.db]\ncommand = ["{sys.executable}", "meddler.py", "1"]\nurl = "{project.url}"\nready = "/"\n'
        "restart_delay = 60\n",
    )
    text = (project.root / "auto-heal.toml").read_text()
    api = f'url = "{project.url}"\nready = "/api/health"'
    assert api in text
    project.write("auto-heal.toml", text.replace(api, 'ready = "none"').replace("patient.py", "no-such.py"))
    project.write("healthtests/test_sick.py", SICK)

    result = project.check()

    assert result.code == 1, result
    assert int(project.property("rounds") or 0) <= 4
