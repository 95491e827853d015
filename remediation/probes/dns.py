"""Ask name servers for the records of a name, by dnspython, which keeps a deadline for all servers and tries together.

The resolver of the C library would also read /etc/hosts, has a timeout of its own, and does not tell one failure from
another.
"""

from __future__ import annotations

import ipaddress

import dns.exception
import dns.rdatatype
import dns.resolver
from dns.resolver import Answer, Resolver

from remediation.messages.message import english
from remediation.probes import deadline_io

_PORT = 53


class DnsError(Exception):
    """A name has no such records, or nobody could say; the message is one short sentence without the name."""


def records(name: str, kind: str, *, server: tuple[str, int] | None, deadline: float) -> list[str]:
    """Return the records of a kind that a name has, sorted, as the text of a zone file, RFC 1035 section 5.

    `server` is an IP address and a port; None for the name servers and the search list of this system. DnsError if
    there are none before `deadline`, on the monotonic clock. ValueError if name or kind cannot be asked for.
    """
    try:
        dns.rdatatype.from_text(kind)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise ValueError(f"{kind!r} is no kind of record such as A, AAAA, MX or TXT") from None
    try:
        # Between its tries it sleeps past its own deadline.
        answer = deadline_io.within(deadline, lambda: _ask(name, kind, server, deadline))
    except dns.resolver.NXDOMAIN:
        raise DnsError(english("dns_no_name")) from None
    except dns.resolver.NoAnswer:
        raise DnsError(english("dns_no_records", kind=kind)) from None
    except dns.resolver.NoResolverConfiguration:
        raise DnsError(english("dns_no_config")) from None
    except (dns.exception.Timeout, TimeoutError):
        raise DnsError(english("dns_late")) from None
    except dns.resolver.NoNameservers as error:
        codes = sorted({str(why) for *_, why, _ in error.kwargs.get("errors", ())})
        raise DnsError(english("dns_refused", problem=", ".join(codes) or "no server")) from None
    except dns.exception.DNSException as error:
        raise ValueError(f"{name!r} is no name to ask for: {error}") from None
    return sorted(record.to_text() for record in answer)


def _ask(name: str, kind: str, server: tuple[str, int] | None, deadline: float) -> Answer:
    return _resolver(server).resolve(name, kind, lifetime=deadline_io.left(deadline), search=server is None)


def _resolver(server: tuple[str, int] | None) -> Resolver:
    if server is None:
        return Resolver()
    resolver = Resolver(configure=False)
    resolver.nameservers, resolver.port = [server[0]], server[1]
    return resolver


def server_of(text: str) -> tuple[str, int]:
    """Return the IP address and the port of a name server such as `127.0.0.1`, `127.0.0.1:5353` or `[::1]:53`.

    ValueError in one sentence.
    """
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") or (str(_PORT) if bracket else "")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        return str(ipaddress.ip_address(host)), _port(port)
    except ValueError:
        raise ValueError(f"{text!r} is no name server such as 127.0.0.1 or 127.0.0.1:5353") from None


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 1 << 16:
        raise ValueError(text)
    return number
