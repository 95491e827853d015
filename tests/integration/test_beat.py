"""`auto-heal beat` works as a cron job needs it: quiet, with half a configuration, and clear when it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from other_user import as_nobody, open_project
from pinged import SECRET, Watcher
from sandbox import Sandbox, wait_for
from watching import watching

from remediation.state.heartbeats import last


@pytest.fixture
def shared() -> Iterator[Sandbox]:
    """A project that another user may enter."""
    yield from open_project()


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--exit-code", "3"], 3), (["--fail"], 1)])
def test_a_heartbeat_is_stored_without_a_word(project: Sandbox, options: list[str], code: int) -> None:
    # A job has not the variables that the configuration needs.
    project.configure('headers = { Authorization = "Bearer ${API_TOKEN}" }')

    result = project.auto_heal("beat", "backup", *options)

    assert (result.code, result.output) == (0, "")
    found = last(project.root / ".auto-heal", "backup")
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a b"], "auto-heal: a b: no name of a heartbeat, which has up to 64 letters, digits, - and _\n"),
        (["x", "--exit-code", "-1"], "'-1' is no exit code, which is a number up to 255"),
        (["x", "--exit-code", "256"], "'256' is no exit code, which is a number up to 255"),
        ([], "the following arguments are required: NAME"),
    ],
)
def test_wrong_use_is_told(project: Sandbox, words: list[str], said: str) -> None:
    result = project.auto_heal("beat", *words)

    assert result.code == 4
    assert said in result.output
    assert list(project.root.glob(".auto-heal/.beat-*")) == []


def test_without_a_project_it_is_told(project: Sandbox) -> None:
    os.remove(project.root / "auto-heal.toml")

    result = project.auto_heal("beat", "backup")

    assert result.code == 4
    assert result.output.startswith("auto-heal: no configuration: ")


def test_another_user_is_told_whose_the_folder_is_and_may_read_the_heartbeat(shared: Sandbox) -> None:
    shared.auto_heal("beat", "backup")

    result = as_nobody(shared, "remediation", "beat", "backup", "--fail")

    folder = shared.root / ".auto-heal"
    assert result.code == 1
    assert result.output == (
        f"auto-heal: backup: its heartbeat cannot be written to {folder}, which belongs to the user root; "
        "run this as root, or send it to the monitor's URL\n"
    )
    found = last(folder, "backup")
    assert found is not None
    assert found.code == 0


@pytest.mark.soak
def test_a_monitor_pings_after_a_cycle_and_says_why_when_it_is_sick(project: Sandbox) -> None:
    watcher = Watcher()
    try:
        url = watcher.url.replace(SECRET, "${UUID}")
        project.configure(top="interval = 0.2\nretries = 1", more=f'[notify]\nheartbeat = "{url}"')
        project.auto_heal("start", UUID=SECRET)
        with watching(project, "--no-heal", "-k", "health", UUID=SECRET) as monitor:
            wait_for(lambda: watcher.got)
            project.auto_heal("stop", UUID=SECRET)
            wait_for(lambda: len(watcher.got) > 1)
            assert monitor.stop() == 0
    finally:
        watcher.close()

    assert watcher.got[0] == (f"/{SECRET}", "healthy")
    path, body = watcher.got[1]
    assert path == f"/{SECRET}/fail"
    assert "api: " in body or body == "down: api"
    assert SECRET not in project.log
