"""TLS: which certificates to trust, and in plain words what is wrong with one."""

from __future__ import annotations

import errno
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import cast

from remediation.messages.message import english
from remediation.probes import deadline_io

# The codes in openssl/x509_vfy.h about which a person can do something.
_PROBLEMS = {9: "cert_early", 10: "cert_expired", 23: "cert_revoked", 26: "cert_purpose"}
_SELF_SIGNED = 18
_UNKNOWN_SIGNER = {2, 19, 20, 21}
_OTHER_NAME = {62, 64}
# The reasons that the versions of OpenSSL give for bytes that are not TLS.
_NO_TLS = {"HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "WRONG_VERSION_NUMBER"}
_NO_CERTIFICATE = {"ASN1", "PEM", "X509"}
# A certificate may have hundreds of names; a sentence shows this many.
_NAMES = 3


def context(*, verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities in `ca_file`, or by default those of `trusted`.

    Without `verify`, it accepts every certificate. OSError if the file cannot be used.
    """
    if not verify:
        lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        lenient.check_hostname, lenient.verify_mode = False, ssl.CERT_NONE
        return lenient
    authorities = ca_file or Path(trusted())
    folder = authorities.is_dir()
    try:
        strict = ssl.create_default_context(
            cafile=None if folder else str(authorities), capath=str(authorities) if folder else None
        )
    except ssl.SSLError:
        raise OSError(errno.EINVAL, english("no_certificates", file=authorities)) from None
    # As in urllib3, so that a probe trusts what a check trusts.
    strict.hostname_checks_common_name = False
    return strict


def trusted() -> str:
    """Return the file or folder of the authorities that this machine trusts; requests' own if it has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return paths.cafile
    with suppress(OSError):
        if paths.capath and any(os.scandir(paths.capath)):
            return paths.capath
    import certifi

    return certifi.where()


def connected(context: ssl.SSLContext, host: str, number: int, deadline: float) -> ssl.SSLSocket:
    """Return a connection to a port after the handshake; OSError if it fails before `deadline`, on the monotonic clock.

    OpenSSL's own limit on a chain bounds the memory.
    """
    plain = deadline_io.connect(host, number, deadline)
    try:
        plain.settimeout(deadline_io.left(deadline))
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def problem(error: ssl.SSLError, *, host: str, port: int, ca_file: Path | None, deadline: float) -> str:
    """Return in plain words why a TLS handshake with a server failed.

    If the certificate is for another name, this connects again, until `deadline` on the monotonic clock, to read the
    names.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        names = _names(host, port, ca_file, deadline) if error.verify_code in _OTHER_NAME else []
        return _of_certificate(error, host, ca_file, names)
    if error.library in _NO_CERTIFICATE:
        return english("no_certificates", file=ca_file) if ca_file else english("no_trusted")
    if error.reason in _NO_TLS:
        return english("no_tls")
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return english("tls_broke")
    return english("tls_failed", problem=(error.reason or str(error)).lower().replace("_", " "))


def _of_certificate(error: ssl.SSLCertVerificationError, host: str, ca_file: Path | None, names: list[str]) -> str:
    code = error.verify_code
    if code in _OTHER_NAME:
        key = "cert_names" if len(names) > _NAMES else "cert_name" if names else "cert_other"
        return english(key, names=", ".join(names[:_NAMES]), count=len(names) - _NAMES, host=host)
    if code in _UNKNOWN_SIGNER:
        return english("cert_signer_file", file=ca_file) if ca_file else english("cert_signer")
    if code == _SELF_SIGNED:
        return english("cert_self_file" if ca_file else "cert_self")
    return english(_PROBLEMS.get(code, "cert_problem"), problem=error.verify_message)


def _names(host: str, port: int, ca_file: Path | None, deadline: float) -> list[str]:
    """Return the names in a server's certificate if it is valid apart from them; none if we cannot get it."""
    with suppress(OSError, ValueError):
        any_name = context(verify=True, ca_file=ca_file)
        any_name.check_hostname = False
        with connected(any_name, host, port, deadline) as secure:
            pairs = cast("tuple[tuple[str, str], ...]", (secure.getpeercert() or {}).get("subjectAltName", ()))
            return [name for kind, name in pairs if kind in ("DNS", "IP Address")]
    return []
