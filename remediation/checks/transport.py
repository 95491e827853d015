"""HTTP requests that end within the time of an attempt and use limited memory, whatever the server does.

The first request loads this module, because it needs requests.
"""

from __future__ import annotations

import codecs
import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from typing import Any, NoReturn
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from remediation.checks.errors import ServiceDown
from remediation.config.model import Service
from remediation.messages.message import Message, english, printable
from remediation.probes import deadline_io, tls


def _connect(connection: HTTPConnection, path: str | None = None) -> socket.socket:
    """Do what `_new_conn` does, but for all addresses of the host within one timeout, or to the socket at a path."""
    deadline = _deadline(connection)
    try:
        if path:
            return deadline_io.connect_to_socket(path, deadline)
        # `host` lacks the trailing dot that makes a name absolute.
        sock = deadline_io.connect(getattr(connection, "_dns_host", connection.host), connection.port, deadline)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "timed out") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    for option in connection.socket_options or ():
        sock.setsockopt(*option)
    # The remaining time is for the TLS handshake, for which the timeout applies as a whole.
    sock.settimeout(max(0.001, deadline - time.monotonic()))
    return sock


def _deadline(connection: HTTPConnection) -> float:
    """Return the end of the connection's timeout for its next step."""
    timeout = connection.timeout
    return time.monotonic() + (timeout if isinstance(timeout, (int, float)) else socket.getdefaulttimeout() or 3600.0)


