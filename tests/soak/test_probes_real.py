"""The probes of databases, with the real ones: what they answer, and that no stop of a server holds a check up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import servers
from daemons import enterable, running
from sandbox import Sandbox, free_port, sandbox, wait_for

from remediation.checks.errors import ServiceDown
from remediation.checks.probe import Probe
from remediation.config.load import load_project
from remediation.state.service_state import Store

SECONDS = 0.6


def probe(root: Path, seconds: float = 10.0) -> Probe:
    """Return the probes of a project, which have so many seconds."""
    project = load_project(root, {})
    return Probe(project, Store(project), deadline=time.monotonic() + seconds, properties=[])


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A project in a folder that every user may enter."""
    for project in sandbox(tmp_path_factory.mktemp("real")):
        yield enterable(project)


@contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes for the block."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def works(measure: Callable[[], object]) -> bool:
    """Return whether a measurement succeeds."""
    with suppress(ServiceDown):
        measure()
        return True
    return False


def sentence(measure: Callable[[], object]) -> str:
    """Return why a measurement fails, which it has to do in time."""
    began = time.monotonic()
    with pytest.raises(ServiceDown) as caught:
        measure()
    assert time.monotonic() - began < SECONDS + 1
    return str(caught.value)


# PostgreSQL.


@pytest.fixture(scope="module")
def postgres(there: Sandbox) -> Iterator[psutil.Process]:
    """A PostgreSQL server."""
    for name in ("postgres", "initdb"):
        servers.program(name)
    user = "postgres" if os.geteuid() == 0 else None
    command = servers._postgres(there).words
    with running(command, user=user, cwd=there.root / "data") as process:
        wait_for(lambda: works(lambda: probe(there.root).postgres(dsn(there))))
        yield process


def dsn(project: Sandbox, database: str = "postgres") -> str:
    """Return the DSN of the server."""
    user = "postgres" if os.geteuid() == 0 else psutil.Process().username()
    return f"postgresql://{user}@127.0.0.1:{project.port}/{database}"


@pytest.mark.usefixtures("postgres")
def test_rows_are_returned_with_their_types(there: Sandbox) -> None:
    found = probe(there.root).postgres(dsn(there), "SELECT n, n::text, now() > 'epoch' FROM generate_series(1, 3) AS n")

    assert found == [(1, "1", True), (2, "2", True), (3, "3", True)]
    assert probe(there.root).postgres(dsn(there), "SELECT 1 WHERE false") == []


