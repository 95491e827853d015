"""A certificate is read as it is verified, whatever the server does meanwhile."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from answering import Server, drip, endless, full_queue
from certificates import NOW, context, self_signed

from remediation.probes import certificate
from remediation.probes.certificate import Certificate

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA(organization_name="Our Own")


def shown(number: int, *, ca_file: Path | None = None, verify: bool = True, seconds: float = 10.0) -> Certificate:
    """Return the certificate that the server at a port of localhost shows."""
    return certificate.of(
        "localhost", number, verify=verify, ca_file=ca_file, deadline=time.monotonic() + seconds
    )  # fmt: skip


def test_a_certificate_that_is_trusted_is_described(serve: Serve, authority: trustme.CA, tmp_path: Path) -> None:
    until = NOW + timedelta(days=9)
    leaf = authority.issue_cert("localhost", "shop.example", not_after=until)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = serve(b"", context=context(leaf))

    found = shown(server.port, ca_file=tmp_path / "ca.pem")

    assert found == Certificate("Our Own", ("localhost", "shop.example"), until.replace(microsecond=0))
    assert 8.9 < found.seconds_left / 86_400 < 9


@pytest.mark.parametrize("days", [-1, 9])
def test_without_verification_any_certificate_is_described_even_one_that_has_expired(
    serve: Serve, authority: trustme.CA, days: int
) -> None:
    until = NOW + timedelta(days=days)
    leaf = authority.issue_cert("other.example", not_before=NOW - timedelta(days=5), not_after=until)
    server = serve(b"", context=context(leaf))

    found = shown(server.port, verify=False)

    assert found == Certificate("Our Own", ("other.example",), until.replace(microsecond=0))


def test_without_verification_a_self_signed_certificate_is_described(serve: Serve, tmp_path: Path) -> None:
    found = shown(serve(b"", context=self_signed(tmp_path)).port, verify=False)

    assert (found.issuer, found.names) == ("me", ("localhost",))


def test_one_that_is_not_trusted_is_refused(serve: Serve, authority: trustme.CA) -> None:
    server = serve(b"", context=context(authority.issue_cert("localhost")))

    with pytest.raises(ssl.SSLCertVerificationError):
        shown(server.port)


# A TLS record of the type handshake that claims 16 KiB, RFC 8446 section 5.1.
RECORD = b"\x16\x03\x03\x40\x00"


@pytest.mark.parametrize("verify", [True, False])
def test_a_server_that_drips_cannot_stretch_the_deadline(serve: Serve, *, verify: bool) -> None:
    server, began = serve(lambda: drip(RECORD, b"\0")), time.monotonic()

    with pytest.raises(TimeoutError):
        shown(server.port, seconds=0.4, verify=verify)

    assert time.monotonic() - began < 1.5


def test_a_server_that_never_accepts_cannot_stretch_the_deadline() -> None:
    with full_queue() as number:
        began = time.monotonic()

        with pytest.raises(TimeoutError):
            shown(number, seconds=0.4)

    assert time.monotonic() - began < 1.5


def test_an_endless_answer_ends_the_handshake(serve: Serve) -> None:
    server = serve(lambda: endless(b"", b"x" * 65_536))

    with pytest.raises(ssl.SSLError):
        shown(server.port, seconds=5)
