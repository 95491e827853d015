"""A project's own hooks are called around its heals, take steps of its ladders, and learn of what the monitor tells."""

from __future__ import annotations

import pytest
from sandbox import Sandbox, wait_for
from watching import kill, watching

RECORD = """
import os, pathlib, time

def note(*words):
    with open("noted", "a") as file:
        print(*words, file=file)
"""


def noted(project: Sandbox) -> list[str]:
    """Return what the hooks have noted."""
    try:
        return (project.root / "noted").read_text().splitlines()
    except FileNotFoundError:
        return []


@pytest.fixture
def broken(project: Sandbox) -> Sandbox:
    """A project whose service ran and was killed."""
    project.auto_heal("start")
    kill(project)
    return project


@pytest.mark.parametrize("options", [[], pytest.param(["-n", "2"], marks=pytest.mark.soak)], ids=["alone", "workers"])
def test_hooks_are_called_before_and_after_a_heal_and_only_then(broken: Sandbox, options: list[str]) -> None:
    broken.write(
        "conftest.py",
        RECORD
        + """
def auto_heal_before(service, step, incident):
    note("before", service.name, service.url, step, incident.cause, len(incident.id))

def auto_heal_after(service, result):
    note("after", service.name, service.pid, result.step, result.ok, result.downtime > 0, result.evidence[:20])
""",
    )

    healed = broken.check(*options)
    well = broken.check(*options)

    assert (healed.code, well.code) == (0, 0), healed
    assert noted(broken) == [
        f"before api {broken.url} restart api: its process is not running 8",
        f"after api {broken.pid} restart True True .auto-heal/evidence/",
    ]


def test_a_reason_refuses_the_heal_and_costs_no_budget(broken: Sandbox) -> None:
    broken.write("healthtests/conftest.py", "def auto_heal_before():\n    return 'the database is being moved'\n")

    result = broken.check()

    assert result.code == 1
    assert "api: not healed, since auto_heal_before objects: the database is being moved" in result.output
    assert broken.servers() == []
    assert broken.state["restarts"] == []


def test_hooks_that_raise_write_and_exit_do_not_keep_a_service_from_being_healed(broken: Sandbox) -> None:
    broken.write(
        "conftest.py",
        "import sys\n\ndef auto_heal_before():\n    print('x' * 100_000)\n    raise ValueError('boom')\n\n"
        "def auto_heal_after():\n    sys.exit(7)\n",
    )

    result = broken.auto_heal("check")

    assert result.code == 0, result
    assert "auto_heal_before failed, and is ignored: conftest.py:5: ValueError: boom" in result.lines
    assert "auto_heal_after failed, and is ignored: conftest.py:8: SystemExit: 7" in result.lines


@pytest.mark.soak
def test_a_step_of_the_project_heals_without_a_restart_and_a_failed_one_is_followed_by_the_next(
    project: Sandbox,
) -> None:
    project.configure('ladder = [{ hook = "flush", timeout = 20 }, "restart"]')
    project.write(
        "conftest.py",
        RECORD
        + """
def auto_heal_step(service, name):
    note(name)
    if not os.path.exists("flushes"):
        return None
    os.remove("ill")
    return True
""",
    )
    project.write(
        "healthtests/test_ill.py",
        "import os, pytest\npytestmark = pytest.mark.heals('api')\n\n"
        "def test_ill():\n    assert not os.path.exists('ill')\n",
    )
    project.write("ill", "")
    project.write("flushes", "")
    project.auto_heal("start")
    pid = project.pid

    flushed = project.auto_heal("check")
    same = project.pid
    (project.root / "flushes").unlink()
    kill(project)
    plan = project.auto_heal("plan")
    restarted = project.auto_heal("check")

    assert flushed.code == 0, flushed
    assert same == pid
    assert "Running the hook flush..." in flushed.lines
    assert "  would call auto_heal_step for `flush`, for up to 20s" in plan.lines
    assert restarted.code == 0, restarted
    assert "api: no auto_heal_step of the project knows `flush`" in restarted.lines
    assert project.property("api.action") == "hook flush, restart"
    assert noted(project) == ["flush", "flush"]


@pytest.mark.soak
def test_a_hook_that_leaves_a_service_dead_is_not_waited_for_and_an_unknown_one_costs_nothing(broken: Sandbox) -> None:
    broken.configure('ladder = [{ hook = "flush" }]')
    broken.write("conftest.py", "def auto_heal_step(name):\n    return True\n")

    known = broken.check()
    spent = len(broken.state["restarts"])
    broken.write("conftest.py", "def auto_heal_step(name):\n    return None\n")
    unknown = broken.check()

    assert (known.code, unknown.code) == (1, 1)
    assert "api: the hook flush has not brought its process back" in known.output
    assert "api: no auto_heal_step of the project knows `flush`" in unknown.output
    assert (spent, len(broken.state["restarts"])) == (1, 1)


def test_a_hook_with_a_wrong_argument_is_wrong_use(project: Sandbox) -> None:
    project.write("conftest.py", "def auto_heal_after(res):\n    pass\n")

    result = project.check()

    assert result.code == 4
    assert "conftest.py: auto_heal_after has no argument 'res'; it has service, result, incident" in result.output


@pytest.mark.soak
def test_a_monitor_calls_the_hooks_and_tells_them_its_events(project: Sandbox) -> None:
    project.configure(top="interval = 0.3\nretries = 1")
    project.write(
        "conftest.py",
        RECORD
        + """
def auto_heal_before(service):
    note("before", service.name)

def auto_heal_notify(event):
    note(event.kind, event.name, event.title.partition(" (")[0], len(event.incident), "Cause: " in event.text)
    if event.kind == "healed":
        time.sleep(2)
""",
    )
    project.auto_heal("start")
    with watching(project) as monitor:
        monitor.ends_check(1)
        kill(project)
        wait_for(lambda: len(noted(project)) == 3)
        checked = monitor.statistics.checks
        # One that hangs does not hold the next cycles up.
        monitor.ends_check(checked + 2)
        code = monitor.stop()

    assert code == 0, monitor
    assert noted(project) == [
        "before api",
        "sick api auto-heal: api is sick 8 True",
        "healed api auto-heal: api is healed 8 True",
    ]
