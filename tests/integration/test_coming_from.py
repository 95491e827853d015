"""What is shown to those who come from another tool: the checks pass, and fail, when they have to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from name_server import naming
from sandbox import REPOSITORY, Result, Sandbox

HOW_TO = REPOSITORY / "docs" / "how-to"
PAGES = ["coming-from-gatus.md", "coming-from-goss.md"]
# The least share of the other tool's assertions that a page expresses.
LEAST = 0.8
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COUNT = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language in a page."""
    return [text for name, text in _BLOCK.findall((HOW_TO / page).read_text(encoding="utf-8")) if name == language]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_counts_what_it_expresses_and_names_the_rest(page: str) -> None:
    text = (HOW_TO / page).read_text(encoding="utf-8")
    *parts, (name, *whole) = [(name, *map(int, numbers)) for name, *numbers in _COUNT.findall(text)]
    named = text.partition("| not expressed | why |")[2]

    assert name == "all"
    assert whole == [sum(numbers) for numbers in zip(*(part[1:] for part in parts), strict=True)]
    assert all(expressed + missing == count for _, count, expressed, missing in [*parts, (name, *whole)])
    assert whole[1] / whole[0] >= LEAST
    assert sum(map(int, re.findall(r", (\d+)", named.replace(" |", ",")))) == whole[2]


# A server that answers as the examples expect.

BODIES = {
    "/health": (200, {"status": "UP"}),
    "/": (200, "<h1>Example Domain</h1>"),
    "/anything": (204, ""),
    "/limited": (429, ""),
    "/number": (200, 1),
    "/user": (200, {"user": {"name": "john", "id": 7}, "users": [1]}),
    "/name": (200, {"name": "john.doe"}),
    "/data": (200, {"data": [{"id": 1}], "age": 1, "id": 1, "name": "john.doe"}),
    "/private": (403, ""),
}
USERS = [{"id": 1, "gender": "male"}, {"id": 2, "gender": "female"}]


