"""Ask a PostgreSQL server a question, by psycopg.

psycopg leaves the waiting to its caller: `connect_poll` and its generators never block, and name what they wait for. So
the waiting here ends at the deadline, whenever the server stops. The name of the host is looked up here as well, since
libpq would block on it.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import select
import socket
import termios
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import conninfo, pq
from psycopg.rows import TupleRow, tuple_row
from psycopg.waiting import Ready, Wait

from remediation.messages.message import english
from remediation.probes import deadline_io
from remediation.probes.deadline_io import left

# More than that is no question of a check.
MOST_ROWS = 1_000
_MOST_BYTES = 16 << 20
# A small buffer of the kernel keeps libpq from reading much at a time.
_KERNEL_BUFFER = 65_536
_PORT = "5432"
# The share of the time after which the server itself ends a query, so that it does not go on without us.
_SERVER_SHARE = 0.9


class PostgresError(Exception):
    """The server did not answer; the message is one short sentence."""


def place(dsn: str) -> str:
    """Return where the server of a DSN is, for messages: `host:port/database`. ValueError in one sentence."""
    values = _parameters(dsn)
    host = str(values.get("host") or values.get("hostaddr") or os.environ.get("PGHOST") or "localhost")
    database = values.get("dbname") or os.environ.get("PGDATABASE") or ""
    port = values.get("port") or os.environ.get("PGPORT") or _PORT
    # libpq takes the end of a password that has a / or an @ for the place of the server.
    if "://" in dsn and re.search("[^,]@", f"{host},{port},{database}"):
        raise ValueError("is no DSN: in user and password, percent-encode special characters, such as %40 for @")
    ports = str(port).split(",")
    if not all(re.fullmatch("[0-9]*", each) and int(each or _PORT) < 1 << 16 for each in ports):
        raise ValueError("has a port that is no number up to 65535")
    if len(ports) not in (1, len(host.split(","))):
        raise ValueError("has neither one port nor one for each host")
    return f"{host}:{port}/{database}"


def query(dsn: str, statement: str, *, deadline: float) -> list[tuple[Any, ...]]:
    """Return the rows that a statement yields, in a transaction that is rolled back.

    PostgresError or OSError if there is no whole answer before `deadline`, on the monotonic clock, or if it has more
    than 1,000 rows or about 16 MiB. It is read row by row, so no more than that and one row is in memory.
    """
    try:
        connection = _connect(dsn, deadline)
        try:
            most = max(1, int(left(deadline) * _SERVER_SHARE * 1000))
            connection.execute(f"SET LOCAL statement_timeout = {most}")
            return _bounded(connection.cursor().stream(statement))
        finally:
            # The server rolls back. Closing by psycopg's own way would wait for it.
            connection.pgconn.finish()
    except psycopg.Error as error:
        raise PostgresError(_first_line(str(error))) from None


def _bounded(answer: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows of an answer, which psycopg reads one by one."""
    rows, size = list[tuple[Any, ...]](), 0
    for row in answer:
        rows.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(rows) > MOST_ROWS:
            raise PostgresError(english("sql_rows", count=MOST_ROWS))
        if size > _MOST_BYTES:
            raise PostgresError(english("sql_bytes", size=_MOST_BYTES >> 20))
    return rows


class _Connection(psycopg.Connection[TupleRow]):
    """A connection whose waiting ends at a deadline."""

    def __init__(self, pgconn: pq.abc.PGconn, deadline: float) -> None:
        super().__init__(pgconn, row_factory=tuple_row)
        self._deadline = deadline
        self._bytes = 0

    def wait(self, gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        """Drive a generator of psycopg until it returns. TimeoutError after the deadline."""
        del interval, timeout
        try:
            wanted = next(gen)
            while True:
                ready = _await(self.pgconn.socket, wanted, self._deadline)
                self._count()
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
        except (OSError, PostgresError):
            # Otherwise psycopg would ask the server to cancel the query, and wait for that.
            self.pgconn.finish()
            raise

    def _count(self) -> None:
        waiting = array.array("i", [0])
        fcntl.ioctl(self.pgconn.socket, termios.FIONREAD, waiting)
        self._bytes += waiting[0]
        if self._bytes > _MOST_BYTES:
            raise PostgresError(english("sql_bytes", size=_MOST_BYTES >> 20))


def _connect(dsn: str, deadline: float) -> _Connection:
    error: Exception = PostgresError(english("timed_out"))
    for target in _targets(_parameters(dsn), deadline):
        try:
            return _Connection(_connected(target, deadline), deadline)
        except psycopg.OperationalError as failure:
            error = failure
    raise error


def _connected(target: str, deadline: float) -> pq.abc.PGconn:
    pgconn = pq.PGconn.connect_start(target.encode())
    try:
        wanted = Wait.W
        while pgconn.status != pq.ConnStatus.BAD:
            _await(pgconn.socket, wanted, deadline)
            status = pgconn.connect_poll()
            if status == pq.PollingStatus.OK:
                pgconn.nonblocking = 1
                _bound_kernel_buffer(pgconn.socket)
                return pgconn
            if status == pq.PollingStatus.FAILED:
                break
            wanted = Wait.R if status == pq.PollingStatus.READING else Wait.W
        raise psycopg.OperationalError(pgconn.get_error_message())
    except BaseException:
        pgconn.finish()
        raise


def _bound_kernel_buffer(number: int) -> None:
    with socket.socket(fileno=os.dup(number)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)


def _await(number: int, wanted: Wait, deadline: float) -> Ready:
    """Return for what of `wanted` a descriptor is ready. TimeoutError after the deadline."""
    poll = select.poll()
    poll.register(number, (select.POLLIN if wanted & Wait.R else 0) | (select.POLLOUT if wanted & Wait.W else 0))
    while not (events := poll.poll(left(deadline) * 1000)):
        pass
    found = events[0][1]
    broken = found & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
    ready = (Ready.R if found & select.POLLIN or (broken and wanted & Wait.R) else 0) | (
        Ready.W if found & select.POLLOUT or (broken and wanted & Wait.W) else 0
    )
    return Ready(ready)


def _targets(values: dict[str, Any], deadline: float) -> Iterator[str]:
    """Yield a DSN for each address of each host, so that libpq looks up no name."""
    # Otherwise libpq may ask a Kerberos server first, and texts of a database without an encoding would be bytes.
    values = {"gssencmode": "disable", "client_encoding": "UTF8"} | values
    hosts = str(values.get("host") or os.environ.get("PGHOST") or "")
    if values.get("hostaddr") or not hosts:
        yield conninfo.make_conninfo("", **values)
        return
    ports = str(values.get("port") or os.environ.get("PGPORT") or _PORT).split(",")
    for number, host in enumerate(hosts.split(",")):
        port = (ports[number] if len(ports) > 1 else ports[0]) or _PORT
        if host.startswith(("/", "@")):
            yield conninfo.make_conninfo("", **values | {"host": host, "port": port})
            continue
        for address in deadline_io.addresses(host, int(port), deadline):
            yield conninfo.make_conninfo("", **values | {"host": host, "hostaddr": address, "port": port})


def _parameters(dsn: str) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(dsn))
    except psycopg.Error:
        # Its text may quote the password.
        raise ValueError("is no DSN such as postgresql://localhost:5432/app") from None


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    # libpq says first where it connected, which the caller knows.
    return line.partition(" failed: ")[2] or line
