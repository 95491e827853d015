"""The three questions that the benchmark answers, each a race of contestants and the ratios of their times."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ground import Ground
from stopwatch import Series, Time

UNIT_TESTS = 50


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contestant's times against the sum of others', and how high that is meant to be at most."""

    name: str
    of: Series
    to: tuple[Series, ...]
    bound: str


@dataclass(frozen=True, slots=True)
class Case:
    """One question, the contestants whose times answer it, and the ratios that are the answer."""

    question: str
    contestants: tuple[Series, ...]
    ratios: tuple[Ratio, ...]


def healthy(place: Ground) -> Case:
    """A health suite on a service that is well, against plain pytest with the same requests."""
    ours = Series("pytest healthtests", lambda: place.pytest(place.health, "healthtests").finish())
    plain = Series("plain pytest, same requests", lambda: place.pytest(place.plain).finish())
    return Case("A healthy run", (ours, plain), (Ratio("ours / plain", ours, (plain,), "at most 1.25"),))


def killed(place: Ground) -> Case:
    """From the start of the health suite on a killed service to its answer, against what that takes at least."""
    ours = Series("pytest healthtests, until answered", lambda: _heal(place))
    plain = Series("plain pytest, until its first test", lambda: _first_test(place))
    boot = Series("service alone, until answered", lambda: _boot(place))
    ratio = Ratio("ours / (plain + service)", ours, (plain, boot), "at most 1.30")
    return Case("After kill -9", (ours, plain, boot), (ratio,))


def unit_tests(place: Ground) -> Case:
    """Ordinary unit tests with our conftest at their root and without; twice without shows the noise."""

    def contestant(name: str, folder: str, *, conftest: bool) -> Series:
        project = place.unit_project(folder, tests=UNIT_TESTS, conftest=conftest)
        return Series(name, lambda: place.pytest(project).finish())

    ours = contestant("with our conftest", "with", conftest=True)
    without = contestant("without", "without", conftest=False)
    again = contestant("without, again", "again", conftest=False)
    cost = Ratio("with / without", ours, (without,), "1, as far as the noise allows")
    noise = Ratio("without, again / without", again, (without,), "the noise")
    return Case(f"{UNIT_TESTS} unit tests", (ours, without, again), (cost, noise))


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
