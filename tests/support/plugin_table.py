"""The plugins, as data: how people use each, the checks of theirs that need it, and what it leaves behind."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sandbox import Sandbox

Outcomes = dict[str, str]
"""What became of each check, by its name without parameters."""


@dataclass(frozen=True)
class Plugin:
    """A plugin as its users use it."""

    distribution: str
    options: str = ""
    """What is in the addopts of the project; {url} is that of the service."""
    ini: str = ""
    """Further lines of its pytest.ini."""
    files: dict[str, str] = field(default_factory=dict)
    """Its files, checks among them, by name."""
    checks: tuple[str, ...] = ("test_with_plugin",)
    """The names of the checks that need the plugin."""
    says: tuple[str, ...] = ()
    """What it prints in a run that finds all well."""
    says_of_crash: tuple[str, ...] = ()
    """What it prints in a run with a check that ends its process."""
    leaves: Callable[[Sandbox], Outcomes] | None = None
    """Reads its own report."""
    writes_in_workers: bool = False
    """Whether its report is written there, so that it lacks a check that ends its worker."""
    also: Callable[[Sandbox], None] | None = None
    """Asserts what else must be so after a run."""
    in_one_process: Callable[[Sandbox], None] | None = None
    """Likewise, but not with workers, where it is not so by the plugin's own doing, or by that of xdist."""
    cannot: dict[str, str] = field(default_factory=dict)
    """The situations that it is not made for, and why; it is the same without auto-heal."""
    workers: str = ""
    """What its users add to -n 2."""
    warns: tuple[str, ...] = ()
    """Its own warnings, which without auto-heal would be errors as well, by a pattern."""
    env: dict[str, str] = field(default_factory=dict)
    on_terminal: bool = False
    """Whether it is in use only where stdout is a terminal."""
    needs: tuple[str, ...] = ()
    """Distributions that it does not bring along."""


# How the reports of others are read.


def html_report(project: Sandbox) -> Outcomes:
    """Read pytest-html's page, whose table is filled from JSON."""
    page = (project.root / "reports" / "health.html").read_text(encoding="utf-8")
    found = re.search(r'data-jsonblob="([^"]*)"', page)
    assert found, "the page has no data"
    tests = json.loads(html.unescape(found[1]))["tests"]
    return {name_of(nodeid): rows[-1]["result"].lower() for nodeid, rows in tests.items()}


def json_report(project: Sandbox) -> Outcomes:
    """Read pytest-json-report's file."""
    report = json.loads((project.root / "reports" / "health.json").read_text(encoding="utf-8"))
    assert report["summary"]["total"] == len(report["tests"]), report["summary"]
    return {name_of(test["nodeid"]): test["outcome"] for test in report["tests"]}


