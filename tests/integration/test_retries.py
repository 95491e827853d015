"""The retries and the timeout of a check, and the arguments of its marker."""

from __future__ import annotations

import re

import pytest
from sandbox import Sandbox


@pytest.mark.soak
def test_a_marker_for_an_unknown_service_is_told(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_typo.py", "import pytest\n\n@pytest.mark.heals('apj')\ndef test_typo():\n    pass\n"
    )

    result = healthy.check()

    assert result.code == 4, result
    assert "heals('apj'): no such service; known services: api" in result.output


def test_a_check_that_recovers_by_itself_is_healthy(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_third.py",
        "import pathlib, pytest\n\n@pytest.mark.heals('api')\ndef test_third():\n"
        "    seen = pathlib.Path('seen')\n    before = seen.exists()\n    seen.touch()\n    assert before\n",
    )

    result = healthy.check()

    assert result.code == 0, result
    assert healthy.property("verdict") == "healthy"
    assert "[WARN] Attempt 1/3 failed, retrying in 0.1s..." in healthy.log


@pytest.mark.soak
def test_a_hanging_check_is_ended_by_its_deadline_and_healed(healthy: Sandbox) -> None:
    healthy.configure(top="timeout = 1\nretries = 2")
    healthy.write(
        "healthtests/test_third.py",
        "import pathlib, pytest, time\n\n@pytest.fixture\ndef slow():\n"
        "    if not pathlib.Path('seen').exists():\n        time.sleep(600)\n\n"
        "@pytest.mark.heals('api')\ndef test_third(slow):\n"
        "    pass\n",
    )

    result = healthy.check("-s")

    assert result.code == 1, result
    assert len(re.findall("❌ /?test_third FAIL after 2 attempts", healthy.log)) == 2


def test_the_retries_of_a_check_are_its_own_if_it_says_so(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_third.py",
        "import pytest\n\n@pytest.mark.flaky(reruns=4)\ndef test_third():\n    assert False\n",
    )

    result = healthy.check()

    assert result.code == 1, result
    assert "test_third FAIL after 5 attempts" in healthy.log


def test_retries_of_the_command_line_win_over_the_configuration(healthy: Sandbox) -> None:
    healthy.write("healthtests/test_third.py", "def test_third():\n    assert False\n")

    result = healthy.check("--reruns=1")

    assert result.code == 1, result
    assert "test_third FAIL after 2 attempts" in healthy.log


def test_a_check_without_the_marker_does_not_wait_for_a_process_that_is_dead(project: Sandbox) -> None:
    project.configure(top="retry_delay = 3600")
    project.write("healthtests/test_third.py", "def test_third(services):\n    services['api'].get('/api/health')\n")

    result = project.check()

    assert result.code == 0, result
    assert "retrying" not in project.log


@pytest.mark.soak
@pytest.mark.parametrize("marker", ["heals", "heals()", "heals(['api'])", "heals(services=['api'])", "heals(3)"])
def test_a_marker_that_names_no_service_is_told(healthy: Sandbox, marker: str) -> None:
    text = f"import pytest\n\n@pytest.mark.{marker}\ndef test_third():\n    pass\n"
    healthy.write("healthtests/test_third.py", text)

    result = healthy.check()

    assert result.code == 4, result
    assert 'heals takes names of services, as in heals("api")' in result.output


def test_a_check_of_a_service_that_is_not_configured_heals_nothing(healthy: Sandbox) -> None:
    pid = healthy.pid
    healthy.write(
        "healthtests/test_third.py",
        "import pytest\n\n@pytest.mark.heals('api')\ndef test_third(services):\n    services['apj'].get('/')\n",
    )

    result = healthy.check()

    assert result.code == 1, result
    assert "no service is called 'apj'" in result.output
    assert healthy.pid == pid
