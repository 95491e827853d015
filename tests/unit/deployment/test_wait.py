"""The wait for a deployment: it takes no longer than needed, and ends at once if nothing can arrive."""

from __future__ import annotations

import re
import threading
from contextlib import closing

import pytest
from answering_versions import Web
from sandbox import DEADLINE, Sandbox
from waiting import Waiting

from remediation.config.load import load_project
from remediation.config.schema import ConfigError
from remediation.deployment import versions

VERSION = 'version = { path = "/v", field = "id" }'


@pytest.fixture
def elsewhere(project: Sandbox) -> Sandbox:
    """Return a project whose service auto-heal does not run."""
    project.configure(f"start_timeout = 0.3\n{VERSION}", command='restart = ["true"]')
    return project


def test_what_is_there_is_not_waited_for_and_not_told(elsewhere: Sandbox) -> None:
    with closing(Web(elsewhere.port)) as web:
        web.become("2")
        waiting = Waiting(elsewhere)

        waiting.wait(DEADLINE, {"api": "2"})

    assert waiting.told == []


def test_it_is_waited_for_until_it_is_ready(elsewhere: Sandbox) -> None:
    with closing(Web(elsewhere.port)) as web:
        web.status = 503
        waiting = Waiting(elsewhere)
        later = threading.Timer(0.3, lambda: setattr(web, "status", 200))
        later.start()

        waiting.wait(DEADLINE)

        later.join()
    assert waiting.told[0] == "Waiting for the new version (status 503)..."
    assert waiting.told[1].startswith("New version ready after ")


def test_it_is_waited_for_until_the_new_version_answers(elsewhere: Sandbox) -> None:
    with closing(Web(elsewhere.port)) as web:
        web.become("1")
        waiting = Waiting(elsewhere)
        later = threading.Timer(0.3, lambda: web.become("2"))
        later.start()

        waiting.wait(DEADLINE, {"api": "2"})

        later.join()
    assert waiting.told[0] == "Waiting for the new version (api: version 1 answers, expected 2)..."
    assert waiting.told[1].startswith("New version ready after ")


@pytest.mark.parametrize(("seconds", "least"), [(0.5, 0.5), (None, 0.3)])
def test_it_is_not_waited_for_beyond_the_time(elsewhere: Sandbox, seconds: float | None, least: float) -> None:
    waiting = Waiting(elsewhere)

    waited = waiting.wait(seconds)

    assert waited >= least
    told = re.match(r"New version not ready after ([\d.]+)s: ", waiting.told[-1])
    assert told
    assert least <= float(told[1]) <= round(waited, 1)


def test_a_process_of_ours_that_is_dead_is_not_waited_for(project: Sandbox) -> None:
    waiting = Waiting(project)

    waited = waiting.wait(10 * DEADLINE)

    assert waited < 5 * DEADLINE
    assert waiting.told[-1].startswith("Not waiting: nothing is starting the service: ")


def test_all_services_share_the_time(project: Sandbox) -> None:
    project.configure(
        command='restart = ["true"]',
        more='[services.b]\nrestart = ["true"]\nurl = "tcp://127.0.0.1:1"\n[services.c]\nurl = "tcp://127.0.0.1:2"',
    )
    waiting = Waiting(project)

    waited = waiting.wait(1.0)

    assert waited < 3.0 * DEADLINE
    assert [line.split()[3] for line in waiting.told if "not ready" in line] == ["api", "b", "c"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["2"], {"api": "2", "b": "2"}), (["api=2"], {"api": "2"}), (["2", "b=3"], {"api": "2", "b": "3"}),
        (["api=x=2"], {"api": "x=2"}), (["b=3", "2"], {"api": "2", "b": "3"}),
        (["2", "2"], {"api": "2", "b": "2"}), ([" 2 "], {"api": "2", "b": "2"}), ([], {}),
    ],
)  # fmt: skip
def test_a_version_is_that_of_all_or_of_one(project: Sandbox, wanted: list[str], found: dict[str, str]) -> None:
    more = f'[services.b]\nurl = "http://127.0.0.1:1"\n{VERSION}\n[services.c]\nurl = "http://127.0.0.1:2"'
    project.configure(VERSION, more=more)

    assert versions.expected(load_project(project.root, {}), wanted) == found


@pytest.mark.parametrize(
    "wanted", ["", "  ", "api=", "c=1", "appi=1", "a\nb", "\udcff", "x" * 201, "1 2", "=1"], ids=ascii
)
def test_a_version_that_cannot_be_expected_is_refused(project: Sandbox, wanted: str) -> None:
    project.configure(VERSION, more='[services.c]\nurl = "http://127.0.0.1:2"')

    with pytest.raises(ConfigError, match="--expect-version") as raised:
        versions.expected(load_project(project.root, {}), [wanted, "other"][: 1 + (wanted == "1 2")])

    assert str(raised.value).isprintable()


def test_without_any_that_tells_its_version_none_can_be_expected(project: Sandbox) -> None:
    with pytest.raises(ConfigError, match=r"does not say where a version is told; add version = .* to services\.api"):
        versions.expected(load_project(project.root, {}), ["1"])