def report_log(project: Sandbox) -> Outcomes:
    """Read pytest-reportlog's lines, the last of which says how the session ended."""
    lines = (project.root / "reports" / "health.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert records[-1]["$report_type"] == "SessionFinish", records[-1]
    reports = [record for record in records if record["$report_type"] == "TestReport"]
    return phases((record["nodeid"], record["outcome"]) for record in reports)


def allure_results(project: Sandbox) -> Outcomes:
    """Read allure's folder: a file an attempt, of which the last one started counts."""
    results = [json.loads(path.read_text()) for path in (project.root / "allure-results").glob("*-result.json")]
    results.sort(key=lambda one: one["start"])
    return {name_of(one["fullName"].replace("#", "::")): one["status"].replace("broken", "failed") for one in results}


def name_of(nodeid: str) -> str:
    """Return the name of a check, without its parameters."""
    return nodeid.rpartition("::")[2].partition("[")[0]


def phases(reports: Iterable[tuple[str, str]]) -> Outcomes:
    """Fold the reports on the phases of each check: what failed has failed."""
    outcomes: Outcomes = {}
    for nodeid, outcome in reports:
        name = name_of(nodeid)
        outcomes[name] = "failed" if outcome == "failed" else outcomes.get(name, outcome)
    return outcomes


# What else must be so.


def no_coverage(project: Sandbox) -> None:
    """Coverage is off in a health run: it writes nothing."""
    assert not (project.root / "coverage.xml").exists()
    assert not list(project.root.glob(".coverage*"))


def in_junit(project: Sandbox) -> None:
    """The metadata of the project are in the report."""
    found = project.report.find("properties/property[@name='stage']")
    assert found is not None, "no metadata in the report"


def in_order(project: Sandbox) -> None:
    """The checks ran in the order that their marks want."""
    names = [case.get("name") for case in project.report.iter("testcase")]
    assert names[0] == "test_first", names
    assert names[-1] == "test_last", names


# A check needs no more than this of the service.
_ASK = 'assert services["api"].get("/api/health").ok'
_REQUEST = r'b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"'
# For a plugin that no check has to know.
_PLAIN = {
    "healthtests/test_with_plugin.py": f"""
        import pytest

        @pytest.mark.heals("api")
        def test_with_plugin(services):
            {_ASK}
    """
}

PLUGINS = {
    "xdist": Plugin(
        "pytest-xdist",
        options="-n 2",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                @pytest.mark.xdist_group("one")
                def test_with_plugin(services, worker_id):
                    assert worker_id.startswith(("gw", "master"))
                    {_ASK}
            """
        },
        says=("2 workers",),
    ),
    "asyncio": Plugin(
        "pytest-asyncio",
        ini="asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function",
        files={
            "healthtests/test_with_plugin.py": f"""
                import asyncio, contextlib
                import pytest

                @pytest.fixture
                async def connection(services):
                    reader, writer = await asyncio.open_connection("127.0.0.1", services["api"].port)
                    yield reader, writer
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

                @pytest.mark.heals("api")
                async def test_with_plugin(connection):
                    reader, writer = connection
                    writer.write({_REQUEST})
                    answer = await reader.readline()
                    assert b"200" in answer
            """
        },
    ),
    "anyio": Plugin(
        "anyio",
        files={
            "healthtests/test_with_plugin.py": f"""
                import anyio
                import pytest

                @pytest.fixture
                def anyio_backend():
                    return "asyncio"

                @pytest.mark.heals("api")
                @pytest.mark.anyio
                async def test_with_plugin(services):
                    async with await anyio.connect_tcp("127.0.0.1", services["api"].port) as stream:
                        await stream.send({_REQUEST})
                        assert b"200" in await stream.receive()
            """
        },
    ),
    "django": Plugin(
        "pytest-django",
        needs=("django",),
        ini="DJANGO_SETTINGS_MODULE = settings\npythonpath = .",
        files={
            "settings.py": """
                SECRET_KEY = "none"
                INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
                DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
            """,
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                def test_with_plugin(db, services):
                    from django.contrib.auth.models import User

                    User.objects.create(username="somebody")
                    assert User.objects.count() == 1
                    {_ASK}
            """,
        },
        says=("settings: settings (from ini)",),
    ),
    "cov": Plugin(
        "pytest-cov",
        options="--cov=shop --cov-fail-under=80 --cov-report=xml",
        ini="pythonpath = .",
        files={
            "shop.py": """
                def sell(number):
                    if number > 3:
                        return "much"
                    if number > 2:
                        return "some"
                    return "none"
            """,
            "healthtests/test_with_plugin.py": f"""
                import pytest
                import shop

                @pytest.mark.heals("api")
                def test_with_plugin(services):
                    assert shop.sell(1) == "none"
                    {_ASK}
            """,
        },
        also=no_coverage,
    ),
    "html": Plugin(
        "pytest-html",
        options="--html=reports/health.html --self-contained-html",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest
                import pytest_html

                @pytest.mark.heals("api")
                def test_with_plugin(services, extras):
                    extras.append(pytest_html.extras.text("what was seen"))
                    {_ASK}
            """
        },
        says=("Generated html report",),
        leaves=html_report,
    ),
    "allure": Plugin(
        "allure-pytest",
        options="--alluredir=allure-results --clean-alluredir",
        files={
            "healthtests/test_with_plugin.py": f"""
                import allure
                import pytest

                @pytest.mark.heals("api")
                @allure.severity(allure.severity_level.CRITICAL)
                def test_with_plugin(services):
                    with allure.step("ask"):
                        {_ASK}
                    allure.attach("what was seen", "seen")
            """
        },
        leaves=allure_results,
        writes_in_workers=True,
    ),
    "randomly": Plugin(
        "pytest-randomly",
        files={
            "healthtests/test_with_plugin.py": f"""
                import random
                import pytest

                @pytest.mark.heals("api")
                @pytest.mark.parametrize("number", [1, 2])
                def test_with_plugin(services, number):
                    assert random.random() < 1
                    {_ASK}
            """
        },
        says=("Using --randomly-seed=",),
    ),
    "sugar": Plugin(
        "pytest-sugar",
        options="--force-sugar",
        files=_PLAIN,
        says=("Results (",),
    ),
    "bdd": Plugin(
        "pytest-bdd",
        files={
            "healthtests/shop.feature": """
                Feature: The shop
                    Scenario: It answers
                        When I ask how it is
                        Then it is well
            """,
            "healthtests/test_with_plugin.py": """
                import pytest
                from pytest_bdd import scenario, then, when

                @pytest.mark.heals("api")
                @scenario("shop.feature", "It answers")
                def test_with_plugin():
                    pass

                @when("I ask how it is", target_fixture="answer")
                def ask(services):
                    return services["api"].get("/api/health")

                @then("it is well")
                def is_well(answer):
                    assert answer.ok
            """,
        },
        options="--gherkin-terminal-reporter -v",
        says=("Scenario: It answers",),
    ),
    # Without a browser, which is a download of its own: its client of APIs does without.
    "playwright": Plugin(
        "pytest-playwright",
        options="--base-url {url}",
        warns=("Session-scoped fixtures defined as instance methods",),
        files={
            "healthtests/test_with_plugin.py": """
                import pytest

                @pytest.fixture(scope="session")
                def api(playwright, base_url):
                    context = playwright.request.new_context(base_url=base_url)
                    yield context
                    context.dispose()

                @pytest.mark.heals("api")
                def test_with_plugin(api):
                    assert api.get("/api/health").ok
            """
        },
    ),
    "instafail": Plugin(
        "pytest-instafail",
        options="--instafail",
        files=_PLAIN,
        says_of_crash=("ended its process with exit code 7",),
    ),
    "metadata": Plugin(
        "pytest-metadata",
        options="--metadata stage canary",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                @pytest.mark.usefixtures("include_metadata_in_junit_xml")
                def test_with_plugin(services, metadata):
                    assert metadata["stage"] == "canary"
                    {_ASK}
            """
        },
        in_one_process=in_junit,
    ),
    "subtests": Plugin(
        "pytest-subtests",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                def test_with_plugin(services, subtests):
                    for number in range(3):
                        with subtests.test("ask", number=number):
                            {_ASK}
            """
        },
    ),
    "hypothesis": Plugin(
        "hypothesis",
        options="--hypothesis-show-statistics",
        files={
            "healthtests/test_with_plugin.py": """
                import pytest
                from hypothesis import HealthCheck, given, settings, strategies

                @pytest.mark.heals("api")
                @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
                @given(number=strategies.integers())
                def test_with_plugin(services, number):
                    assert services["api"].get(f"/api/health?number={number}").ok
            """
        },
        says=("Hypothesis Statistics",),
    ),
    "retry": Plugin(
        "pytest-retry",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                @pytest.mark.flaky(retries=2, delay=0.1)
                def test_with_plugin(services):
                    {_ASK}
            """
        },
    ),
    "json-report": Plugin(
        "pytest-json-report",
        options="--json-report --json-report-file=reports/health.json",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                def test_with_plugin(services, json_metadata):
                    json_metadata["seen"] = "much"
                    {_ASK}
            """
        },
        leaves=json_report,
    ),
    "reportlog": Plugin(
        "pytest-reportlog",
        options="--report-log=reports/health.jsonl",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                @pytest.mark.heals("api")
                def test_with_plugin(services, record_property):
                    record_property("seen", "much")
                    {_ASK}
            """
        },
        leaves=report_log,
    ),
    "order": Plugin(
        "pytest-order",
        files={
            "healthtests/test_with_plugin.py": f"""
                import pytest

                pytestmark = pytest.mark.heals("api")

                @pytest.mark.order("last")
                def test_last(services):
                    {_ASK}

                @pytest.mark.order("first")
                def test_first(services):
                    {_ASK}
            """
        },
        checks=("test_first", "test_last"),
        in_one_process=in_order,
    ),
    "dependency": Plugin(
        "pytest-dependency",
        ini="markers =\n    xdist_group: of xdist",
        files={
            "healthtests/test_a.py": f"""
                import pytest

                @pytest.mark.heals("api")
                @pytest.mark.xdist_group("one")
                @pytest.mark.dependency
                def test_first(services):
                    {_ASK}
            """,
            "healthtests/test_z.py": f"""
                import pytest

                @pytest.mark.heals("api")
                @pytest.mark.xdist_group("one")
                @pytest.mark.dependency(depends=["healthtests/test_a.py::test_first"], scope="session")
                def test_second(services):
                    {_ASK}
            """,
        },
        checks=("test_first", "test_second"),
        # What depends on each other has to be in one worker.
        workers="--dist=loadgroup",
        cannot={"crash -n 2": "after the end of a worker, xdist's loadgroup waits for ever, also without auto-heal"},
    ),
    "rich": Plugin(
        "pytest-rich",
        options="--rich",
        on_terminal=True,
        files=_PLAIN,
        cannot=dict.fromkeys(
            ("-n 2", "crash -n 2"), "its terminal divides by the number of checks, which xdist's controller has none of"
        ),
    ),
    "github-actions-annotate-failures": Plugin(
        "pytest-github-actions-annotate-failures",
        env={"GITHUB_ACTIONS": "true"},
        files=_PLAIN,
        says_of_crash=("::error file=healthtests/test_k.py",),
    ),
}
