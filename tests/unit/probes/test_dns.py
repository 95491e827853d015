"""Names are looked up until a deadline, and a failure is told from another."""

from __future__ import annotations

import time
from typing import Any

import pytest
from name_server import naming

from remediation.probes import dns

ZONE = {
    ("shop.example", "A"): ["192.0.2.7", "192.0.2.5"],
    ("shop.example", "MX"): ["10 mail.shop.example."],
    ("shop.example", "TXT"): ['"v=spf1 -all"'],
}


def ask(name: str, kind: str = "A", *, seconds: float = 5.0, **illness: Any) -> list[str]:
    """Return what a name server with an illness answers."""
    with naming(ZONE, **illness) as server:
        return dns.records(name, kind, server=dns.server_of(server.place), deadline=time.monotonic() + seconds)


@pytest.mark.parametrize(
    ("kind", "found"),
    [("A", ["192.0.2.5", "192.0.2.7"]), ("MX", ["10 mail.shop.example."]), ("TXT", ['"v=spf1 -all"'])],
)
def test_the_records_of_a_name_are_returned_in_order(kind: str, found: list[str]) -> None:
    assert ask("shop.example", kind) == found


@pytest.mark.parametrize(
    ("name", "kind", "illness", "problem"),
    [
        ("other.example", "A", {}, "there is no such name"),
        ("shop.example", "AAAA", {}, "the name has no AAAA record"),
        ("shop.example", "A", {"code": "SERVFAIL"}, "all name servers refused: SERVFAIL"),
        ("shop.example", "A", {"code": "REFUSED"}, "all name servers refused: REFUSED"),
    ],
)
def test_each_failure_is_told(name: str, kind: str, illness: dict[str, Any], problem: str) -> None:
    with pytest.raises(dns.DnsError) as caught:
        ask(name, kind, **illness)

    assert str(caught.value) == problem


@pytest.mark.parametrize("illness", [{"silent": True}, {"cut": True}], ids=["never answers", "drips by TCP"])
def test_a_name_server_cannot_stretch_the_deadline(illness: dict[str, Any]) -> None:
    began = time.monotonic()

    with pytest.raises(dns.DnsError, match="no name server answered in time"):
        ask("shop.example", seconds=0.4, **illness)

    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_a_name_server_is_an_ip_address_with_or_without_a_port(text: str, server: tuple[str, int]) -> None:
    assert dns.server_of(text) == server


@pytest.mark.parametrize("text", ["", "ns.example", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "[::1", "[]:53"])
def test_any_other_name_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no name server such as"):
        dns.server_of(text)


@pytest.mark.parametrize(("name", "kind"), [("shop..example", "A"), ("x" * 64, "A"), ("shop.example", "NOPE")])
def test_what_cannot_be_asked_for_is_a_mistake_of_the_check(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"is no (name to ask for|kind of record)"):
        ask(name, kind)
