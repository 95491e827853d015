"""The certificate that a server shows: who issued it, for which names, and until when."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from remediation.probes import tls

if TYPE_CHECKING:
    from collections.abc import Iterable

# X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h, which Python's module has no name for.
_NO_CHECK_TIME = 0x200000


class Certificate(NamedTuple):
    """The certificate of a server."""

    issuer: str
    """The common name of who signed it, or its organization."""
    names: tuple[str, ...]
    """The names and IP addresses that it is for."""
    not_after: datetime
    """When it expires."""

    @property
    def seconds_left(self) -> float:
        """The seconds until it expires, negative after that."""
        return (self.not_after - datetime.now(timezone.utc)).total_seconds()


def of(host: str, number: int, *, verify: bool, ca_file: Path | None, deadline: float) -> Certificate:
    """Return the certificate of the server at a port, verified as for a service with an https url.

    Without `verify`, any certificate is returned, also one that has expired. OSError if the connection or the
    handshake fails before `deadline`, on the monotonic clock; `tls.problem` explains an SSLError.
    """
    context = tls.context(verify=verify, ca_file=ca_file)
    with tls.connected(context, host, number, deadline) as secure:
        shown = secure.getpeercert() or {}
        encoded = secure.getpeercert(binary_form=True)
    if not verify and encoded:
        # Python decodes only a certificate that it verified, so this one has to vouch for itself.
        with tls.connected(_trusting_only(encoded), host, number, deadline) as secure:
            shown = secure.getpeercert() or {}
    return _certificate(shown)


def _trusting_only(encoded: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=encoded)
    context.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    return context


def _certificate(shown: Any) -> Certificate:
    issuer = {name: value for part in shown.get("issuer", ()) for name, value in part}
    names: Iterable[tuple[str, str]] = shown.get("subjectAltName", ())
    return Certificate(
        issuer.get("commonName") or issuer.get("organizationName") or "?",
        tuple(name for kind, name in names if kind in ("DNS", "IP Address")),
        datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), timezone.utc),
    )
