"""Whatever a cycle, a heal or a report imports or works out on first use, had once for all forks."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from remediation.config.model import Project
from remediation.probes import liveness
from remediation.run import junit
from remediation.run.junit import RoundReport
from remediation.state.service_state import Memory, Store
from remediation.system import files
from remediation.system.process import Identity

_USED = (
    "filelock",
    "psutil",
    "remediation.healing.diagnostics",
    "remediation.healing.remediator",
    "remediation.healing.dependencies",
    "remediation.state.history",
    "remediation.checks.reasons",
    "sqlite3",
    "xml.etree.ElementTree",
)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_TIMEOUT = 2.0


def preload(project: Project) -> None:
    """Import it, and rehearse what a cycle does: its regular expressions, codecs and tables then are there already."""
    for name in _USED:
        import_module(name)
    with suppress(OSError):
        _rehearse_request()
    _rehearse_report()
    store = Store(project)
    for service in project.services.values():
        liveness.condition(service, store)
    Identity.of(os.getpid())


def _rehearse_report() -> None:
    import msgspec
    from _pytest.junitxml import bin_xml_escape, mangle_test_address

    mangle_test_address("a.py::b")
    msgspec.json.decode(b"{}", type=Memory)
    case = f'<testcase classname="a" name="{bin_xml_escape("b")}" time="0.1"/>'
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "round.xml"
        xml.write_text(f'<testsuites><testsuite time="0.1">{case}</testsuite></testsuites>', encoding="utf-8")
        merged = junit.merge([RoundReport(xml, [])], properties={"a": "b"}, system_out=["a"])
        files.write(xml, merged)
        junit.failed(xml)


def _rehearse_request() -> None:
    import requests

    with socket.create_server(("127.0.0.1", 0)) as listener, requests.Session() as session:
        listener.settimeout(_TIMEOUT)
        session.trust_env = False
        server = threading.Thread(target=_answer_one, args=(listener,))
        server.start()
        try:
            session.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=_TIMEOUT).json()
        finally:
            server.join()


def _answer_one(listener: socket.socket) -> None:
    with suppress(OSError), listener.accept()[0] as connection:
        connection.settimeout(_TIMEOUT)
        connection.recv(65_536)
        connection.sendall(_ANSWER)
