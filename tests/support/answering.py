"""Servers that answer wrongly in many ways: real sockets, bounded in bytes and seconds, and closed after the test."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, repeat
from typing import Any

from sandbox import DEADLINE, free_port

# Far more than any client reads, and little enough for the machine.
MOST = 256 * 2**20
# How many times a drip sends, and the pause in seconds: a client that is still connected at its end has no deadline.
DRIPS, PAUSE = 400, 0.05

Answer = Iterable[bytes] | Callable[[], Iterable[bytes]]


def reply(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """Return an HTTP answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers]).encode("latin-1") + b"\r\n\r\n" + body


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an honest HTTP answer, after which the connection is closed."""
    return reply(body, f"Content-Length: {len(body)}", "Connection: close", *headers, status=status)


def redirect(to: str, status: str = "302 Found") -> bytes:
    """Return a redirect."""
    return whole(b"", f"Location: {to}", status=status)


def drip(begin: bytes, byte: bytes) -> Iterator[bytes]:
    """Yield the beginning of an answer, then the same bytes at intervals."""
    yield begin
    for _ in range(DRIPS):
        time.sleep(PAUSE)
        yield byte


def endless(begin: bytes, chunk: bytes) -> Iterable[bytes]:
    """Yield the beginning of an answer, then the same bytes without a pause."""
    return chain([begin], repeat(chunk, MOST // len(chunk)))


def bomb(*codings: str) -> Iterable[bytes]:
    """Yield an answer of a gigabyte of zeros, compressed to a few bytes per kilobyte."""
    member = gzip.compress(bytes(2**20))
    body: Iterable[bytes] = repeat(member, 2**10)
    for _ in codings[1:]:
        body = [gzip.compress(b"".join(body))]
    return chain([reply(b"", f"Content-Encoding: {', '.join(codings)}", "Connection: close")], body)


class Server:
    """Answers the first request of each connection and closes it; `answers` take turns, one per connection."""

    def __init__(
        self, *answers: Answer, context: ssl.SSLContext | None = None, plain_too: bool = False, reset: bool = False
    ) -> None:
        """Listen on a free port, in TLS if there is a context; with `reset`, connections end by RST."""
        self.requests: list[bytes] = []
        self.finished = 0
        """How many answers were sent to their end, because the client took it all."""
        self._answers, self._context, self._plain_too, self._reset = answers, context, plain_too, reset
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self._listener.settimeout(0.05)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        served = 0
        while not self._over.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                answer = self._answers[served % len(self._answers)]
                thread = threading.Thread(target=self._converse, args=(client, answer))
                thread.start()
                self._threads.append(thread)
                served += 1

    def _converse(self, client: socket.socket, answer: Answer) -> None:
        client.settimeout(DEADLINE)
        with suppress(OSError), client, self._secured(client) as connection:
            self.requests.append(connection.recv(65_536))
            for chunk in answer() if callable(answer) else answer:
                if self._over.is_set():
                    return
                connection.sendall(chunk)
            self.finished += 1
            if self._reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _secured(self, client: socket.socket) -> socket.socket:
        # A handshake begins with this type of record, RFC 8446 section 5.1.
        if self._context is None or (self._plain_too and client.recv(1, socket.MSG_PEEK) != b"\x16"):
            return client
        return self._context.wrap_socket(client, server_side=True)

    def close(self) -> None:
        """Stop, and wait until all connections have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@contextmanager
def serving() -> Iterator[Callable[..., Server]]:
    """Yield a function that starts servers, and close them afterwards."""
    with ExitStack() as stack:

        def serve(*answers: Answer | bytes, **options: Any) -> Server:
            made = Server(*([one] if isinstance(one, bytes) else one for one in answers), **options)
            stack.callback(made.close)
            return made

        yield serve


@contextmanager
def full_queue() -> Iterator[int]:
    """Yield a port whose accept queue is full: the kernel drops what else is sent there, listen(2)."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
