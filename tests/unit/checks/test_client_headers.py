"""The headers and credentials of a service: on every request to it, and on none to anybody else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from answering import Server, redirect, whole
from asking import failure, handle
from certificates import context
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.probes import readiness, version

Serve = Callable[..., Server]
TOKEN = "Bearer s3cr3t-9f3a-t0ken"
HEADERS = f'headers = {{ Authorization = "{TOKEN}", X-Forwarded-Proto = "https", user-agent = "mine" }}\n'
OK = whole(b'{"version": "1.0"}')


def sent(request: bytes) -> dict[str, str]:
    """Return the headers of a request, by their names in lower case; none may be there twice."""
    lines = [line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if line]
    headers = {name.lower(): value for name, value in lines}
    assert len(headers) == len(lines)
    return headers


def ask_all(project: Sandbox, server: Server, more: str, *, user: str = "") -> list[dict[str, str]]:
    """Return the headers that readiness, version and check send."""
    more = f'{more}ready = "/health"\nversion = {{ path = "/version" }}\n'
    api = handle(project, server.port, host=f"http://{user}127.0.0.1:{server.port}", more=more)
    service = load_project(project.root, {}).services["api"]
    assert readiness.unready(service, timeout=20) is None
    assert version.answering(service, timeout=20) == "1.0"
    assert api.get("/check").status_code == 200
    paths = [request.split()[1] for request in server.requests]
    assert paths == [b"/health", b"/version", b"/check"]
    return [sent(request) for request in server.requests]


def test_readiness_version_and_checks_send_the_headers_of_the_service(project: Sandbox, serve: Serve) -> None:
    for headers in ask_all(project, serve(OK), HEADERS):
        assert headers["authorization"] == TOKEN
        assert (headers["x-forwarded-proto"], headers["user-agent"]) == ("https", "mine")


@pytest.mark.parametrize(
    ("user", "credentials"), [("u:p@", "u:p"), ("u@", "u:"), (":p@", ":p"), ("%C3%BC:p%40s%3As@", "ü:p@s:s")]
)
def test_they_send_the_credentials_in_the_url(project: Sandbox, serve: Serve, user: str, credentials: str) -> None:
    expected = f"Basic {base64.b64encode(credentials.encode()).decode()}"

    assert {headers["authorization"] for headers in ask_all(project, serve(OK), "", user=user)} == {expected}


def test_a_virtual_host_can_be_asked_by_its_name(project: Sandbox, serve: Serve) -> None:
    hosts = {headers["host"] for headers in ask_all(project, serve(OK), 'headers = { Host = "shop.example" }\n')}

    assert hosts == {"shop.example"}


def test_a_check_may_send_its_own_in_their_place(project: Sandbox, serve: Serve) -> None:
    server = serve(OK)

    handle(project, server.port, more=HEADERS).get("/", headers={"Authorization": "Bearer mine", "X-Mine": "1"})

    headers = sent(server.requests[0])
    assert (headers["authorization"], headers["x-forwarded-proto"], headers["x-mine"]) == ("Bearer mine", "https", "1")


def test_a_netrc_does_not_replace_them(
    project: Sandbox, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # As if the service were on another machine: only then does requests look for one.
    monkeypatch.setattr("remediation.checks.client._is_local", lambda *_: False)
    server = serve(redirect("/b"), OK)

    handle(project, server.port, more=HEADERS).get("/a")

    assert [sent(request)["authorization"] for request in server.requests] == [TOKEN, TOKEN]


@pytest.mark.parametrize("place", ["/b", "b", "http://127.0.0.1:{port}/b", "http://x:y@127.0.0.1:{port}/b"])
def test_a_redirect_to_the_service_itself_keeps_them(project: Sandbox, serve: Serve, place: str) -> None:
    server: Server = serve(lambda: [redirect(place.format(port=server.port))], OK)

    handle(project, server.port, more=HEADERS).get("/a")

    assert [sent(request)["authorization"] for request in server.requests] == [TOKEN, TOKEN]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_a_redirect_to_another_port_or_host_is_refused_and_sends_nothing(
    project: Sandbox, serve: Serve, host: str
) -> None:
    other = serve(OK)
    front = serve(redirect(f"http://{host}:{other.port}/b"))

    assert failure(handle(project, front.port, more=HEADERS)).startswith("redirected to ")
    assert other.requests == []


def in_both(serve: Serve, scheme: str) -> Server:
    """Start a server of http and https on one port, which redirects the first request to this scheme."""
    tls = context(trustme.CA().issue_cert("127.0.0.1"))
    server: Server = serve(lambda: [redirect(f"{scheme}://127.0.0.1:{server.port}/b")], OK, context=tls, plain_too=True)
    return server


def test_a_redirect_from_https_to_http_is_refused_and_sends_nothing(project: Sandbox, serve: Serve) -> None:
    server = in_both(serve, "http")
    api = handle(project, 0, host=f"https://127.0.0.1:{server.port}", more=f"verify = false\n{HEADERS}")

    assert failure(api).startswith(f"redirected to 'http://127.0.0.1:{server.port}/b'")
    assert len(server.requests) == 1


def test_a_redirect_to_https_on_the_same_host_keeps_them(project: Sandbox, serve: Serve) -> None:
    server = in_both(serve, "https")
    api = handle(project, 0, host=f"http://127.0.0.1:{server.port}", more=f"verify = false\n{HEADERS}")

    assert api.get("/a").status_code == 200
    assert [sent(request)["authorization"] for request in server.requests] == [TOKEN, TOKEN]