def _until_deadline(connection: HTTPConnection, sock: Any) -> Any:
    """Return the reading end of a connection, and acknowledge at once what arrives, tcp(7).

    Many servers send head and body apart. On a connection in use, the body would wait for our acknowledgement of the
    head, and that for 40 ms.
    """
    with suppress(AttributeError, OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return deadline_io.Until(sock, _deadline(connection))


class _Response(HTTPResponse):
    def begin(self) -> None:
        """Read the head. HTTPException for several lengths, after which urllib3 would leave the connection open."""
        super().begin()
        lines = self.headers.get_all("Content-Length", ())
        if len(lengths := {length.strip() for line in lines for length in line.split(",")}) > 1:
            raise HTTPException(f"it has {len(lengths)} lengths")


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def response_class(self, connection: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        return _Response(_until_deadline(self, connection), **options)


class _Secure(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def response_class(self, connection: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        return _Response(_until_deadline(self, connection), **options)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure

    def _validate_conn(self, conn: Any) -> None:
        """Connect, without urllib3's warning about `verify = false` for every request."""
        if conn.is_closed:
            conn.connect()


POOLS = {"http": _PlainPool, "https": _SecurePool}
# What a request over a Unix socket asks for: no name leads there.
SOCKET_URL = "http://localhost"


def _pools_of(path: str) -> dict[str, type[HTTPConnectionPool]]:
    """Return the pools whose connections all lead to a Unix socket."""

    class OverSocket(_Plain):
        def _new_conn(self) -> socket.socket:
            return _connect(self, path)

    class SocketPool(HTTPConnectionPool):
        ConnectionCls = OverSocket

    return {"http": SocketPool}


# The limit for the decompressed bodies of a response and of the redirects to it, in bytes.
MOST_BYTES = 8 * 2**20
MOST_REDIRECTS = 20
# The bytes to read at once, and the most to decompress beyond the limit.
_CHUNK = 65_536
# The bytes from which the encoding of a text is guessed; the whole of a long text would take seconds.
_SAMPLE = 16_384
# Encodings of Python that are not charsets: they are very slow for long texts, warn, or fail instead of replacing.
_NO_CHARSETS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TooLongError(requests.RequestException):
    """A body that exceeds the limit of a check."""


class ElsewhereError(requests.RequestException):
    """A redirect away from the service; the message has its target, without credentials and query."""


class Limits:
    """The limits of a response: its time, its size, and where redirects may lead."""

    def __init__(self, deadline: float, *, connect: float | None = None, read: float | None = None) -> None:
        """Set the `deadline`, on the monotonic clock; `connect` and `read` are requests' timeouts, in seconds."""
        self.deadline = deadline
        self.bytes_left = MOST_BYTES
        self._first_url = ""
        self._connect, self._read = connect, read

    @classmethod
    def of(cls, timeout: Any, deadline: float) -> Limits:
        """Return the limits of a request with requests' option `timeout`, which cannot extend the deadline."""
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        return cls(deadline, connect=connect, read=read)

    def timeout(self) -> Any:
        """Return the remaining time, for urllib3."""
        import urllib3

        left = max(0.001, self.deadline - time.monotonic())
        return urllib3.Timeout(total=left, connect=self._connect, read=self._read)

    def take(self, size: int) -> None:
        """Count `size` more bytes. TooLongError beyond the limit, TimeoutError after the deadline."""
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise TooLongError
        if time.monotonic() > self.deadline:
            raise TimeoutError

    def check_url(self, url: str) -> None:
        """Remember the first URL as the service. ElsewhereError for a later one that leads away from it."""
        if not self._first_url:
            self._first_url = url
            return
        first, parts = urlsplit(self._first_url), urlsplit(url)
        ports = _port(first), _port(parts)
        same_port = ports[0] == ports[1] or ports == (_DEFAULT_PORTS["http"], _DEFAULT_PORTS["https"])
        if not (same_port and parts.scheme in (first.scheme, "https") and parts.hostname == first.hostname):
            raise ElsewhereError(
                deadline_io.beginning(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
            )


def _port(parts: SplitResult) -> int | None:
    return parts.port or _DEFAULT_PORTS.get(parts.scheme)


class Answer(requests.Response):
    """A complete response. Its headers need not be true."""

    what = "the answer"
    """The request, as the beginning of a sentence."""

    def json(self, **options: Any) -> Any:
        """Return the body's JSON, RFC 8259; `options` are those of `json.loads`.

        Raises ServiceDown if the body is not JSON: empty, truncated, nested too deeply, or not in its declared
        encoding.
        """
        __tracebackhide__ = True
        body = self.content
        if not body.strip():
            raise ServiceDown(english("empty_body", what=self.what, status=self.status_code))
        text = self._json_text(body)
        try:
            return json.loads(text, **options)
        except RecursionError:
            self._refuse(english("too_deep"))
        except json.JSONDecodeError as error:
            problem = f"{error.msg[:1].lower()}{error.msg[1:]}"
            self._refuse(english("no_json_at", problem=problem, line=error.lineno, column=error.colno))
        except ValueError as error:
            # A number with thousands of digits.
            self._refuse(english("bad_json", problem=str(error).partition(":")[0]))

    def _json_text(self, body: bytes) -> str:
        """Decode the body in UTF, which JSON requires, or else in the encoding that the server declares."""
        try:
            return body.decode(json.detect_encoding(body))
        except UnicodeDecodeError as error:
            wrong = Message("wrong_byte", {"byte": f"{body[error.start]:#x}", "place": error.start})
        declared = self.encoding or "utf-8"
        try:
            return body.decode(declared)
        except (LookupError, UnicodeError):
            key = "not_utf8" if declared.lower() in ("utf-8", "utf8") else "not_declared"
            self._refuse(english(key, wrong=wrong, declared=deadline_io.beginning(declared)))

    def _refuse(self, problem: str) -> NoReturn:
        __tracebackhide__ = True
        values = {"what": self.what, "problem": problem, "start": deadline_io.beginning(self.content)}
        key = "bad_body" if self.ok else "bad_body_status"
        raise ServiceDown(english(key, status=self.status_code, **values)) from None

    @cached_property
    def apparent_encoding(self) -> str | None:  # type: ignore[override]
        """The encoding, guessed from the beginning of the body."""
        sample = requests.Response()
        sample._content = self.content[:_SAMPLE]  # noqa: SLF001 - as in requests' own adapter
        try:
            # Incremental, because the last character may be incomplete.
            codecs.getincrementaldecoder("utf-8")().decode(sample.content)
        except UnicodeDecodeError:
            return sample.apparent_encoding
        return "utf-8"


class Authorization(requests.auth.AuthBase):
    """The service's Authorization, which precedes that of a .netrc; a check may send its own."""

    def __init__(self, value: str) -> None:
        """Send this value."""
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header to a request."""
        request.headers.setdefault("Authorization", self._value)
        return request


class Session(requests.Session):
    """Follows redirects with a valid target, and sends the same headers there: they never leave the service."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Keep the credentials: a redirect to another host, port or scheme but https is refused."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the target of a redirect. ElsewhereError if it is not a URL."""
        try:
            if target := super().get_redirect_target(resp):
                # Raises ValueError here for an invalid URL, and not only later in requests.
                urlsplit(urljoin(resp.url, target)).port  # noqa: B018
        except ValueError:
            place = deadline_io.beginning(resp.headers["Location"])
            raise ElsewhereError(english("bad_redirect", place=place)) from None
        return target

    def resolve_redirects(self, *args: Any, yield_requests: bool = False, **options: Any) -> Any:
        """Follow redirects. One that is returned to the check may lead anywhere, so prepare no next request for it."""
        return iter(()) if yield_requests else super().resolve_redirects(*args, **options)


class Adapter(requests.adapters.HTTPAdapter):
    """Sends requests to the service only, and enforces the limits of the response."""

    def __init__(self, path: str | None = None) -> None:
        """Send all requests to the Unix socket at a path, if one is given."""
        self._path = path
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Use connections with a deadline."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools_of(self._path) if self._path else POOLS

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """Use such connections to a proxy as well, except for SOCKS, which has its own."""
        manager = super().proxy_manager_for(proxy, **options)
        if not str(proxy).lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def send(self, request: requests.PreparedRequest, **options: Any) -> Answer:  # type: ignore[override]
        """Return the complete response; `timeout` is a Limits. ElsewhereError for a redirect away from the service."""
        limits: Limits = options["timeout"]
        url = request.url or ""
        limits.check_url(url)
        if self._path and not url.startswith("http:"):
            raise ElsewhereError(deadline_io.beginning(url.partition("?")[0]))
        if options.get("verify") is True and url.startswith("https:"):
            options["verify"] = tls.trusted()
        response = super().send(request, **{**options, "stream": True, "timeout": limits.timeout()})
        answer = Answer()
        vars(answer).update(vars(response))
        answer._content = _body(answer, limits)  # noqa: SLF001 - requests stores the body there
        answer._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001
        answer.raw = io.BytesIO(answer.content)
        answer.encoding = _charset(answer.encoding)
        return answer


def _charset(declared: str | None) -> str | None:
    """Return the charset that a server declares, or None if it is not safe to decode with."""
    try:
        return None if declared and codecs.lookup(declared).name.replace("-", "_") in _NO_CHARSETS else declared
    except LookupError:
        return declared
    except ValueError:
        return None


def _body(response: requests.Response, limits: Limits) -> bytes:
    """Read the body within the limits, even if a server sends single bytes slowly."""
    body = io.BytesIO()
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            limits.take(len(chunk))
            body.write(chunk)
    finally:
        response.close()
    return body.getvalue()


# The longest text of an unexpected error, in characters.
_LONGEST = 200


def is_late(error: BaseException) -> bool:
    """Return whether an error is only a timeout."""
    return isinstance(error, (requests.Timeout, exceptions.ReadTimeoutError)) or type(error) is TimeoutError


def reason(error: Exception, service: Service, deadline: float) -> str:
    """Return why there is no complete response; a certificate may be requested again, until `deadline`."""
    match error:
        case requests.TooManyRedirects():
            return english("redirects", times=MOST_REDIRECTS)
        case ElsewhereError():
            return english("redirected", place=error, url=service.address)
        case TooLongError():
            return english("too_big", size=MOST_BYTES >> 20)
        case exceptions.DecodeError():
            return english("not_decompressed", problem=printable(str(error.args[0]))[:_LONGEST])
    problem = _problem(error, service, deadline)
    # requests wraps only errors before the end of the head, so others occurred in the body.
    return english("broke_off", problem=problem) if isinstance(error, exceptions.HTTPError) else problem


def _problem(error: Exception, service: Service, deadline: float) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if problem := _problem_of_cause(cause, error, service, deadline):
            return problem
    last = causes[-1]
    return printable(f"{type(last).__name__}: {last}")[:_LONGEST]


def _problem_of_cause(cause: BaseException, error: Exception, service: Service, deadline: float) -> str | None:
    """Return the meaning of one of an error's causes, or None if another cause may be more specific."""
    match cause:
        case ssl.SSLError():
            host, port = _requested_address(error, service)
            return tls.problem(cause, host=host, port=port, ca_file=service.ca_file, deadline=deadline)
        case socket.gaierror():
            key = "proxy_unresolved" if isinstance(error, requests.exceptions.ProxyError) else "unresolved"
            return english(key, problem=str(cause.strerror).lower())
        case http.client.IncompleteRead() | exceptions.IncompleteRead():
            return _incomplete(cause)
        case http.client.HTTPException():
            return deadline_io.no_http(cause)
        case OSError() if cause.strerror and type(cause).__module__ == "builtins":
            return cause.strerror.lower()
    return None


def _incomplete(cause: http.client.IncompleteRead | exceptions.IncompleteRead) -> str:
    received = cause.partial if isinstance(cause.partial, int) else len(cause.partial)
    return english("bytes_missing", count=cause.expected, there=received) if cause.expected else english("end_missing")


def _requested_address(error: Exception, service: Service) -> tuple[str, int]:
    """Return host and port of the failed request; after a redirect, the port may differ from the service's."""
    request = getattr(error, "request", None)
    parts = urlsplit(getattr(request, "url", None) or (service.address.url if service.address else ""))
    return parts.hostname or "", parts.port or 443


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, from the outermost on."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        current = pending.pop(0)
        if not isinstance(current, BaseException) or current in seen:
            continue
        seen.append(current)
        yield current
        pending += [getattr(current, "reason", None), current.__cause__, current.__context__, *current.args]
