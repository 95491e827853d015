"""A PostgreSQL server that is none cannot hold a check up, nor fill its memory."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
from answering import Server, drip, endless, full_queue

from remediation.probes import postgres
from remediation.probes.postgres import PostgresError

Serve = Callable[..., Server]
MIB = 1 << 20


def ask(port: int, *, seconds: float = 10.0, more: str = "sslmode=disable") -> list[tuple[object, ...]]:
    """Ask the server at a port of the loopback."""
    dsn = f"host=127.0.0.1 port={port} user=ann dbname=app {more}"
    return postgres.query(dsn, "SELECT 1", deadline=time.monotonic() + seconds)


def message(kind: bytes, body: bytes) -> bytes:
    """Return a message of the protocol, section "Message Formats" of PostgreSQL's manual."""
    return kind + struct.pack("!I", len(body) + 4) + body


WELCOME = message(b"R", struct.pack("!I", 0)) + message(b"K", struct.pack("!II", 1, 1)) + message(b"Z", b"I")


@pytest.mark.parametrize(
    "begin", [b"", b"R", b"R\0\0\0\x08", WELCOME, WELCOME + b"C"], ids=["at once", "1", "5", "well", "in the answer"]
)
def test_a_server_that_drips_cannot_stretch_the_deadline(serve: Serve, begin: bytes) -> None:
    server, began = serve(lambda: drip(begin, b"\0")), time.monotonic()

    with pytest.raises((TimeoutError, PostgresError)):
        ask(server.port, seconds=0.5)

    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("more", ["sslmode=disable", "sslmode=require", "sslmode=prefer"])
def test_a_server_that_never_answers_cannot_stretch_the_deadline(serve: Serve, more: str) -> None:
    server, began = serve(lambda: drip(b"", b"")), time.monotonic()

    with pytest.raises(TimeoutError):
        ask(server.port, seconds=0.4, more=more)

    assert time.monotonic() - began < 1.5


def test_a_server_that_never_accepts_cannot_stretch_the_deadline() -> None:
    with full_queue() as number, pytest.raises(TimeoutError):
        ask(number, seconds=0.4)


# A row that claims two gigabytes.
ROW = (
    message(b"T", struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIhIH", 0, 0, 25, -1, 0xFFFFFFFF, 0))
    + b"D\x7f\xff\xff\xff"
)


@pytest.mark.parametrize("begin", [b"", WELCOME, WELCOME + message(b"C", b"SET\0") + message(b"Z", b"T") + ROW])
def test_an_endless_answer_takes_little_memory(serve: Serve, begin: bytes) -> None:
    server, before = serve(lambda: endless(begin, b"x" * 65_536)), psutil.Process().memory_info().rss

    with pytest.raises((PostgresError, TimeoutError)):
        ask(server.port, seconds=3)

    assert psutil.Process().memory_info().rss - before < 100 * MIB


def test_what_is_no_postgresql_is_told(serve: Serve) -> None:
    server = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(PostgresError, match="expected authentication request from server, but received H"):
        ask(server.port)


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://ann:hunter2@db.example:5433/app", "db.example:5433/app"),
        ("host=db.example dbname=app", "db.example:5432/app"),
        ("host=/run/postgresql dbname=app", "/run/postgresql:5432/app"),
        ("", "localhost:5432/"),
    ],
)
def test_a_server_is_named_without_user_and_password(monkeypatch: pytest.MonkeyPatch, dsn: str, place: str) -> None:
    for name in ("PGHOST", "PGPORT", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)

    assert postgres.place(dsn) == place


@pytest.mark.parametrize("dsn", ["hunter2", "postgresql://ann:hunter2@[::1", "host"])
def test_what_is_no_dsn_is_refused_without_being_quoted(dsn: str) -> None:
    with pytest.raises(ValueError, match="is no DSN such as") as caught:
        postgres.place(dsn)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("secret", ["p@hunter2", "12/hunter2", "p@h:hunter2", "p@h/hunter2"])
def test_a_password_that_is_not_encoded_is_not_taken_for_a_place(secret: str) -> None:
    with pytest.raises(ValueError, match="percent-encode special characters") as caught:
        postgres.place(f"postgresql://ann:{secret}@db.example:5432/app")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "sentence"),
    [
        ("host=a port=http", "has a port that is no number"),
        ("host=a port=99999", "has a port that is no number"),
        ("host=a,b,c port=1,2", "has neither one port nor one for each host"),
    ],
)
def test_ports_that_cannot_be_are_told(dsn: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        postgres.place(dsn)


@pytest.mark.parametrize("dsn", ["postgresql:///app?host=@socket", "host=a,b port=,5433 dbname=a@b"])
def test_an_abstract_socket_and_a_port_by_default_are_no_mistake(dsn: str) -> None:
    assert postgres.place(dsn)


def test_each_address_of_each_host_is_tried_by_itself(tmp_path: Path) -> None:
    values = {"host": f"localhost,127.0.0.2,{tmp_path}", "port": "1,2,3", "user": "ann"}

    targets = [psycopg.conninfo.conninfo_to_dict(one) for one in postgres._targets(values, time.monotonic() + 5)]

    places = [(target["host"], target.get("hostaddr"), target["port"]) for target in targets]
    assert ("localhost", "127.0.0.1", "1") in places
    assert places[-2:] == [("127.0.0.2", "127.0.0.2", "2"), (str(tmp_path), None, "3")]
    assert {target["gssencmode"] for target in targets} == {"disable"}
