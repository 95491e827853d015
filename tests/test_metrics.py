"""The numbers of a monitor, read as Prometheus reads them, and a server that no scraper can hang or wear out."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sandbox import DEADLINE, REPOSITORY, Sandbox, wait_for

from remediation.journal.record import Heal, Result, Run
from remediation.monitor import metrics as module
from remediation.monitor.metrics import Metrics
from remediation.project.config import load_project
from remediation.project.memory import Memory, Store
from remediation.project.model import Project
from remediation.project.schema import ConfigError

Connect = Callable[[bytes], socket.socket]
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]

DB = '[services.db]\nurl = "http://127.0.0.1:9"\nrestart = ["true"]\nbudget = { restarts = 2, window = 60 }'
NEVER_HEALED = '[services.db]\nurl = "http://127.0.0.1:9"'


@pytest.fixture
def configured(project: Sandbox) -> Project:
    """A project of two services."""
    project.configure(more=DB)
    return load_project(project.root, {})


@pytest.fixture
def metrics(configured: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Metrics]:
    """The numbers of that project, served with a patience that no test waits for."""
    monkeypatch.setattr(module, "_PATIENCE", 100 * DEADLINE)
    made = Metrics(configured, 0)
    yield made
    made.close()


@pytest.fixture
def connect(metrics: Metrics) -> Iterator[Connect]:
    """Connect to the server and say something; the connection stays open until the end."""
    with ExitStack() as stack:

        def connect(said: bytes) -> socket.socket:
            connection = stack.enter_context(socket.create_connection((module.HOST, metrics.port), DEADLINE))
            connection.sendall(said)
            return connection

        yield connect


def text(metrics: Metrics) -> str:
    """Return what the server answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=DEADLINE) as response:
        answer: str = response.read().decode()
    return answer


def scrape(metrics: Metrics) -> Numbers:
    """Return every number that is served."""
    families = text_string_to_metric_families(text(metrics))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def one(numbers: Numbers, name: str, **labels: str) -> float | None:
    """Return one number, or None if it is not served."""
    return numbers.get((f"auto_heal_{name}", frozenset(labels.items())))


def service(name: str, failed_at: float | None = None, passed_at: float | None = None) -> Result:
    """Return what became of a service."""
    return Result("service", name, name, [name], 0.0, failed_at, passed_at)


def check(
    key: str, failed_at: float | None = None, passed_at: float | None = None, latency: float | None = None
) -> Result:
    """Return what became of a check of api."""
    return Result("check", key, key, ["api"], 0.0, failed_at, passed_at, latency)


def run(*results: Result, verdict: str = "healthy", ended: float = 100.0) -> Run:
    """Return a run of a monitor."""
    return Run(0.0, ended, "monitor", verdict, 1.0, list(results))


def heal(name: str, *, ok: bool) -> Heal:
    """Return a heal."""
    return Heal(name, 0.0, "monitor", "cause", "restart", ok)


