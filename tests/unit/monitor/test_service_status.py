"""The status of a service after deaths, heals and overlapping cycles, even if the clock is set."""

from __future__ import annotations

import time

import pytest
from outcomes import outcome_of
from receiving import answering
from sandbox import Sandbox, wait_for
from scraping import begun

from remediation.config.load import load_project
from remediation.monitor.cycle import Cycle
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.sinks import LONG, Sinks
from remediation.state.records import Result, Run


class History:
    """A monitor of two services, api and web, and the time of day."""

    def __init__(self) -> None:
        """Begin with an empty history, at a moment of two clocks."""
        self.time = 1000.0
        self.steady = 50.0
        self.service_status = ServiceStatus(["api", "web"], clock=lambda: self.time, steady=lambda: self.steady)
        self._cycles: dict[int, Cycle] = {}

    def waits(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds
        self.steady += seconds

    def begins(self, number: int = 1, *, services: list[str] | None = None, without: list[str] | None = None) -> None:
        """Begin a cycle."""
        self._cycles[number] = begun(self.service_status, number, services=services, without=without)

    def ends(self, *results: Result, number: int = 1, verdict: str = "sick") -> Run:
        """End a cycle, and return its run as it is reported."""
        run = Run(self.time - 1, self.time, "monitor", verdict, 30.0, list(results))
        return self.service_status.enter(self._cycles.pop(number), run)

    def finds(self, *results: Result, number: int = 1) -> Run:
        """Begin and end a cycle of all services."""
        self.begins(number)
        return self.ends(*results, number=number)

    @property
    def api(self) -> tuple[bool | None, float]:
        """Whether api is up, and how long it was down."""
        return self.service_status.is_up("api"), self.service_status.downtime("api")


def service(name: str, failed_at: float | None = None, passed_at: float | None = None) -> Result:
    """Return the result of a service."""
    return Result(
        "service", name, name, [name], 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at, message="no answer"
    )


def check(key: str, *services: str, failed_at: float | None = None, passed_at: float | None = None) -> Result:
    """Return the result of a check."""
    return Result("check", key, key, list(services), 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at)


@pytest.fixture
def history() -> History:
    """A history in which api and web passed at 1000, and nothing else happened."""
    made = History()
    made.finds(service("api", None, 1000.0), service("web", None, 1000.0))
    return made


# ProcessWatch.


def test_downtime_grows_from_the_death_to_the_moment_at_which_it_answered_again(history: History) -> None:
    history.service_status.died("api")
    history.waits(5)
    before = history.api
    history.begins(2, services=["api"])
    history.waits(5)
    history.ends(service("api", 1005.5, 1007.0), number=2, verdict="healed")

    assert before == (False, 5.0)
    history.waits(100)
    # What was told once is never taken back.
    assert history.api == (True, 7.0)


def test_a_counter_that_was_read_while_a_heal_was_verified_never_goes_down(history: History) -> None:
    history.service_status.died("api")
    history.waits(10)
    assert history.api == (False, 10.0)
    history.finds(service("api", 1000.0, 1007.0), number=2)

    assert history.api == (True, 10.0)
    history.service_status.died("api")
    history.waits(5)
    assert history.api == (False, 12.0)


def test_a_cycle_that_saw_it_well_before_its_death_shows_nothing(history: History) -> None:
    history.begins(2)
    history.waits(1)
    history.service_status.died("api")
    history.waits(1)

    told = history.ends(service("api", None, 1000.5), service("web", None, 1000.5), number=2, verdict="healthy")

    assert history.api == (False, 1.0)
    assert history.service_status.is_up("web")
    assert not history.service_status.is_healthy
    assert [one.passed_at for one in told.results] == [None, 1000.5]


def test_a_cycle_that_noticed_the_death_by_itself_and_healed_it_counts(history: History) -> None:
    history.begins(2)
    history.service_status.died("api")
    history.service_status.heals(2, "api", 1000.0, "dead")
    history.waits(3)

    history.ends(service("api", 1000.0, 1002.0), number=2, verdict="healed")

    assert history.api == (True, 2.0)


def test_the_run_that_tells_of_a_death_tells_when_it_was(history: History) -> None:
    history.service_status.died("api")
    history.waits(4)

    first = history.finds(service("api", 1003.0), number=2)
    history.waits(4)
    second = history.finds(service("api", 1007.0, 1007.5), number=3)

    assert [one.failed_at for one in first.results] == [1000.0]
    assert [one.at for one in first.results] == [0.0]
    assert [one.failed_at for one in second.results] == [1007.0]


def test_whom_somebody_else_brought_back_is_up_since_then(history: History) -> None:
    history.service_status.died("api")
    history.waits(9)

    history.service_status.returned("api", 1004.0)

    assert history.api == (True, 4.0)


def test_a_restart_by_somebody_else_is_no_end_of_a_heal_or_of_a_check_that_fails(history: History) -> None:
    history.service_status.died("api")
    history.service_status.heals(1, "api", 1000.0, "dead")
    history.service_status.returned("api", 1001.0)
    assert history.service_status.is_up("api") is False

    history.finds(check("a", "api", failed_at=1000.0), service("api", 1000.0), number=2)
    history.service_status.returned("api", 1002.0)

    assert history.service_status.is_up("api") is False


# Checks.


def test_a_service_is_no_better_for_a_cycle_without_the_check_that_failed(history: History) -> None:
    both = check("both", "api", "web", failed_at=1000.0)
    history.finds(both, check("a", "api", passed_at=1000.0), service("api", 1000.0), service("web", 1000.0), number=2)
    history.begins(3, without=["web"])

    told = history.ends(check("a", "api", passed_at=1001.0), service("api", None, 1001.0), number=3, verdict="healthy")

    assert history.service_status.down == ["api", "web"]
    assert [one.passed_at for one in told.results] == [1001.0, None]


def test_a_failed_check_of_no_service_leaves_the_project_sick_until_it_passes(history: History) -> None:
    history.finds(check("x", failed_at=1000.0), service("api", None, 1000.0), number=2)
    history.begins(3, services=["api"])
    history.ends(service("api", None, 1001.0), number=3, verdict="healthy")
    before = history.service_status.is_healthy

    history.finds(check("x", passed_at=1002.0), service("api", None, 1002.0), number=4)

    assert not before
    assert history.service_status.is_healthy


def test_a_skip_shows_nothing(history: History) -> None:
    history.finds(service("api", 1000.0), number=2)
    history.waits(3)

    history.finds(service("api"), service("web"), number=3)

    assert history.api == (False, 3.0)
    assert history.service_status.is_up("web") is None


def test_a_service_whose_checks_are_gone_is_neither_up_nor_down_and_no_longer_counted(history: History) -> None:
    history.finds(service("api", 1000.0), service("web", None, 1000.0), number=2)
    history.waits(3)
    history.finds(service("web", None, 1003.0), number=3)
    history.waits(3)

    assert history.api == (None, 3.0)
    assert history.service_status.is_healthy


def test_a_check_that_failed_in_a_cycle_that_goes_on_is_known_at_once(history: History) -> None:
    history.begins(2)
    history.waits(5)
    history.service_status.failed(2, "api", 1001.0, "no answer")
    assert history.api == (False, 4.0)

    history.ends(service("api", 1001.0, 1004.0), number=2)

    assert history.service_status.is_up("api")


# Cycles without a verdict.


def test_a_cycle_without_a_verdict_tells_of_those_it_was_about_to_heal(history: History) -> None:
    history.begins(2)
    history.service_status.heals(2, "api", 1000.0, "no answer")
    history.waits(3)

    told = history.ends(number=2, verdict="incomplete")
    again = history.finds(service("web", None, 1003.0), service("api", 1003.0), number=3)

    assert [(one.key, one.failed_at, one.passed_at, one.message) for one in told.results] == [
        ("api", 1000.0, None, "no answer")
    ]
    assert [one.failed_at for one in again.results] == [None, 1003.0]
    assert history.api == (False, 3.0)


def test_after_a_cycle_without_a_verdict_no_cycle_of_some_makes_the_project_well(history: History) -> None:
    history.begins(2)
    history.ends(number=2, verdict="incomplete")
    history.begins(3, services=["api"])
    history.ends(service("api", None, 1000.0), number=3, verdict="healthy")
    before = history.service_status.is_healthy

    history.finds(service("api", None, 1000.0), service("web", None, 1000.0), number=4)

    assert not before
    assert history.service_status.is_healthy


# Clocks.


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_makes_no_downtime_longer_or_shorter(history: History, step: float) -> None:
    history.service_status.died("api")
    history.waits(3)
    history.time += step
    history.waits(3)
    before = history.api

    history.finds(service("api", history.time - 1, history.time), number=2)

    assert before == (False, 6.0)
    assert history.api == (True, 6.0)


def test_a_clock_that_is_set_back_while_a_cycle_heals_does_not_keep_the_service_down(history: History) -> None:
    history.begins(2)
    history.service_status.heals(2, "api", 1000.0, "no answer")
    history.time -= 500

    history.ends(service("api", 1000.0, 501.0), number=2, verdict="healed")

    assert history.service_status.is_up("api")


# The configuration.


def test_a_reload_keeps_what_is_known_of_whom_it_keeps(history: History) -> None:
    history.service_status.died("api")
    history.service_status.died("web")
    history.waits(2)

    history.service_status.reload(["api"])
    history.service_status.died("web")

    assert history.api == (False, 2.0)
    assert history.service_status.down == ["api"]


# Messages.


def test_a_long_heal_is_told_of_before_it_ends(project: Sandbox) -> None:
    with answering() as receiver:
        project.configure(more=f'[notify]\nurls = ["{receiver.url}"]\n')
        configured, age = load_project(project.root, {}), 0.0
        service_status = ServiceStatus(configured.services, steady=lambda: time.monotonic() - age)
        sinks = Sinks(configured, service_status, metrics_port=None, log=lambda *_, **__: None)
        try:
            service_status.died("api")
            sinks.attend("")
            soon = sinks.moments
            age = LONG + 1
            service_status.reload([])
            service_status.reload(configured.services)
            service_status.died("api")
            sinks.attend("")

            def told() -> bool:
                sinks.attend("")
                return bool(receiver.titles)

            wait_for(told)
        finally:
            sinks.close()

        assert receiver.titles == ["auto-heal: api is sick"]
        assert 0 < min(soon) - time.monotonic() <= LONG


# The first start.


def test_a_first_start_is_no_downtime_although_the_service_is_down_meanwhile() -> None:
    history = History()
    history.begins()
    history.service_status.failed(1, "api", 1000.0, "no answer", starting=True)
    history.service_status.heals(1, "api", 1000.0, "no answer", starting=True)
    history.waits(60)
    meanwhile = history.api

    history.ends(service("api", None, 1060.0), verdict="healed")

    assert meanwhile == (False, 0.0)
    assert history.api == (True, 0.0)


def test_a_first_start_after_which_the_service_fails_is_downtime_from_the_first_failure_on() -> None:
    history = History()
    history.begins()
    history.service_status.failed(1, "api", 1000.0, "no answer", starting=True)
    history.waits(60)

    history.ends(service("api", 1000.0))

    assert history.api == (False, 60.0)


def test_a_service_that_dies_while_its_first_start_lasts_is_down() -> None:
    history = History()
    history.begins()
    history.service_status.failed(1, "api", 1000.0, "no answer", starting=True)
    history.waits(60)

    history.service_status.failed(1, "api", 1060.0, "no answer")

    assert history.api == (False, 60.0)
