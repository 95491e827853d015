"""Whatever a cycle, a heal or a report imports or works out on first use, had once for all forks."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from importlib import import_module

_USED = (
    "concurrent.futures.thread",
    "filelock",
    "psutil",
    "remediation.healer.healer",
    "remediation.healer.order",
    "sqlite3",
    "xml.etree.ElementTree",
)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_TIMEOUT = 2.0


def preload() -> None:
    """Import it, and make one request to ourselves: its regular expressions and tables then are there already."""
    for name in _USED:
        import_module(name)
    from _pytest.junitxml import bin_xml_escape

    bin_xml_escape("")
    with suppress(OSError):
        _rehearse()


def _rehearse() -> None:
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