def request_threads() -> int:
    """Count the threads that serve a request."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


# The numbers.


def test_before_the_first_run_counters_stand_at_nought_and_nothing_is_said_to_be_up(metrics: Metrics) -> None:
    numbers = scrape(metrics)

    for name in ("api", "db"):
        assert one(numbers, "failures_total", service=name) == 0
        assert one(numbers, "downtime_seconds_total", service=name) == 0
        assert one(numbers, "heals_total", service=name, ok="true") == 0
        assert one(numbers, "heals_total", service=name, ok="false") == 0
        assert one(numbers, "up", service=name) is None
    assert [one(numbers, "checks_total", verdict=verdict) for verdict in ("healthy", "healed", "sick")] == [0, 0, 0]


def test_the_numbers_are_those_of_the_runs(metrics: Metrics) -> None:
    history = [
        (run(service("api", None, 10.0), check("a", None, 10.0, 0.02), ended=11.0), []),
        (
            run(service("api", 20.0, 22.5), check("a", 20.0, 23.0, 0.3), verdict="healed", ended=24.0),
            [heal("api", ok=False), heal("api", ok=True)],
        ),
        (
            run(service("api", 30.0), service("db", 31.0, 32.0), check("a", 30.0), verdict="sick", ended=35.0),
            [heal("api", ok=False), heal("db", ok=True)],
        ),
        (run(service("api", None, 38.0), check("a", None, 38.0, 7.0), ended=39.0), []),
    ]

    for ended, heals in history:
        metrics.observe(ended, heals)

    numbers = scrape(metrics)
    results = [result for ended, _ in history for result in ended.results]
    everything = list(itertools.chain(*(heals for _, heals in history)))
    for name in ("api", "db"):
        failed = [result for result in results if result.kind == "service" and result.key == name and result.failed_at]
        assert one(numbers, "failures_total", service=name) == len(failed)
        for ok in (True, False):
            done = [healed for healed in everything if (healed.service, healed.ok) == (name, ok)]
            assert one(numbers, "heals_total", service=name, ok=str(ok).lower()) == len(done)
    for verdict in ("healthy", "healed", "sick"):
        ended_so = [ended for ended, _ in history if ended.verdict == verdict]
        assert one(numbers, "checks_total", verdict=verdict) == len(ended_so)
    latencies = [result.latency for result in results if result.latency is not None]
    assert one(numbers, "check_latency_seconds_count", check="a") == len(latencies)
    assert one(numbers, "check_latency_seconds_sum", check="a") == pytest.approx(sum(latencies))
    assert one(numbers, "check_latency_seconds_bucket", check="a", le="0.5") == 2
    assert one(numbers, "downtime_seconds_total", service="api") == (22.5 - 20.0) + (38.0 - 30.0)
    assert one(numbers, "downtime_seconds_total", service="db") == 32.0 - 31.0
    assert one(numbers, "last_check_timestamp_seconds") == 39.0


@pytest.mark.parametrize(
    ("failed_at", "passed_at", "up"),
    [(None, 2.0, 1), (1.0, 2.0, 1), (1.0, None, 0), (None, None, None)],
    ids=["well", "healed", "sick", "skipped"],
)
@pytest.mark.parametrize("before", [2.0, None], ids=["from-well", "from-sick"])
def test_up_is_what_the_last_run_found_and_nothing_if_it_did_not_look(
    metrics: Metrics, before: float | None, failed_at: float | None, passed_at: float | None, up: int | None
) -> None:
    metrics.observe(run(service("api", 1.0, before), check("a", 1.0, before)), [])

    metrics.observe(run(service("api", failed_at, passed_at), check("a", failed_at, passed_at)), [])

    numbers = scrape(metrics)
    assert one(numbers, "up", service="api") == up
    assert one(numbers, "check_up", check="a") == up


@pytest.mark.parametrize(
    ("runs", "seconds"),
    [
        ([(None, 5.0, 6.0)], 0),
        ([(10.0, 13.0, 20.0)], 3),
        ([(10.0, None, 20.0)], 10),
        ([(10.0, None, 20.0), (25.0, None, 30.0)], 20),
        ([(10.0, None, 20.0), (25.0, 27.0, 30.0)], 17),
        ([(10.0, None, 20.0), (None, 27.0, 30.0)], 17),
        ([(10.0, None, 20.0), (None, None, 30.0), (None, 37.0, 40.0)], 27),
        ([(10.0, None, 20.0), (None, 27.0, 30.0), (None, 37.0, 40.0)], 17),
        ([(10.0, None, 20.0), (None, 27.0, 30.0), (35.0, 37.0, 40.0)], 19),
        # The clock was set back.
        ([(10.0, 7.0, 20.0)], 0),
        ([(10.0, None, 20.0), (5.0, None, 6.0), (None, 9.0, 10.0)], 13),
    ],
)
def test_downtime_is_counted_from_the_first_failed_attempt_while_it_lasts(
    metrics: Metrics, runs: list[tuple[float | None, float | None, float]], seconds: float
) -> None:
    for failed_at, passed_at, ended in runs:
        metrics.observe(run(service("api", failed_at, passed_at), ended=ended), [])

    assert one(scrape(metrics), "downtime_seconds_total", service="api") == seconds


@pytest.mark.parametrize(
    ("ages", "left"), [([], 2), ([0.0], 1), ([0.0, 0.0], 0), ([0.0, 0.0, 0.0], 0), ([1000.0, 0.0], 1)]
)
def test_what_is_left_of_a_budget_is_looked_up_at_each_scrape_and_nothing_is_written(
    configured: Project, metrics: Metrics, ages: list[float], left: int
) -> None:
    Store(configured).keep(configured.services["db"], Memory(restarts=[time.time() - age for age in ages]))
    before = (configured.memory / "db.json").read_bytes()

    assert one(scrape(metrics), "restart_budget_left", service="db") == left
    assert (configured.memory / "db.json").read_bytes() == before
    assert not (configured.memory / "api.json").exists()


# What comes and goes.


def test_a_service_that_is_configured_no_longer_disappears_and_a_new_one_appears(
    project: Sandbox, metrics: Metrics
) -> None:
    metrics.observe(run(service("db", 1.0), verdict="sick"), [heal("db", ok=False), heal("unknown", ok=True)])
    assert '"db"' in text(metrics)
    assert "unknown" not in text(metrics)

    project.configure("budget = { restarts = 7, window = 60 }", more=DB.replace("db", "cache"))
    metrics.reload(load_project(project.root, {}))

    assert '"db"' not in text(metrics)
    assert one(scrape(metrics), "failures_total", service="cache") == 0
    assert one(scrape(metrics), "restart_budget_left", service="api") == 7


def test_a_service_that_comes_back_begins_anew(project: Sandbox, metrics: Metrics) -> None:
    metrics.observe(run(service("db", 1.0), verdict="sick"), [])
    project.configure()
    metrics.reload(load_project(project.root, {}))

    project.configure(more=DB)
    metrics.reload(load_project(project.root, {}))
    metrics.observe(run(service("db", None, 500.0)), [])

    assert one(scrape(metrics), "failures_total", service="db") == 0
    assert one(scrape(metrics), "downtime_seconds_total", service="db") == 0


def test_a_service_that_cannot_be_healed_has_no_budget(project: Sandbox, metrics: Metrics) -> None:
    project.configure(more=NEVER_HEALED)

    metrics.reload(load_project(project.root, {}))

    assert one(scrape(metrics), "restart_budget_left", service="db") is None
    assert one(scrape(metrics), "restart_budget_left", service="api") == 5


def test_checks_that_a_run_no_longer_has_disappear_however_many_there_were(metrics: Metrics) -> None:
    for number in range(200):
        metrics.observe(run(check(f"test[{number}]", None, 1.0, 0.1), check(f"skipped[{number}]")), [])

    checks = {dict(labels).get("check") for _, labels in scrape(metrics)}
    assert checks == {None, "test[199]", "skipped[199]"}


def test_a_check_of_any_name_is_served_as_it_is(metrics: Metrics) -> None:
    key = 'test_x.py::test[a"b\\c\nd-Ж {}]'

    metrics.observe(run(check(key, None, 1.0, 0.1)), [])

    assert one(scrape(metrics), "check_up", check=key) == 1


# The server.


def test_it_listens_on_this_machine_alone(metrics: Metrics) -> None:
    listening = [one for one in psutil.Process().net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]

    assert [one.laddr.ip for one in listening if one.laddr.port == metrics.port] == ["127.0.0.1"]


def test_a_port_that_is_taken_is_told_with_its_holder(project: Sandbox, configured: Project) -> None:
    stranger = project.stranger_on_port()

    with pytest.raises(ConfigError) as caught:
        Metrics(configured, project.port)

    assert str(caught.value).startswith(f"--metrics: port {project.port} of 127.0.0.1 is held by ")
    assert f"(PID {stranger.pid}, user " in str(caught.value)
    assert str(caught.value).endswith("; stop it, or choose another port")


@pytest.mark.parametrize("port", [-1, 65_536, 10**9])
def test_what_is_no_port_is_told(configured: Project, port: int) -> None:
    with pytest.raises(ConfigError, match=f"^--metrics: {port} is no port; choose one from 1024 to 65535$"):
        Metrics(configured, port)


def test_a_port_that_only_root_may_have_is_told(configured: Project) -> None:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 81))
    except PermissionError:
        with pytest.raises(ConfigError, match=r"^--metrics: port 81 of 127\.0\.0\.1 is not open to this user"):
            Metrics(configured, 81)
    except OSError as error:
        pytest.skip(f"port 81: {error}")
    else:
        pytest.skip("every port is open to this user")


def test_closing_gives_the_port_and_the_thread_back(configured: Project) -> None:
    metrics = Metrics(configured, 0)
    text(metrics)

    metrics.close()
    metrics.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "metrics"]
    Metrics(configured, metrics.port).close()


def test_closing_hangs_up_on_those_who_hang(metrics: Metrics, connect: Connect) -> None:
    hung = connect(b"GET /metr")
    wait_for(lambda: request_threads() == 1)

    metrics.close()

    assert hung.recv(1) == b""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="only Linux tells of a thread's signals")
def test_the_thread_leaves_signals_to_others(metrics: Metrics) -> None:
    text(metrics)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "metrics"]

    with open(f"/proc/self/task/{thread.native_id}/status", encoding="ascii") as status:
        [blocked] = [int(line.split()[1], 16) for line in status if line.startswith("SigBlk")]

    assert all(blocked >> (number - 1) & 1 for number in (1, 2, 15, 17))


# Scrapers.


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost:", b"\x16\x03\x01"])
def test_scrapers_that_hang_hold_nobody_up_and_are_few(metrics: Metrics, connect: Connect, said: bytes) -> None:
    for _ in range(30):
        connect(said)

    assert one(scrape(metrics), "checks_total", verdict="sick") == 0
    wait_for(lambda: request_threads() <= 8)


def test_the_oldest_scraper_makes_room(connect: Connect) -> None:
    oldest = connect(b"GET /metrics HTTP/1.1\r\n")

    others = [connect(b"GET /metrics HTTP/1.1\r\n") for _ in range(8)]

    assert oldest.recv(1) == b""
    others[-1].sendall(b"\r\n")
    assert others[-1].recv(12) == b"HTTP/1.0 200"


def test_a_silent_scraper_is_hung_up_on(configured: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    metrics = Metrics(configured, 0)

    with socket.create_connection(("127.0.0.1", metrics.port), DEADLINE) as silent:
        said = silent.recv(1)

    assert said == b""
    wait_for(lambda: request_threads() == 0)
    metrics.close()


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x00" * 70_000 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"DELETE /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
    ids=["tls", "nul", "short", "version", "url", "method", "headers"],
)
def test_garbage_is_refused_in_silence(
    metrics: Metrics, connect: Connect, capfd: pytest.CaptureFixture[str], said: bytes
) -> None:
    answer = b""
    with suppress(ConnectionError):
        answer = connect(said).recv(4096)

    assert b" 200 " not in answer
    assert one(scrape(metrics), "checks_total", verdict="sick") == 0
    wait_for(lambda: request_threads() == 0)
    assert capfd.readouterr() == ("", "")


def test_scrapers_that_go_away_are_no_news(
    metrics: Metrics, connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    for said in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        for _ in range(5):
            connect(said).close()

    assert one(scrape(metrics), "checks_total", verdict="sick") == 0
    wait_for(lambda: request_threads() == 0)
    assert capfd.readouterr() == ("", "")


def test_many_scrapes_leave_neither_threads_nor_descriptors(metrics: Metrics) -> None:
    text(metrics)
    wait_for(lambda: request_threads() == 0)
    before = psutil.Process().num_fds()

    for _ in range(50):
        text(metrics)

    wait_for(lambda: request_threads() == 0)
    assert psutil.Process().num_fds() == before


# The extra.


def test_without_the_extra_one_sentence_names_it(project: Sandbox) -> None:
    script = (
        "import sys, pathlib\n"
        "sys.modules['prometheus_client'] = None\n"
        "from remediation.monitor.metrics import Metrics\n"
        "from remediation.project.config import load_project\n"
        "from remediation.project.schema import ConfigError\n"
        "try: Metrics(load_project(pathlib.Path()), 0)\n"
        "except ConfigError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project.root, env=project.environment(), capture_output=True, text=True
    )

    assert done.stdout == "--metrics needs an extra: pip install 'pytest-auto-heal[metrics]'\n", done


def test_whoever_wants_no_numbers_and_no_messages_loads_nothing_for_them() -> None:
    script = (
        "import sys, remediation.monitor.metrics, remediation.monitor.notify\n"
        "print({'prometheus_client', 'apprise', 'pytest', 'requests', 'psutil'} & set(sys.modules))\n"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)

    assert done.stdout == "set()\n", done
