"""Why there is no whole answer, in one sentence: what lies below the layers of requests and urllib3.

Loaded by the first request that fails.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from urllib3 import exceptions

from remediation.checks.transport import MOST_BYTES, MOST_REDIRECTS, ElsewhereError, TooLongError
from remediation.config.model import Service
from remediation.messages.message import printable
from remediation.probes import deadline_io, tls

# Of an error that nobody foresaw, in characters.
_LONGEST = 200


def is_late(error: BaseException) -> bool:
    """Return whether nothing is wrong but that the time is over."""
    return isinstance(error, (requests.Timeout, exceptions.ReadTimeoutError)) or type(error) is TimeoutError


def why(error: Exception, service: Service, deadline: float) -> str:
    """Say why there is no whole answer; a certificate may be looked at once more, until `deadline`."""
    match error:
        case requests.TooManyRedirects():
            return f"redirected more than {MOST_REDIRECTS} times"
        case ElsewhereError():
            return f"redirected to {error}, away from {service.address}; what is there says nothing of the service"
        case TooLongError():
            return f"the answer is longer than {MOST_BYTES >> 20} MiB, which is as much as a check takes in"
        case exceptions.DecodeError():
            return f"the body cannot be decompressed: {printable(str(error.args[0]))[:_LONGEST]}"
    told = _told(error, service, deadline)
    # What requests did not wrap came up when the head was there already.
    return f"the answer broke off: {told}" if isinstance(error, exceptions.HTTPError) else told


def _told(error: Exception, service: Service, deadline: float) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if told := _of(cause, error, service, deadline):
            return told
    last = causes[-1]
    return printable(f"{type(last).__name__}: {last}")[:_LONGEST]


def _of(cause: BaseException, error: Exception, service: Service, deadline: float) -> str | None:
    """Say what one of an error's causes means, or None if another one may say more."""
    match cause:
        case ssl.SSLError():
            host, port = _asked(error, service)
            return tls.problem(cause, host=host, port=port, ca_file=service.ca_file, deadline=deadline)
        case socket.gaierror():
            whose = "the name of the proxy" if isinstance(error, requests.exceptions.ProxyError) else "its name"
            return f"{whose} does not resolve: {str(cause.strerror).lower()}"
        case http.client.IncompleteRead() | exceptions.IncompleteRead():
            return _incomplete(cause)
        case http.client.HTTPException():
            return deadline_io.no_http(cause)
        case OSError() if cause.strerror and type(cause).__module__ == "builtins":
            return cause.strerror.lower()
    return None


def _incomplete(cause: http.client.IncompleteRead | exceptions.IncompleteRead) -> str:
    there = cause.partial if isinstance(cause.partial, int) else len(cause.partial)
    return f"{cause.expected} bytes are missing after {there}" if cause.expected else "its end is missing"


def _asked(error: Exception, service: Service) -> tuple[str, int]:
    """Return host and port of the request that failed, which a redirect may have led to another port."""
    request = getattr(error, "request", None)
    parts = urlsplit(getattr(request, "url", None) or (service.address.url if service.address else ""))
    return parts.hostname or "", parts.port or 443


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, from the top downwards."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        current = pending.pop(0)
        if not isinstance(current, BaseException) or current in seen:
            continue
        seen.append(current)
        yield current
        pending += [getattr(current, "reason", None), current.__cause__, current.__context__, *current.args]
