"""The most common plugins of pytest: a run with one of them has the same result as without.

`nox -s plugins` tries many more, each in an environment of its own; here these are all installed together.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_situations import SITUATIONS
from plugin_table import PLUGINS
from sandbox import Sandbox, is_healed

# As pytest-django does to Django.
EARLY = """
import json


def pytest_load_initial_conftests():
    json.begun = getattr(json, "begun", 0) + 1


def pytest_unconfigure():
    json.begun -= 1
"""
# As pytest-rich does, which has a reporter of its own.
REPLACING = """
import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.unregister(config.pluginmanager.get_plugin("terminalreporter"))
"""


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", ["xdist", "cov", "asyncio", "html"])
def test_a_run_with_a_plugin_has_the_same_verdict_and_the_plugin_has_its_own_report(
    tmp_path: Path, name: str, situation: str
) -> None:
    SITUATIONS[situation](PLUGINS[name], tmp_path)


def test_what_a_plugin_does_as_pytest_begins_is_taken_back_before_it_begins_again(project: Sandbox) -> None:
    project.write("early.py", EARLY)
    project.write("early-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: early\nVersion: 1\n")
    project.write("early-1.dist-info/entry_points.txt", "[pytest11]\nearly = early\n")
    project.write("healthtests/test_a.py", "import json\n\n\ndef test_it():\n    assert json.begun == 1\n")

    is_healed(project)

    assert project.property("rounds") == "2"


def test_the_xml_that_nobody_asked_for_makes_no_warning_of_what_a_check_records(healthy: Sandbox) -> None:
    healthy.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    healthy.write("healthtests/test_a.py", "def test_it(record_property):\n    record_property('seen', 'much')\n")

    result = healthy.check()

    assert result.code == 0, result


def test_a_heal_is_told_also_where_a_plugin_has_replaced_the_terminal_of_pytest(project: Sandbox) -> None:
    project.write("healthtests/conftest.py", REPLACING)

    result = project.check()

    assert "🎉 Healed!" in result.lines, result


def test_nothing_is_told_where_nobody_wants_a_terminal(project: Sandbox) -> None:
    result = project.check("-p", "no:terminal")

    assert (result.code, result.lines) == (0, []), result
    assert project.property("verdict") == "healed"
