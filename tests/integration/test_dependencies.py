"""Several services: dependencies first, independent ones in parallel, dependents only if they need it."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from sandbox import PATIENT, Sandbox, free_port


@pytest.fixture
def pair(project: Sandbox) -> Sandbox:
    """A project whose api depends on db, both of them servers."""
    url = f"http://127.0.0.1:{free_port()}"
    project.configure(
        'depends_on = ["db"]',
        more=f'[services.db]\ncommand = ["{sys.executable}", "{PATIENT}"]\nurl = "{url}"\nready = "/api/health"\n',
    )
    project.write(
        "healthtests/test_db.py",
        "import pytest\n\npytestmark = pytest.mark.heals('db')\n\n\n"
        "def test_db(services):\n    assert services['db'].get('/api/girls').json()\n",
    )
    return project


def heals(project: Sandbox, name: str) -> int:
    """Count the restarts of a service by checks."""
    file = project.root / ".auto-heal" / f"{name}.json"
    return len(json.loads(file.read_text())["restarts"]) if file.exists() else 0


def db_pid(project: Sandbox) -> int:
    """Return the PID in the PID file of db."""
    return int((project.root / ".db-server.pid").read_text())


def test_a_dependency_is_healed_before_its_dependent(pair: Sandbox) -> None:
    result = pair.check()

    assert result.code == 0, result
    assert result.output.index("db is up") < result.output.index("Restarting api")
    assert len(pair.servers()) == 2


@pytest.mark.soak
def test_a_dependent_that_recovers_with_its_dependency_is_not_restarted(pair: Sandbox) -> None:
    assert pair.auto_heal("start").code == 0
    pair.write(
        "healthtests/test_health.py",
        "import pytest\n\n\n@pytest.mark.heals('api')\n"
        "def test_api(services):\n    services['db'].get('/api/health')\n",
    )
    api = pair.pid
    os.kill(db_pid(pair), signal.SIGKILL)

    result = pair.check()

    assert result.code == 0, result
    assert pair.pid == api
    assert (heals(pair, "db"), heals(pair, "api")) == (1, 0)
    assert pair.property("api.action") == "recovered after db"


def test_a_dependent_is_not_restarted_if_its_dependency_was_brought_back_meanwhile(pair: Sandbox) -> None:
    assert pair.auto_heal("start").code == 0
    (pair.root / "healthtests" / "test_db.py").unlink()
    pair.write(
        "healthtests/test_health.py",
        "import subprocess, sys, pytest\n\n\n@pytest.mark.heals('api')\n@pytest.mark.flaky(reruns=0)\n"
        "@pytest.mark.timeout(30)\ndef test_api(services):\n"
        "    try:\n        services['db'].get('/api/health')\n    except BaseException:\n"
        "        subprocess.run([sys.executable, '-m', 'remediation', 'start', 'db'])\n        raise\n",
    )
    api = pair.pid
    os.kill(db_pid(pair), signal.SIGKILL)

    result = pair.check("-k", "test_api")

    assert result.code == 0, result
    assert "api recovered by itself after db" in result.output
    assert pair.pid == api


def test_a_dependent_that_stays_sick_is_healed_in_the_next_round(pair: Sandbox) -> None:
    assert pair.auto_heal("start").code == 0
    pair.get("/fall-ill/empty")
    os.kill(db_pid(pair), signal.SIGKILL)

    result = pair.check()

    assert result.code == 0, result
    assert (heals(pair, "db"), heals(pair, "api")) == (1, 1)
    assert pair.property("rounds") == "3"


@pytest.mark.soak
def test_a_dead_dependency_without_checks_is_healed_with_its_dependent(pair: Sandbox) -> None:
    (pair.root / "healthtests" / "test_db.py").unlink()

    result = pair.check()

    assert result.code == 0, result
    assert len(pair.servers()) == 2


def test_a_dependent_is_left_alone_when_its_dependency_cannot_be_healed(pair: Sandbox) -> None:
    assert pair.auto_heal("start").code == 0
    api = pair.pid
    os.kill(db_pid(pair), signal.SIGKILL)
    text = (
        (pair.root / "auto-heal.toml")
        .read_text()
        .replace("[services.db]", '[services.db]\nrestart_delay = 60\nenv = { CRASH = "1" }')
    )
    pair.write("auto-heal.toml", text)
    pair.get("/fall-ill/errors")

    result = pair.check()

    assert result.code == 1, result
    assert pair.pid == api
    assert "api: left alone, since db could not be healed" in result.output


def test_independent_services_are_healed_at_the_same_time(project: Sandbox) -> None:
    gate = project.root / "gate"
    names = ["one", "two", "three"]
    # Each restart waits until all three have begun: one after the other, none would end.
    script = f"mkdir -p {gate}; touch {gate}/$0; while [ $(ls {gate} | wc -l) -lt {len(names)} ]; do sleep 0.02; done"
    project.configure(
        more="\n".join(
            f'[services.{name}]\nurl = "http://127.0.0.1:{project.port}"\nready = "none"\nstart_timeout = 20\n'
            f"restart = {json.dumps(['sh', '-c', script, name])}"
            for name in names
        )
    )
    project.write(
        "healthtests/test_health.py",
        f"import pathlib, pytest\n\n\n@pytest.mark.heals(*{names})\ndef test_gate():\n"
        f"    assert len(list(pathlib.Path('{gate}').glob('*'))) == 3\n",
    )

    result = project.check("healthtests/test_health.py")

    assert result.code == 0, result


def test_services_start_in_order_and_stop_in_reverse(pair: Sandbox) -> None:
    started = pair.auto_heal("start", "api")
    stopped = pair.auto_heal("stop")

    assert started.output.index("db is up") < started.output.index("Starting api")
    assert stopped.output.index("api stopped") < stopped.output.index("db stopped")
    assert not pair.family()
