"""A whole answer, within the time of an attempt and a bounded memory, whatever the server makes of it.

Loaded by the first request, since it needs requests.
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


def _connect(connection: HTTPConnection) -> socket.socket:
    """Do what `_new_conn` does, but for all addresses of the host within one timeout."""
    deadline = _deadline(connection)
    try:
        # `host` lacks the dot at its end that makes a name absolute.
        made = deadline_io.connect(getattr(connection, "_dns_host", connection.host), connection.port, deadline)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "timed out") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    for option in connection.socket_options or ():
        made.setsockopt(*option)
    # What is left of it is for the handshake of TLS, which takes a timeout for all of itself.
    made.settimeout(max(0.001, deadline - time.monotonic()))
    return made


def _deadline(connection: HTTPConnection) -> float:
    """Return when the timeout that the connection was given for its next step is over."""
    timeout = connection.timeout
    return time.monotonic() + (timeout if isinstance(timeout, (int, float)) else socket.getdefaulttimeout() or 3600.0)


class _Response(HTTPResponse):
    def begin(self) -> None:
        """Read the head. HTTPException for one with several lengths, which urllib3 would leave open."""
        super().begin()
        lines = self.headers.get_all("Content-Length", ())
        if len(lengths := {length.strip() for line in lines for length in line.split(",")}) > 1:
            raise HTTPException(f"it has {len(lengths)} lengths")


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def response_class(self, connection: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        return _Response(deadline_io.Until(connection, _deadline(self)), **options)  # type: ignore[arg-type]


class _Secure(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def response_class(self, connection: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        return _Response(deadline_io.Until(connection, _deadline(self)), **options)  # type: ignore[arg-type]


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure

    def _validate_conn(self, conn: Any) -> None:
        """Connect. Who set `verify = false` need not be warned of it by every request."""
        if conn.is_closed:
            conn.connect()


POOLS = {"http": _PlainPool, "https": _SecurePool}


# What a check can take in: the bodies of an answer and of the redirects that led to it, decompressed.
MOST_BYTES = 8 * 2**20
MOST_REDIRECTS = 20
# So much is read at a time, and so little is decompressed beyond what is allowed.
_CHUNK = 65_536
# By so much of a text its encoding is guessed; to look through all of a long one takes seconds.
_SAMPLE = 16_384
# Encodings of Python that are no charsets: they take for ever over a long text, warn, or fail where others replace.
_NO_CHARSETS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TooLongError(requests.RequestException):
    """A body that goes on beyond what a check can take in."""


class ElsewhereError(requests.RequestException):
    """A redirect to what is not the service; the message names it, without credentials and query."""


class Limits:
    """How long an answer may take, and how much of it there may be."""

    def __init__(self, deadline: float, *, connect: float | None = None, read: float | None = None) -> None:
        """Allow an answer until `deadline`, on the monotonic clock; the rest is in seconds, as requests has it."""
        self.deadline = deadline
        self.room = MOST_BYTES
        self._home = ""
        self._connect, self._read = connect, read

    @classmethod
    def of(cls, timeout: Any, deadline: float) -> Limits:
        """Return the limits of a request with requests' option `timeout`, which cannot stretch the deadline."""
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        return cls(deadline, connect=connect, read=read)

    def timeout(self) -> Any:
        """Return what is left, for urllib3."""
        import urllib3

        left = max(0.001, self.deadline - time.monotonic())
        return urllib3.Timeout(total=left, connect=self._connect, read=self._read)

    def take(self, size: int) -> None:
        """Take in so many bytes more. TimeoutError or TooLongError if that is too late or too much."""
        self.room -= size
        if self.room < 0:
            raise TooLongError
        if time.monotonic() > self.deadline:
            raise TimeoutError

    def stay_home(self, url: str) -> None:
        """Take the first URL for the service. ElsewhereError for a later one that leads to somebody else."""
        if not self._home:
            self._home = url
            return
        home, parts = urlsplit(self._home), urlsplit(url)
        ports = _port(home), _port(parts)
        same = ports[0] == ports[1] or ports == (_DEFAULT_PORTS["http"], _DEFAULT_PORTS["https"])
        if not (same and parts.scheme in (home.scheme, "https") and parts.hostname == home.hostname):
            raise ElsewhereError(
                deadline_io.beginning(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
            )


def _port(parts: SplitResult) -> int | None:
    return parts.port or _DEFAULT_PORTS.get(parts.scheme)


class Answer(requests.Response):
    """An answer whose body is there; what it says of itself need not be true."""

    what = "the answer"
    """What was asked, to begin a sentence with."""

    def json(self, **options: Any) -> Any:
        """Return the body's JSON, RFC 8259; `options` are those of `json.loads`.

        Raises ServiceDown if it is none: empty, cut short, too deep, or in another encoding than it says.
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
            # A number of thousands of digits.
            self._refuse(english("bad_json", problem=str(error).partition(":")[0]))

    def _json_text(self, body: bytes) -> str:
        """Decode the body: in UTF as JSON has to be, or else in what the server says of it."""
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

    def _refuse(self, why: str) -> NoReturn:
        __tracebackhide__ = True
        values = {"what": self.what, "problem": why, "start": deadline_io.beginning(self.content)}
        key = "bad_body" if self.ok else "bad_body_status"
        raise ServiceDown(english(key, status=self.status_code, **values)) from None

    @cached_property
    def apparent_encoding(self) -> str | None:  # type: ignore[override]
        """The encoding that the beginning of the body looks like."""
        sample = requests.Response()
        sample._content = self.content[:_SAMPLE]  # noqa: SLF001 - as requests' own adapter fills one
        try:
            # Not final, so that the last character may be cut in two.
            codecs.getincrementaldecoder("utf-8")().decode(sample.content)
        except UnicodeDecodeError:
            return sample.apparent_encoding
        return "utf-8"


class Session(requests.Session):
    """Follows redirects whose place can be read."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer leads to. ElsewhereError if that is no URL."""
        try:
            if target := super().get_redirect_target(resp):
                # Whoever reads it later would find out only then that it has no such parts.
                urlsplit(urljoin(resp.url, target)).port  # noqa: B018
        except ValueError:
            place = deadline_io.beginning(resp.headers["Location"])
            raise ElsewhereError(english("bad_redirect", place=place)) from None
        return target

    def resolve_redirects(self, *args: Any, yield_requests: bool = False, **options: Any) -> Any:
        """Follow redirects; one that is handed back may lead anywhere, so no next request is made of it."""
        return iter(()) if yield_requests else super().resolve_redirects(*args, **options)


class Adapter(requests.adapters.HTTPAdapter):
    """Sends what is meant for a service to that service alone, and takes in no more than the limits allow."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make connections that end at a moment."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """Make such connections to a proxy, too; SOCKS has its own."""
        manager = super().proxy_manager_for(proxy, **options)
        if not str(proxy).lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def send(self, request: requests.PreparedRequest, **options: Any) -> Answer:  # type: ignore[override]
        """Return the whole answer; `timeout` is a Limits. ElsewhereError for a redirect that leads away."""
        limits: Limits = options["timeout"]
        url = request.url or ""
        limits.stay_home(url)
        if options.get("verify") is True and url.startswith("https:"):
            options["verify"] = tls.trusted()
        response = super().send(request, **{**options, "stream": True, "timeout": limits.timeout()})
        answer = Answer()
        vars(answer).update(vars(response))
        answer._content = _body(answer, limits)  # noqa: SLF001 - where requests keeps a body that was read
        answer._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001
        answer.raw = io.BytesIO(answer.content)
        answer.encoding = _charset(answer.encoding)
        return answer


def _charset(declared: str | None) -> str | None:
    """Return the charset that a server says its text is in, unless to decode it so would do harm."""
    try:
        return None if declared and codecs.lookup(declared).name.replace("-", "_") in _NO_CHARSETS else declared
    except LookupError:
        return declared
    except ValueError:
        return None


def _body(response: requests.Response, limits: Limits) -> bytes:
    """Read the body, which a server must not stretch by a byte now and then."""
    body = io.BytesIO()
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            limits.take(len(chunk))
            body.write(chunk)
    finally:
        response.close()
    return body.getvalue()


# Of an error that nobody foresaw, in characters.
_LONGEST = 200


def is_late(error: BaseException) -> bool:
    """Return whether nothing is wrong but that the time is over."""
    return isinstance(error, (requests.Timeout, exceptions.ReadTimeoutError)) or type(error) is TimeoutError


def why(error: Exception, service: Service, deadline: float) -> str:
    """Say why there is no whole answer; a certificate may be looked at once more, until `deadline`."""
    match error:
        case requests.TooManyRedirects():
            return english("redirects", times=MOST_REDIRECTS)
        case ElsewhereError():
            return english("redirected", place=error, url=service.address)
        case TooLongError():
            return english("too_big", size=MOST_BYTES >> 20)
        case exceptions.DecodeError():
            return english("not_decompressed", problem=printable(str(error.args[0]))[:_LONGEST])
    told = _told(error, service, deadline)
    # What requests did not wrap came up when the head was there already.
    return english("broke_off", problem=told) if isinstance(error, exceptions.HTTPError) else told


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
    there = cause.partial if isinstance(cause.partial, int) else len(cause.partial)
    return english("bytes_missing", count=cause.expected, there=there) if cause.expected else english("end_missing")


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
