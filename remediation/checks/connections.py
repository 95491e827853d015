"""The connections of the checks' HTTP sessions: as urllib3 makes them, but each request ends at a moment.

urllib3 passes a timeout on to the socket, where it counts anew with every address that a name has and with every byte
of the answer's head.
"""

from __future__ import annotations

import socket
import time
from http.client import HTTPException, HTTPResponse
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from remediation.probes import deadline_io


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
