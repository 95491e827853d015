"""Send a service an HTTP request within a deadline that no server can stretch.

This does not use requests, whose import would take longer than most heals.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from remediation.config.model import Service
from remediation.messages.message import english
from remediation.probes import deadline_io

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse

# The first digit of every HTTP status that means success or a redirect, RFC 9110 section 15.3 and 15.4.
_SUCCESS, _REDIRECT = 2, 3
_REFUSED = (401, 403)


class Answer(NamedTuple):
    """The answer of a service."""

    status: int
    body: bytes = b""
    location: str = ""
    """Where a redirect leads."""
    content_type: str = ""

    @property
    def problem(self) -> str | None:
        """Why the answer is not a success, or None if it is one."""
        if self.status // 100 == _SUCCESS:
            return None
        if self.status // 100 == _REDIRECT and self.location:
            # A query may hold a token.
            place = deadline_io.beginning(self.location.partition("?")[0])
            return english("status_redirect", status=self.status, place=place)
        return english("status_refused" if self.status in _REFUSED else "status", status=self.status)


def get(service: Service, path: str, *, deadline: float, most: int = 0, any_status: bool = False) -> Answer:
    """Return the service's answer at a path; if `most` is not 0, with the body of a success, or of `any_status`.

    It follows no redirect. OSError or ValueError if there is no answer before `deadline`, on the monotonic clock, or
    if the body has more than `most` bytes; `why` explains the error.
    """
    import http.client

    address = service.address
    if address is None:
        raise ValueError(english("no_url"))
    secure = address.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    # Over a socket, the name in the Host header says nothing.
    connection = kind("localhost") if address.socket else kind(address.host, address.port)
    try:
        connection.sock = deadline_io.connect_to(address, deadline)
        if secure:
            from remediation.probes import tls

            context = tls.context(verify=service.verify, ca_file=service.ca_file)
            connection.sock = context.wrap_socket(connection.sock, server_hostname=address.host)
        connection.request("GET", address.base_path + path, headers=_headers(service))
        connection.response_class = partial(_response, deadline=deadline)  # type: ignore[assignment]
        with connection.getresponse() as response:
            location, content_type = (response.headers.get(name, "") for name in ("Location", "Content-Type"))
            answer = Answer(response.status, location=location, content_type=content_type)
            has_body = most and (any_status or not answer.problem)
            return answer._replace(body=_body(response, most)) if has_body else answer
    except http.client.IncompleteRead:
        raise ValueError(english("breaks_off")) from None
    except http.client.HTTPException as error:
        raise ValueError(deadline_io.no_http(error)) from error
    finally:
        connection.close()


def post(url: str, body: bytes, *, deadline: float) -> int:
    """Send a text to a URL, and return the status of the answer. It follows no redirect, and uses no proxy.

    OSError or ValueError if there is no answer before `deadline`, on the monotonic clock.
    """
    import http.client

    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    if secure:
        from remediation.probes import tls

        context = tls.context(verify=True, ca_file=None)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, parts.port, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port)
    try:
        connection.sock = deadline_io.connect(host, connection.port, deadline)
        if secure:
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        headers = {"Connection": "close", "User-Agent": "auto-heal", "Content-Type": "text/plain; charset=utf-8"}
        connection.request("POST", path, body=body, headers=headers)
        connection.response_class = partial(_response, deadline=deadline)  # type: ignore[assignment]
        with connection.getresponse() as response:
            return response.status
    except http.client.HTTPException as error:
        raise ValueError(deadline_io.no_http(error)) from None
    finally:
        connection.close()


def _headers(service: Service) -> dict[str, str]:
    given = service.request_headers
    agent = {} if any(name.lower() == "user-agent" for name in given) else {"User-Agent": "auto-heal"}
    return {"Connection": "close"} | agent | given


def _response(connection: socket.socket, *, deadline: float, method: str | None = None) -> HTTPResponse:
    from http.client import HTTPResponse

    return HTTPResponse(deadline_io.Until(connection, deadline), method=method)  # type: ignore[arg-type]


def _body(response: HTTPResponse, most: int) -> bytes:
    """Return the whole body. ValueError if it has more than `most` bytes."""
    # The buffer has a fixed size, because a server can claim any length.
    buffer, size = bytearray(most + 1), 0
    with memoryview(buffer) as view:
        while size <= most and (count := response.readinto(view[size:])):
            size += count
    if size > most:
        raise ValueError(english("too_long", size=most))
    if response.length:
        raise ValueError(english("breaks_off"))
    return bytes(buffer[:size])


def why(error: Exception, service: Service, deadline: float) -> str:
    """Return in plain words what an error of a request means."""
    import ssl

    if isinstance(error, ssl.SSLError) and (address := service.address):
        from remediation.probes import tls

        return tls.problem(error, host=address.host, port=address.port, ca_file=service.ca_file, deadline=deadline)
    return deadline_io.why(error)
