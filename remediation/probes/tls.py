"""Whose certificates are believed, and in plain words what is wrong with one."""

from __future__ import annotations

import errno
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import cast

from remediation.messages.message import english
from remediation.probes import deadline_io

# Of the codes in openssl/x509_vfy.h, those that a person can do something about.
_PROBLEMS = {9: "cert_early", 10: "cert_expired", 23: "cert_revoked", 26: "cert_purpose"}
_SELF_SIGNED = 18
_UNKNOWN_SIGNER = {2, 19, 20, 21}
_OTHER_NAME = {62, 64}
# What OpenSSL, in its versions, says of bytes that are no TLS.
_NO_TLS = {"HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "WRONG_VERSION_NUMBER"}
_NO_CERTIFICATE = {"ASN1", "PEM", "X509"}
# A certificate may have hundreds of names; a sentence has not.
_NAMES = 3


def context(*, verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    """Return how to speak TLS with a server whose certificate `ca_file` must have signed, or somebody `trusted`.

    OSError if the file cannot be used.
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
    # As urllib3 has it, so that a probe believes what a check believes.
    strict.hostname_checks_common_name = False
    return strict


def trusted() -> str:
    """Return the file or folder of those whom this machine trusts; that of requests if it has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return paths.cafile
    with suppress(OSError):
        if paths.capath and any(os.scandir(paths.capath)):
            return paths.capath
    import certifi

    return certifi.where()


def problem(error: ssl.SSLError, *, host: str, port: int, ca_file: Path | None, deadline: float) -> str:
    """Say in plain words why there is no TLS with a server.

    A certificate of another name is looked at once more, until `deadline` on the monotonic clock, to tell whose it is.
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
    """Return the names of a server's certificate if it is good but for them; none if it cannot be had."""
    with suppress(OSError, ValueError):
        curious = context(verify=True, ca_file=ca_file)
        curious.check_hostname = False
        with (
            deadline_io.connect(host, port, deadline) as plain,
            curious.wrap_socket(plain, server_hostname=host) as secure,
        ):
            pairs = cast("tuple[tuple[str, str], ...]", (secure.getpeercert() or {}).get("subjectAltName", ()))
            return [name for kind, name in pairs if kind in ("DNS", "IP Address")]
    return []
