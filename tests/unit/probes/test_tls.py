"""Trusted certificates: checks and the readiness probe trust the same ones, and say the same about others."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from answering import Server, drip, full_queue, redirect, reply, whole
from asking import LATE, failure, handle
from certificates import NOW, context, self_signed
from sandbox import Sandbox

from remediation.checks.client import Handle
from remediation.config.load import load_project
from remediation.probes import deadline_io, readiness, tls

Serve = Callable[..., Server]
OK = whole(b"ok")
HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA()


def configured(
    project: Sandbox, server: Server | int, *, more: str = "", host: str = "localhost", timeout: float = 20.0
) -> Handle:
    """Return the client of a TLS service; with `more`, ca.pem has the only trusted authority."""
    number = server if isinstance(server, int) else server.port
    return handle(project, number, host=f"https://{host}:{number}", more=more, timeout=timeout)


def probed(project: Sandbox, timeout: float = 20.0) -> str | None:
    """Return the problem that the readiness probe finds."""
    return readiness.unready(load_project(project.root, {}).services["api"], timeout=timeout)


def trust(project: Sandbox, authority: trustme.CA) -> str:
    """Return the line of the configuration that trusts an authority."""
    authority.cert_pem.write_to_path(project.root / "ca.pem")
    return 'ca_file = "ca.pem"\n'


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_signed_by_somebody_in_ca_file_is_believed(
    project: Sandbox, serve: Serve, authority: trustme.CA, host: str
) -> None:
    server = serve(OK, context=context(authority.issue_cert("localhost", "127.0.0.1")))

    assert configured(project, server, host=host, more=trust(project, authority)).get("/").text == "ok"
    assert probed(project) is None


def test_with_verify_off_every_certificate_is_taken_without_a_warning(
    project: Sandbox, serve: Serve, tmp_path: Path
) -> None:
    server = serve(OK, context=self_signed(tmp_path))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert configured(project, server, host=HERE, more="verify = false\n").get("/").text == "ok"
        assert probed(project) is None


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "reason"),
    [
        (["localhost"], True, True, "its certificate has expired"),
        (["localhost"], False, False, "its certificate is signed by nobody whom this machine trusts; if it should be"),
        (["shop.example.com"], False, True, "its certificate is for shop.example.com, not for localhost"),
        (["a.example", "b.example", "c.example", "d.example"], False, True, "its certificate is for a.example, b.exam"),
        (["10.0.0.1"], False, True, "its certificate is for 10.0.0.1, not for localhost"),
    ],
    ids=["expired", "untrusted", "another name", "other names", "another address"],
)
def test_a_certificate_that_is_not_believed_is_told_alike_by_check_and_probe(
    project: Sandbox,
    serve: Serve,
    authority: trustme.CA,
    *,
    names: list[str],
    expired: bool,
    trusted: bool,
    reason: str,
) -> None:
    until = NOW - timedelta(hours=1) if expired else None
    server = serve(OK, context=context(authority.issue_cert(*names, not_after=until)))
    api = configured(project, server, more=trust(project, authority) if trusted else "")

    assert failure(api).startswith(reason)
    assert probed(project) == failure(api)
    assert not any(server.requests)


def test_a_certificate_of_a_name_is_not_one_of_an_address(
    project: Sandbox, serve: Serve, authority: trustme.CA
) -> None:
    server = serve(OK, context=context(authority.issue_cert("localhost")))
    api = configured(project, server, host=HERE, more=trust(project, authority))

    assert failure(api) == probed(project) == "its certificate is for localhost, not for 127.0.0.1"


def test_a_self_signed_certificate_is_believed_if_it_is_the_one_in_ca_file(
    project: Sandbox, serve: Serve, tmp_path: Path, authority: trustme.CA
) -> None:
    server = serve(OK, context=self_signed(tmp_path))

    assert failure(configured(project, server)) == "its certificate is self-signed; to trust it, set ca_file"
    assert probed(project) == "its certificate is self-signed; to trust it, set ca_file"
    other = configured(project, server, more=trust(project, authority))
    assert failure(other) == probed(project) == "its certificate is self-signed, and not the one in ca_file"
    assert configured(project, server, more='ca_file = "self.pem"').get("/").text == "ok"
    assert probed(project) is None


def test_another_authority_than_that_of_ca_file_is_told(project: Sandbox, serve: Serve, authority: trustme.CA) -> None:
    server = serve(OK, context=context(trustme.CA(organization_name="Somebody").issue_cert("localhost")))
    api = configured(project, server, more=trust(project, authority))

    assert failure(api) == probed(project) == f"its certificate is signed by nobody in {project.root / 'ca.pem'}"


def test_a_ca_file_without_a_certificate_is_told(project: Sandbox, serve: Serve, authority: trustme.CA) -> None:
    project.write("ca.pem", "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    server = serve(OK, context=context(authority.issue_cert("localhost")))
    api = configured(project, server, more='ca_file = "ca.pem"')

    assert failure(api) == probed(project) == f"{project.root / 'ca.pem'} holds no certificate that can be read"


@pytest.mark.parametrize("verify", [True, False])
def test_what_the_environment_trusts_has_no_say_on_this_machine(
    project: Sandbox, serve: Serve, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, *, verify: bool
) -> None:
    trust(project, authority)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(project.root / "ca.pem"))
    server = serve(OK, context=context(authority.issue_cert("other.example")))
    api = configured(project, server, more="" if verify else "verify = false")

    if verify:
        assert "is signed by nobody whom this machine trusts" in failure(api)
    else:
        assert api.get("/").text == "ok"


def test_what_the_machine_trusts_is_believed_by_check_and_probe(
    project: Sandbox, serve: Serve, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(project, authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(project.root / "ca.pem"))
    server = serve(OK, context=context(authority.issue_cert("localhost")))

    assert configured(project, server).get("/").text == "ok"
    assert probed(project) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OK, "what it answers is no TLS; if it is to be asked without, its url begins with http:"),
        (
            b"SSH-2.0-OpenSSH_9.6\r\n" * 10,
            "what it answers is no TLS; if it is to be asked without, its url begins with",
        ),
        (b"", "it broke the TLS connection off"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "TLS failed: "),
    ],
    ids=["http", "ssh", "nothing", "alert"],
)
def test_what_is_no_tls_is_told_as_what_it_is(project: Sandbox, serve: Serve, answer: bytes, reason: str) -> None:
    api = configured(project, serve(answer))

    assert failure(api).startswith(reason)
    assert (probed(project) or "").startswith(reason)


def test_a_tls_server_that_is_asked_in_plain_is_told(project: Sandbox, serve: Serve, authority: trustme.CA) -> None:
    server = serve(OK, context=context(authority.issue_cert("localhost")))

    failure(handle(project, server.port))

    assert probed(project)


@pytest.mark.parametrize(("begin", "byte"), [(b"", b""), (b"\x16\x03\x03\x40\x00", b"x")])
def test_a_handshake_that_trickles_does_not_stretch_the_time(
    project: Sandbox, serve: Serve, begin: bytes, byte: bytes
) -> None:
    server = serve(lambda: drip(begin, byte))
    api = configured(project, server, timeout=0.5)

    assert failure(api) == LATE
    assert probed(project, 0.5) == "timed out"
    assert not server.finished


def test_an_answer_over_tls_that_trickles_does_not_stretch_the_time(
    project: Sandbox, serve: Serve, authority: trustme.CA
) -> None:
    trickle = [lambda: drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"), lambda: drip(reply(b""), b"x")]
    server = serve(*trickle, trickle[0], context=context(authority.issue_cert("localhost")))
    api = configured(project, server, more=trust(project, authority), timeout=0.5)

    assert failure(api) == LATE
    api = configured(project, server, more=trust(project, authority), timeout=0.5)
    assert failure(api) == LATE
    assert probed(project, 0.5) == "timed out"
    assert not server.finished


def test_an_address_that_swallows_packets_is_given_up_in_time(project: Sandbox) -> None:
    with full_queue() as number:
        assert failure(configured(project, number, timeout=0.5)) == LATE
        assert probed(project, 0.5) == "timed out"


def test_a_redirect_from_http_to_https_of_the_same_port_obeys_the_same_settings(
    project: Sandbox, serve: Serve, authority: trustme.CA
) -> None:
    server: Server = serve(lambda: [redirect(f"https://localhost:{server.port}/")])
    api = handle(project, server.port, host=f"http://localhost:{server.port}", more=trust(project, authority))

    assert failure(api).startswith("what it answers is no TLS")

    assert len(server.requests) == 2


def test_a_connection_that_took_long_leaves_less_for_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(host: str, number: int, _: float) -> socket.socket:
        return socket.create_connection((host, number), 20)

    monkeypatch.setattr(deadline_io, "connect", slow)
    with socket.create_server((HERE, 0)) as silent:
        began = time.monotonic()
        names = tls._names(HERE, silent.getsockname()[1], None, began + 0.2)

    assert names == []
    assert time.monotonic() - began < 10
