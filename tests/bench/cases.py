"""What one run costs: three questions, each a race of contestants and the ratios of their times."""

from __future__ import annotations

import os

from ground import Ground
from report import Table, ratio, times
from stopwatch import Pace, Series, Time, race

UNIT_TESTS = 50
CHECKS = 100
# How many services, all down, and how many times as many.
SERVICES, TIMES_AS_MANY = 50, 20


def healthy(place: Ground, pace: Pace) -> Table:
    """A health suite on a service that is well, against plain pytest with the same requests."""
    ours = Series("pytest healthtests", lambda: place.pytest(place.health, "healthtests").finish())
    plain = Series("plain pytest, same requests", lambda: place.pytest(place.plain).finish())
    race((ours, plain), rounds=pace.rounds)
    return Table("A healthy run", rows=[
        times(ours), times(plain),
        ratio("ours / plain", ours, (plain,), "at most 1.25"),
    ])  # fmt: skip


def killed(place: Ground, pace: Pace) -> Table:
    """From the start of the health suite on a killed service to its answer, against what that takes at least."""
    ours = Series("pytest healthtests, until answered", lambda: _heal(place))
    plain = Series("plain pytest, until its first test", lambda: _first_test(place))
    boot = Series("service alone, until answered", lambda: _boot(place))
    race((ours, plain, boot), rounds=pace.rounds)
    return Table("After kill -9, one run", rows=[
        times(ours), times(plain), times(boot),
        ratio("ours / (plain + service)", ours, (plain, boot), "at most 1.30"),
    ])  # fmt: skip


def unit_tests(place: Ground, pace: Pace) -> Table:
    """Ordinary unit tests with our plugin and without; twice without shows the noise."""

    def contestant(name: str, folder: str, *options: str) -> Series:
        project = place.unit_project(folder, tests=UNIT_TESTS)
        return Series(name, lambda: place.pytest(project, *options).finish())

    ours = contestant("with our plugin", "with")
    without = contestant("without", "without", "-p", "no:auto-heal")
    again = contestant("without, again", "again", "-p", "no:auto-heal")
    race((ours, without, again), rounds=pace.rounds)
    return Table(f"{UNIT_TESTS} unit tests", rows=[
        times(ours), times(without), times(again),
        ratio("with / without", ours, (without,), "1, as far as the noise allows"),
        ratio("without, again / without", again, (without,), "the noise"),
    ])  # fmt: skip


def status(place: Ground, pace: Pace) -> Table:
    """`auto-heal status` of many services that are down, against that of a few: the configuration costs linearly."""

    def contestant(services: int) -> Series:
        project = place.crowded_project(f"status-{services}", services=services)
        words = ("-m", "remediation", "status")
        return Series(f"status of {services} services", lambda: place.python(project, *words).finish(expect=1))

    few, many = contestant(SERVICES), contestant(SERVICES * TIMES_AS_MANY)
    race((few, many), rounds=pace.rounds)
    return Table("Services in one configuration", rows=[
        times(few), times(many),
        ratio(f"{SERVICES * TIMES_AS_MANY} / {SERVICES}", many, (few,), f"less than {TIMES_AS_MANY}"),
    ])  # fmt: skip


def declared(place: Ground, pace: Pace) -> Table:
    """Declared checks of a service that is well, against plain tests with the same requests and deadlines."""
    checks, requests = place.declared_project(checks=CHECKS), place.requests_project(count=CHECKS)
    ours = Series(f"{CHECKS} declared checks", lambda: place.pytest(checks, "healthtests").finish())
    plain = Series("plain pytest, same requests", lambda: place.pytest(requests).finish())
    race((ours, plain), rounds=pace.rounds)
    return Table("Declared checks", rows=[
        times(ours), times(plain),
        ratio("ours / plain", ours, (plain,), "at most 1.20"),
    ])  # fmt: skip


def _heal(place: Ground) -> Time:
    """Kill the service and heal it; the time ends at the first answer."""
    place.kill_service()
    command = place.pytest(place.health, "healthtests")
    answered = command.until(lambda: place.answers(place.port))
    # What comes after the answer, the checks among it, is no part of the time, but has to succeed.
    command.finish()
    return Time(answered)


def _first_test(place: Ground) -> Time:
    """Run plain pytest until its first test says that it runs."""
    reader, writer = os.pipe()
    try:
        command = place.pytest(place.first_test, pass_fds=(writer,), FIRST_TEST_FD=str(writer))
        os.close(writer)
        os.read(reader, 1)
        begun = command.elapsed()
        command.finish()
    finally:
        os.close(reader)
    return Time(begun)


def _boot(place: Ground) -> Time:
    """Start the service by itself, on a port of its own, until it answers."""
    command = place.boot()
    try:
        return Time(command.until(lambda: place.answers(place.other_port)))
    finally:
        command.kill()