class Handler(BaseHTTPRequestHandler):
    """Answers the paths of the examples; what was posted to /items can be changed, read and deleted."""

    bodies: ClassVar[Mapping[str, tuple[int, Any]]] = BODIES
    items: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        """Answer a GET."""
        if self.path.startswith("/items/"):
            self._answer(200, self.items[self.path])
        else:
            self._answer(*self.bodies.get(self.path, (404, "")))

    def do_POST(self) -> None:
        """Answer a query, or keep an item."""
        body = self._body()
        if self.path == "/playground":
            is_query = 'users(gender: "female")' in body["query"]
            self._answer(200, {"data": {"users": USERS}} if is_query else {"errors": []})
            return
        self.items["/items/a1"] = body | {"id": "a1"}
        self._answer(201, self.items["/items/a1"])

    def do_PUT(self) -> None:
        """Change an item."""
        self.items[self.path] |= self._body()
        self._answer(200, self.items[self.path])

    def do_DELETE(self) -> None:
        """Remove an item."""
        del self.items[self.path]
        self._answer(204, "")

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _answer(self, status: int, value: Any) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on a free port, by TLS with a context, and yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Elsewhere:
    """A project with what a page shows, whose hosts are all this machine."""

    def __init__(self, project: Sandbox, page: str, replacing: Mapping[str, str]) -> None:
        """Write each block of TOML and of Python, with some texts replaced by others."""
        self.project = project
        self.bin = project.root / "bin"
        (project.root / "auto-heal.toml").unlink()
        for check in (project.root / "healthtests").iterdir():
            check.unlink()

        def here(text: str) -> str:
            for old, new in replacing.items():
                text = text.replace(old, new)
            return text

        self.project.write("pyproject.toml", "\n".join(map(here, blocks(page, "toml"))))
        for number, text in enumerate(blocks(page, "python")):
            self.project.write(f"healthtests/test_{number}.py", here(text))

    def program(self, name: str, body: str) -> None:
        """Write a program that comes first on the PATH."""
        path = self.project.write(f"bin/{name}", f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def check(self, *arguments: str, **env: str) -> Result:
        """Run the checks once, without heals."""
        path = f"{self.bin}:{os.environ['PATH']}"
        return self.project.check("--no-heal", "--reruns=0", *arguments, PATH=path, **env)

    def outcomes(self) -> dict[str, bool]:
        """Return whether each check passed."""
        cases = self.project.report.iter("testcase")
        return {f"{case.get('classname')}::{case.get('name')}": not len(case) for case in cases}


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A TLS context of a server on this machine, and the certificate that vouches for it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return context, file


@pytest.fixture
def gatus(project: Sandbox, authority: tuple[ssl.SSLContext, Path]) -> Iterator[Elsewhere]:
    """The examples of Gatus, against servers of this machine."""
    context, _ = authority
    zone = {("example.com", "A"): ["93.184.215.14"]}
    with ExitStack() as stack:
        port, secure = stack.enter_context(serving()), stack.enter_context(serving(context))
        names = stack.enter_context(naming(zone))
        replacing = {
            "https://twin.sh": f"http://127.0.0.1:{port}", "https://example.org": f"http://127.0.0.1:{port}",
            "localhost:8080": f"127.0.0.1:{port}", "https://shop.example.com": f"https://localhost:{secure}",
            "ldap.example.com:636": f"localhost:{secure}", "127.0.0.1:6379": f"127.0.0.1:{port}",
            "8.8.8.8": names.place,
        }  # fmt: skip
        elsewhere = Elsewhere(project, "coming-from-gatus.md", replacing)
        elsewhere.program("ping", '[ "$*" = "-c 1 -W 2 example.com" ]')
        elsewhere.program("ssh", 'echo \'{"memory": {"used": 512}}\'')
        elsewhere.program("grpc_health_probe", "exit 0")
        yield elsewhere


def test_the_examples_of_gatus_pass_where_all_is_as_they_say(
    gatus: Elsewhere, authority: tuple[ssl.SSLContext, Path]
) -> None:
    result = gatus.check(SSL_CERT_FILE=str(authority[1]))

    assert result.code == 0, result
    outcomes = gatus.outcomes()
    assert all(outcomes.values()), outcomes
    assert len(outcomes) == 11 + 15
    assert not Handler.items


@pytest.mark.soak
def test_the_examples_of_gatus_fail_where_nothing_is_as_they_say(
    gatus: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "bodies", {path: (503, {"errors": [], "id": 9}) for path in BODIES})
    for program in ("ping", "ssh", "grpc_health_probe"):
        gatus.program(program, "exit 1")

    result = gatus.check("-k", "not (TCP or TLS or redis or ldaps or name or playground or item or range)")

    assert result.code == 1, result
    outcomes = gatus.outcomes()
    assert [name for name, passed in outcomes.items() if passed] == []


# A machine as the examples of goss describe it, and another one.

_MACHINE = """
import grp, os, pwd, socket
from types import SimpleNamespace as Made

import psutil
import pytest

AS_DESCRIBED = {as_described}
USERS = {{"sshd": Made(pw_uid=74, pw_gid=74, pw_dir="/var/empty/sshd", pw_shell="/sbin/nologin")}}
GROUPS = {{"sshd": Made(gr_gid=74), "nfsnobody": Made(gr_gid=65534)}}
LISTEN = psutil.CONN_LISTEN
PORTS = {{"tcp4": [Made(laddr=("0.0.0.0", 22), status=LISTEN)], "tcp6": [Made(laddr=("::", 22), status=LISTEN)]}}
ADDRESSES = [
    Made(address="172.17.0.2", netmask="255.255.0.0"),
    Made(address="fe80::42:acff:fe11:2%eth0", netmask="ffff:ffff:ffff:ffff::"),
]
HOME = Made(mountpoint="/home", opts="rw,seclabel,relatime", device="/dev/mapper/fedora-home", fstype="xfs")


def names(host, port, family=0):
    assert host == "localhost"
    found = [(0, 0, 0, "", ("127.0.0.1", 0)), *([] if family else [(0, 0, 0, "", ("::1", 0, 0, 0))])]
    return found if AS_DESCRIBED else [(0, 0, 0, "", ("192.0.2.1", 0))]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    def made(module, name, value, other):
        monkeypatch.setattr(module, name, value if AS_DESCRIBED else other)

    made(pwd, "getpwnam", USERS.__getitem__, {{}}.__getitem__)
    made(grp, "getgrnam", GROUPS.__getitem__, {{}}.__getitem__)
    made(os, "getgrouplist", lambda *_: [74], None)
    made(psutil, "net_connections", PORTS.__getitem__, lambda _: [])
    made(psutil, "process_iter", lambda _: [Made(info={{"name": "sshd"}})], lambda _: [])
    made(psutil, "net_if_addrs", lambda: {{"eth0": ADDRESSES}}, dict)
    made(psutil, "net_if_stats", lambda: {{"eth0": Made(mtu=1500)}}, dict)
    made(psutil, "disk_partitions", lambda all: [HOME], lambda all: [])
    made(socket, "getaddrinfo", names, names)
"""
_ZONE = {
    ("c.dnstest.io", "CNAME"): ["a.dnstest.io."],
    ("8.8.8.8.in-addr.arpa", "PTR"): ["dns.google."],
    ("_https._tcp.dnstest.io", "SRV"): ["0 5 443 a.dnstest.io.", "10 10 443 b.dnstest.io."],
    ("mars.yellowjacket.io", "SSHFP"): ["3 1 1b28eea699b1c784dc16f1122eeddcf3131c89d2"],
}
_RPM = """case "$4" in
kernel) echo 6.1.0; echo 6.1.1; echo 6.1.2 ;;
httpd) echo 2.2.15 ;;
*) echo 1.0 ;;
esac"""


@contextmanager
def goss(project: Sandbox, *, as_described: bool) -> Iterator[Elsewhere]:
    """Yield the examples of goss on a machine that is, or is not, as they describe it."""
    file = project.write("passwd", "root:x:0:0\n")
    file.chmod(0o644)
    (project.root / "mta").symlink_to("/usr/sbin/sendmail.sendmail" if as_described else "/bin/true")
    results = {"instance_count": 14, "failures": 0, "status": "OK"} if as_described else {"instance_count": 0}
    project.write("data.json", json.dumps(results))
    with serving() as port, naming(_ZONE if as_described else {}) as names:
        replacing = {
            "https://www.google.com": f"http://127.0.0.1:{port}", "db.example.com:80": f"127.0.0.1:{port}",
            'path = "/home"': 'path = "."', '"8.8.8.8"': f'"{names.place}"', "/etc/passwd": str(file),
            "/etc/alternatives/mta": str(project.root / "mta"), "2118": str(file.stat().st_size),
            '("root", "root")': repr((file.owner(), file.group())),
            "7c9bb14b3bf178e82c00c2a4398c93cd": hashlib.new("md5", file.read_bytes()).hexdigest(),
        }  # fmt: skip
        elsewhere = Elsewhere(project, "coming-from-goss.md", replacing)
        project.write("healthtests/conftest.py", _MACHINE.format(as_described=as_described))
        file.write_text(file.read_text() if as_described else "changed")
        elsewhere.program("systemctl", '[ "$2" = sshd ]' if as_described else "exit 3")
        elsewhere.program("rpm", _RPM if as_described else "exit 1")
        elsewhere.program("go", "echo go version go1.6 linux/amd64" if as_described else "echo go version go1.7")
        yield elsewhere


def test_the_examples_of_goss_pass_where_all_is_as_they_say(project: Sandbox) -> None:
    with goss(project, as_described=True) as elsewhere:
        result = elsewhere.check(OS="centos")

    assert result.code == 0, result
    outcomes = elsewhere.outcomes()
    assert all(outcomes.values()), outcomes
    assert len(outcomes) == 3 + 5 + 4 + 15


@pytest.mark.soak
def test_the_examples_of_goss_fail_where_nothing_is_as_they_say(project: Sandbox) -> None:
    with goss(project, as_described=False) as elsewhere:
        result = elsewhere.check("-k", "not (site or kernel_parameter)", OS="centos")

    assert result.code == 1, result
    outcomes = elsewhere.outcomes()
    assert [name for name, passed in outcomes.items() if passed] == []
    assert len(outcomes) == 5 + 4 + 14
