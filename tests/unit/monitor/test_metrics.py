"""The metrics of a monitor, read as Prometheus does: those of its runs, for what is configured and checked."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from outcomes import outcome_of
from remediations import remediation
from sandbox import REPOSITORY, Sandbox
from scraping import DB, Watched, one, scrape, serving, text, two_services

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.state.records import Result, Run
from remediation.state.remediation import Remediation
from remediation.state.service_state import ServiceState, Store

NEVER_HEALED = '[services.db]\nurl = "http://127.0.0.1:9"'


@pytest.fixture
def configured(project: Sandbox) -> Project:
    """A project of two services."""
    return two_services(project)


@pytest.fixture
def metrics(configured: Project) -> Iterator[Watched]:
    """The served metrics of that project."""
    with serving(configured) as metrics:
        yield metrics


def service(name: str, failed_at: float | None = None, passed_at: float | None = None) -> Result:
    """Return the result of a service."""
    return Result("service", name, name, [name], 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at)


def check(
    key: str, failed_at: float | None = None, passed_at: float | None = None, latency: float | None = None
) -> Result:
    """Return the result of a check of api."""
    return Result("check", key, key, ["api"], 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at, latency)


def run(*results: Result, verdict: str = "healthy", ended: float = 100.0) -> Run:
    """Return a run of a monitor."""
    return Run(0.0, ended, "monitor", verdict, 1.0, list(results))


def heal(name: str, *, ok: bool) -> Remediation:
    """Return a heal."""
    return remediation(name, ok=ok, origin="monitor")


# The numbers.


def test_before_the_first_run_counters_stand_at_nought_and_nothing_is_said_to_be_up(metrics: Watched) -> None:
    numbers = scrape(metrics)

    for name in ("api", "db"):
        assert one(numbers, "failures_total", service=name) == 0
        assert one(numbers, "downtime_seconds_total", service=name) == 0
        assert one(numbers, "heals_total", service=name, ok="true") == 0
        assert one(numbers, "heals_total", service=name, ok="false") == 0
        assert one(numbers, "up", service=name) is None
    assert [one(numbers, "checks_total", verdict=verdict) for verdict in ("healthy", "healed", "sick")] == [0, 0, 0]


def test_the_numbers_are_those_of_the_runs(metrics: Watched) -> None:
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
    metrics: Watched, before: float | None, failed_at: float | None, passed_at: float | None, up: int | None
) -> None:
    metrics.observe(run(service("api", 1.0, before), check("a", 1.0, before)), [])

    metrics.observe(run(service("api", failed_at, passed_at), check("a", failed_at, passed_at)), [])

    numbers = scrape(metrics)
    # A skip proves nothing: who was sick still is.
    stands = 0 if up is None and before is None else up
    assert one(numbers, "up", service="api") == stands
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
    ],
)
def test_downtime_is_counted_from_the_first_failed_attempt_while_it_lasts(
    metrics: Watched, runs: list[tuple[float | None, float | None, float]], seconds: float
) -> None:
    for failed_at, passed_at, ended in runs:
        metrics.observe(run(service("api", failed_at, passed_at), ended=ended), [])

    assert one(scrape(metrics), "downtime_seconds_total", service="api") == seconds


@pytest.mark.parametrize(
    ("ages", "left"), [([], 2), ([0.0], 1), ([0.0, 0.0], 0), ([0.0, 0.0, 0.0], 0), ([1000.0, 0.0], 1)]
)
def test_what_is_left_of_a_budget_is_looked_up_at_each_scrape_and_nothing_is_written(
    configured: Project, metrics: Watched, ages: list[float], left: int
) -> None:
    Store(configured).keep(configured.services["db"], ServiceState(restarts=[time.time() - age for age in ages]))
    before = (configured.state_folder / "db.json").read_bytes()

    assert one(scrape(metrics), "restart_budget_left", service="db") == left
    assert (configured.state_folder / "db.json").read_bytes() == before
    assert not (configured.state_folder / "api.json").exists()


# What comes and goes.


def test_a_service_that_is_configured_no_longer_disappears_and_a_new_one_appears(
    project: Sandbox, metrics: Watched
) -> None:
    metrics.observe(run(service("db", 1.0), verdict="sick"), [heal("db", ok=False), heal("unknown", ok=True)])
    assert '"db"' in text(metrics)
    assert "unknown" not in text(metrics)

    project.configure("budget = { restarts = 7, window = 60 }", more=DB.replace("db", "cache"))
    metrics.reload(load_project(project.root, {}))

    assert '"db"' not in text(metrics)
    assert one(scrape(metrics), "failures_total", service="cache") == 0
    assert one(scrape(metrics), "restart_budget_left", service="api") == 7


def test_a_service_that_comes_back_begins_anew(project: Sandbox, metrics: Watched) -> None:
    metrics.observe(run(service("db", 1.0), verdict="sick"), [])
    project.configure()
    metrics.reload(load_project(project.root, {}))

    project.configure(more=DB)
    metrics.reload(load_project(project.root, {}))
    metrics.observe(run(service("db", None, 500.0)), [])

    assert one(scrape(metrics), "failures_total", service="db") == 0
    assert one(scrape(metrics), "downtime_seconds_total", service="db") == 0


def test_a_service_that_cannot_be_healed_has_no_budget(project: Sandbox, metrics: Watched) -> None:
    project.configure(more=NEVER_HEALED)

    metrics.reload(load_project(project.root, {}))

    assert one(scrape(metrics), "restart_budget_left", service="db") is None
    assert one(scrape(metrics), "restart_budget_left", service="api") == 5


def test_checks_that_a_run_no_longer_has_disappear_however_many_there_were(metrics: Watched) -> None:
    for number in range(200):
        metrics.observe(run(check(f"test[{number}]", None, 1.0, 0.1), check(f"skipped[{number}]")), [])

    checks = {dict(labels).get("check") for _, labels in scrape(metrics)}
    assert checks == {None, "test[199]", "skipped[199]"}


def test_a_check_of_any_name_is_served_as_it_is(metrics: Watched) -> None:
    key = 'test_x.py::test[a"b\\c\nd-Ж {}]'

    metrics.observe(run(check(key, None, 1.0, 0.1)), [])

    assert one(scrape(metrics), "check_up", check=key) == 1


# The extra.


def test_without_the_extra_one_sentence_names_it(project: Sandbox) -> None:
    script = (
        "import sys, pathlib\n"
        "sys.modules['prometheus_client'] = None\n"
        "from remediation.monitor.metrics import Metrics\n"
        "from remediation.config.load import load_project\n"
        "from remediation.config.schema import ConfigError\n"
        "try: Metrics(load_project(pathlib.Path()), None, 0)\n"
        "except ConfigError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project.root, env=project.environment(), capture_output=True, text=True
    )

    assert done.stdout == "--metrics needs a package: pip install prometheus-client\n", done


def test_whoever_wants_no_numbers_and_no_messages_loads_nothing_for_them() -> None:
    script = (
        "import sys, remediation.monitor.metrics, remediation.monitor.notifications\n"
        "print({'prometheus_client', 'apprise', 'pytest', 'requests', 'psutil'} & set(sys.modules))\n"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)

    assert done.stdout == "set()\n", done
