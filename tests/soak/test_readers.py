"""The report of each verdict in real report readers: all see the same checks, and healed ones pass."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from junit_schema import SCHEMA
from reading import Seen, agreed, by_gitlab, by_jenkins, in_javascript, in_python, install
from sandbox import PATIENT, Result, Sandbox, sandbox

ELSEWHERE = '''
import pytest

def test_elsewhere():
    """elsewhere"""
    pytest.skip("not here")
'''
# No heal helps these: one fails, and so does what the other needs.
HOPELESS = '''
import pytest

@pytest.fixture
def disk():
    raise OSError(28, "No space left on device")

def test_certificate():
    """certificate"""
    assert 3 > 14, "days left"

def test_disk(disk):
    """disk"""
'''
# The start of the service breaks this one.
BESIDE = '''
import pathlib

def test_cache():
    """cache"""
    assert not pathlib.Path("started").exists(), "the cache is gone"
'''


# How a report comes about.


def configure(project: Sandbox, service: str = "", *, command: str | None = None) -> None:
    """Configure two attempts per round, and further keys."""
    project.configure(service, top="retries = 2\nevidence = { timeout = 0 }\nlatency = { calls = 1 }", command=command)


def healthy(project: Sandbox) -> Result:
    """Check a healthy service."""
    project.auto_heal("start")
    return project.auto_heal("check")


def healed(project: Sandbox) -> Result:
    """Check a service that is not started."""
    return project.auto_heal("check")


def sick(project: Sandbox) -> Result:
    """Check one service that a heal helps, and one that no heal helps."""
    project.write("healthtests/test_hopeless.py", HOPELESS)
    return project.auto_heal("check")


def harmed(project: Sandbox) -> Result:
    """Check a service whose start breaks a check that does not belong to it."""
    project.write("healthtests/test_beside.py", BESIDE)
    words = ["sh", "-c", 'touch started; exec "$0" "$1"', sys.executable, str(PATIENT)]
    configure(project, command=f"command = {json.dumps(words)}")
    return project.auto_heal("check")


def deployed(project: Sandbox, *before: str, rollback: str) -> Result:
    """Deploy a version that crashes at its start, after these commands."""
    configure(project, f'env = {{ BUSY = "broken" }}\nrollback = "{rollback}"')
    for command in ("start", *before):
        result = project.auto_heal(command)
        assert result.code == 0, result
    project.write("broken", "")
    project.auto_heal("restart")
    return project.auto_heal("postdeploy")


def rolled_back(project: Sandbox) -> Result:
    """Deploy a version that crashes, with a rollback."""
    return deployed(project, "predeploy", rollback="rm broken")


def rolled_back_in_vain(project: Sandbox) -> Result:
    """Deploy a version that crashes, with a rollback that does not help."""
    return deployed(project, rollback="true")


def of_another_version(project: Sandbox) -> Result:
    """Expect a version that is not deployed."""
    configure(project, 'version = { path = "/api/health" }')
    project.auto_heal("start")
    return project.auto_heal("postdeploy", "--wait", "0.1s", "--expect-version", "2.0")


# What it has to show.


@dataclass(frozen=True)
class Story:
    """How a report comes about, and what all readers must see in it."""

    act: Callable[[Sandbox], Result]
    code: int
    verdict: str
    seen: Seen
    attempts: int
    """Those that failed before a check passed."""


UP = {"test_health": "passed", "test_girls": "passed", "test_process": "passed", "test_elsewhere": "skipped"}
DOWN = {"test_health": "failed", "test_girls": "failed", "test_process": "failed", "test_elsewhere": "skipped"}
HOPELESSLY = UP | {"test_certificate": "failed", "test_disk": "failed"}
STORIES = {
    "healthy": Story(healthy, 0, "healthy", Seen(4, 0, 0, 1, UP), 0),
    "healed": Story(healed, 0, "healed", Seen(4, 0, 0, 1, UP), 3),
    "rolled-back": Story(rolled_back, 11, "rolled-back", Seen(4, 0, 0, 1, UP), 6),
    "sick": Story(sick, 1, "sick", Seen(6, 1, 1, 1, HOPELESSLY), 3),
    "rolled-back-in-vain": Story(rolled_back_in_vain, 1, "sick", Seen(4, 3, 0, 1, DOWN), 0),
    "harmed": Story(harmed, 1, "sick", Seen(5, 1, 0, 1, UP | {"test_cache": "failed"}), 3),
    "another-version": Story(of_another_version, 1, "sick", Seen(5, 1, 0, 1, UP | {"api version": "failed"}), 0),
}


@dataclass(frozen=True)
class Told:
    """A report, and its story."""

    path: Path
    story: Story


@pytest.fixture(scope="module", params=STORIES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The report of a verdict, made as it is for a user."""
    story = STORIES[request.param]
    for project in sandbox(tmp_path_factory.mktemp("report")):
        project.write("healthtests/test_elsewhere.py", ELSEWHERE)
        configure(project)
        result = story.act(project)
        assert result.code == story.code, result
        assert project.property("verdict") == story.verdict, result
        yield Told(project.root / "reports" / "health.xml", story)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the packages of the JavaScript readers, which is removed afterwards."""
    folder = tmp_path_factory.mktemp("packages")
    try:
        install(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def test_every_reader_in_python_sees_the_same(told: Told) -> None:
    readings = in_python(told.path)

    assert readings == agreed(readings, told.story.seen)


def test_every_reader_in_javascript_sees_the_same(told: Told, packages: Path) -> None:
    readings = in_javascript(packages, told.path)

    assert readings == agreed(readings, told.story.seen)


def test_the_report_is_valid_and_keeps_the_attempts_before_a_pass(told: Told) -> None:
    SCHEMA.validate(str(told.path))

    found = ET.parse(told.path).getroot().iter()
    assert len([each for each in found if each.tag.startswith("flaky")]) == told.story.attempts


# That the readers would see it otherwise.


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A report of a healed service whose failed attempts are written as failures."""
    case = '<testcase classname="healthtests.test_x" name="{0}" time="0.1"><{1} message="m" type="E">t</{1}></testcase>'
    cases = case.format("test_a", "failure") + case.format("test_b", "error") + case.format("test_c", "flakyFailure")
    counters = 'name="pytest" tests="3" failures="1" errors="1" skipped="0" time="0.3"'
    path = tmp_path / "report.xml"
    path.write_text(f"<testsuites><testsuite {counters}>{cases}</testsuite></testsuites>", encoding="utf-8")
    return path


FAILING = Seen(3, 1, 1, 0, {"test_a": "failed", "test_b": "failed", "test_c": "passed"})


def test_every_reader_in_python_sees_failures_and_errors(failing: Path) -> None:
    readings = in_python(failing)

    assert readings == agreed(readings, FAILING)


def test_every_reader_in_javascript_sees_failures_and_errors(failing: Path, packages: Path) -> None:
    readings = in_javascript(packages, failing)

    assert readings == agreed(readings, FAILING)


def test_gitlab_and_jenkins_go_each_by_its_own_rules(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(
        '<testsuites><testsuite name="outer"><testsuite name="inner"><error/>'
        '<testcase classname="x" name="a"><failure/></testcase><testcase classname="x" name="a"/>'
        '<testcase classname="x" name="b"><skipped/><error/></testcase>'
        "</testsuite></testsuite></testsuites>",
        encoding="utf-8",
    )

    assert by_gitlab(path) == Seen(2, 1, 1, 0, {"a": "failed", "b": "failed"})
    assert by_jenkins(path) == Seen(4, 2, 0, 1, {"<init>": "failed", "a": "passed", "b": "skipped"})
