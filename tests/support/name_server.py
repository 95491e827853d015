"""A name server that knows a few names, and may be ill."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]


class NameServer:
    """Answers by UDP from a zone: `silent`, with an error `code`, or `cut`, so that the rest drips by TCP."""

    def __init__(self, zone: Zone, *, silent: bool = False, cut: bool = False, code: str = "") -> None:
        """Listen on a free port of the loopback, by UDP and TCP."""
        self._zone, self._silent, self._cut, self._code = zone, silent, cut, code
        self._over = threading.Event()
        self._stream = socket.create_server(("127.0.0.1", 0))
        self._datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self._datagrams.bind(self._stream.getsockname())
        self.place = "{}:{}".format(*self._stream.getsockname())
        for each in (self._stream, self._datagrams):
            each.settimeout(0.05)
        self._threads = [threading.Thread(target=self._serve), threading.Thread(target=self._drip)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                wire, client = self._datagrams.recvfrom(65_536)
                if not self._silent:
                    self._datagrams.sendto(self._answer(dns.message.from_wire(wire)).to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        answer, question = dns.message.make_response(query), query.question[0]
        name, kind = question.name.to_text().rstrip("."), question.rdtype.name
        if self._code:
            answer.set_rcode(dns.rcode.from_text(self._code))
        elif self._cut:
            answer.flags |= dns.flags.TC
        elif records := self._zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        elif not any(known == name for known, _ in self._zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _drip(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                client, _ = self._stream.accept()
                with client:
                    client.sendall(b"\x40\x00")
                    while not self._over.is_set():
                        client.sendall(b"\0")
                        time.sleep(0.02)

    def close(self) -> None:
        """Stop."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._stream.close()
        self._datagrams.close()


@contextmanager
def naming(zone: Zone, *, silent: bool = False, cut: bool = False, code: str = "") -> Iterator[NameServer]:
    """Yield a name server, and close it afterwards."""
    server = NameServer(zone, silent=silent, cut=cut, code=code)
    try:
        yield server
    finally:
        server.close()
