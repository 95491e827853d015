"""A whole answer, within the time of an attempt and a bounded memory, whatever the server makes of it.

Loaded by the first request, since it needs requests.
"""

from __future__ import annotations

import codecs
import io
import json
import time
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from remediation.checks.connections import POOLS
from remediation.checks.errors import ServiceDown
from remediation.probes import deadline_io, tls

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
            raise ServiceDown(f"{self.what}: status {self.status_code} with an empty body, where JSON is expected")
        text = self._json_text(body)
        try:
            return json.loads(text, **options)
        except RecursionError:
            self._refuse("its JSON has too many levels")
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            self._refuse(f"no JSON: {error.msg[:1].lower()}{error.msg[1:]} at {place}")
        except ValueError as error:
            # A number of thousands of digits.
            self._refuse(f"its JSON cannot be read: {str(error).partition(':')[0]}")

    def _json_text(self, body: bytes) -> str:
        """Decode the body: in UTF as JSON has to be, or else in what the server says of it."""
        try:
            return body.decode(json.detect_encoding(body))
        except UnicodeDecodeError as error:
            wrong = f"byte {body[error.start]:#x} at {error.start}"
        declared = self.encoding or "utf-8"
        try:
            return body.decode(declared)
        except (LookupError, UnicodeError):
            also = "" if declared.lower() in ("utf-8", "utf8") else f", nor is it {deadline_io.beginning(declared)}"
            self._refuse(f"its text is not UTF-8, as JSON has to be ({wrong}){also}")

    def _refuse(self, why: str) -> NoReturn:
        __tracebackhide__ = True
        status = "" if self.ok else f"status {self.status_code}, "
        raise ServiceDown(f"{self.what}: {status}{why}; it begins with {deadline_io.beginning(self.content)}") from None

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
            raise ElsewhereError(f"what is no URL, {deadline_io.beginning(resp.headers['Location'])}") from None
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