@pytest.mark.usefixtures("postgres")
@pytest.mark.parametrize(
    ("database", "query", "reason"),
    [
        ("none", "SELECT 1", 'FATAL:  database "none" does not exist'),
        ("postgres", "SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("postgres", "SELECT generate_series(1, 2000)", "the answer has more than 1000 rows"),
        ("postgres", "SELECT repeat('x', 100000000)", "the answer is longer than 16 MiB"),
        ("postgres", "SELECT repeat('x', 100000) FROM generate_series(1, 100000)", "the answer "),
    ],
)
def test_a_query_that_fails_is_told_in_one_sentence(there: Sandbox, database: str, query: str, reason: str) -> None:
    before = psutil.Process().memory_info().rss

    with pytest.raises(ServiceDown) as caught:
        probe(there.root).postgres(dsn(there, database), query)

    assert str(caught.value).startswith(f"SQL 127.0.0.1:{there.port}/{database}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert psutil.Process().memory_info().rss - before < 400 << 20


@pytest.mark.usefixtures("postgres")
def test_nothing_that_a_query_does_stays(there: Sandbox) -> None:
    with suppress(ServiceDown):
        probe(there.root).postgres(dsn(there), "WITH made AS (SELECT set_config('x.y', '1', false)) SELECT * FROM made")

    with pytest.raises(ServiceDown, match="unrecognized configuration parameter"):
        probe(there.root).postgres(dsn(there), "SELECT current_setting('x.y')")


@pytest.mark.usefixtures("postgres")
def test_the_server_itself_ends_a_query_that_takes_too_long(there: Sandbox) -> None:
    failure = sentence(lambda: probe(there.root, SECONDS).postgres(dsn(there), "SELECT pg_sleep(60)"))

    assert "canceling statement due to statement timeout" in failure
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid != pg_backend_pid()"
    wait_for(lambda: probe(there.root).postgres(dsn(there), active) == [(0,)])


def test_a_server_that_is_stopped_before_the_connection_cannot_stretch_the_deadline(
    there: Sandbox, postgres: psutil.Process
) -> None:
    with stopped(postgres):
        failure = sentence(lambda: probe(there.root, SECONDS).postgres(dsn(there)))

    assert failure == f"SQL 127.0.0.1:{there.port}/postgres: timed out"


def test_a_server_that_is_stopped_in_the_middle_of_a_query_cannot_stretch_the_deadline(
    there: Sandbox, postgres: psutil.Process
) -> None:
    failures: list[str] = []

    def measure() -> None:
        failures.append(sentence(lambda: probe(there.root, SECONDS).postgres(dsn(there), "SELECT pg_sleep(60)")))

    thread = threading.Thread(target=measure)
    thread.start()

    def backend() -> psutil.Process | None:
        return next((each for each in postgres.children() if "SELECT" in " ".join(each.cmdline())), None)

    found = wait_for(backend)
    assert found is not None
    with stopped(found):
        thread.join()

    assert failures == [f"SQL 127.0.0.1:{there.port}/postgres: timed out"]


def test_a_server_that_is_stopped_at_any_moment_cannot_stretch_the_deadline(
    there: Sandbox, postgres: psutil.Process
) -> None:
    for number in range(25):
        outcome: list[float] = []

        def measure(outcome: list[float] = outcome) -> None:
            began = time.monotonic()
            works(lambda: probe(there.root, 0.3).postgres(dsn(there)))
            outcome.append(time.monotonic() - began)

        thread = threading.Thread(target=measure)
        thread.start()
        time.sleep(number * 0.0004)
        children = postgres.children()
        with suppress(psutil.NoSuchProcess), stopped(postgres, *children):
            thread.join()
        thread.join()
        assert outcome[0] < 1, number


# Redis.


@pytest.fixture(scope="module")
def redis(there: Sandbox) -> Iterator[tuple[psutil.Process, int]]:
    """A Redis server with a password, at a port and at a socket."""
    number, program = free_port(), servers.program("redis-server")
    settings = ["--port", str(number), "--bind", "127.0.0.1", "--requirepass", "sesame", "--save", ""]
    settings += ["--unixsocket", str(there.root / "redis.sock")]
    with running([program, *settings], cwd=there.root) as process:
        wait_for(lambda: works(lambda: probe(there.root).redis(f"redis://:sesame@127.0.0.1:{number}")))
        yield process, number


@pytest.mark.parametrize(
    "url",
    [
        "redis://:sesame@127.0.0.1:{port}/3",
        "redis://default:sesame@localhost:{port}",
        "unix://:sesame@{root}/redis.sock",
    ],
)
def test_redis_answers(there: Sandbox, redis: tuple[psutil.Process, int], url: str) -> None:
    assert 0 < probe(there.root).redis(url.format(port=redis[1], root=there.root)) < 1


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", "it answers NOAUTH Authentication required."),
        (":wrong@", "it answers WRONGPASS invalid username-password pair or user is disabled."),
    ],
)
def test_redis_that_refuses_is_told(there: Sandbox, redis: tuple[psutil.Process, int], entry: str, reason: str) -> None:
    number = redis[1]

    assert sentence(lambda: probe(there.root).redis(f"redis://{entry}127.0.0.1:{number}")) == (
        f"PING 127.0.0.1:{number}: {reason}"
    )


def test_redis_that_is_stopped_cannot_stretch_the_deadline(there: Sandbox, redis: tuple[psutil.Process, int]) -> None:
    process, number = redis

    with stopped(process):
        failure = sentence(lambda: probe(there.root, SECONDS).redis(f"redis://:sesame@127.0.0.1:{number}"))

    assert failure == f"PING 127.0.0.1:{number}: timed out"


# DNS.


def test_a_real_name_server_answers(there: Sandbox) -> None:
    number, program = free_port(), servers.program("dnsmasq")
    settings = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", f"--port={number}"]
    settings += [
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--host-record=shop.example,192.0.2.7",
        "--pid-file=",
    ]
    settings += ["--user=" + psutil.Process().username(), "--local=/example/"]
    with running([program, *settings], cwd=there.root):
        server = f"127.0.0.1:{number}"
        wait_for(lambda: works(lambda: probe(there.root).dns("shop.example", server=server)))

        assert probe(there.root).dns("shop.example", server=server) == ["192.0.2.7"]
        assert sentence(lambda: probe(there.root).dns("other.example", server=server)) == (
            "DNS other.example: there is no such name"
        )
