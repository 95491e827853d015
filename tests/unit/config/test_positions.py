"""The lines of declared checks in the configuration."""

from __future__ import annotations

from remediation.config.positions import lines_of_checks

INLINE = """\
# a comment with a { brace
[tool.auto-heal.services.api]
url = "http://localhost:{1}"
checks = [
  { get = "/{id}", json = { status = "ok", empty = {} } },

  { tcp = true }, { dns = "a" },
]
[tool.auto-heal.services.db]
url = "tcp://localhost:1"
"""

TABLES = '''\
[services.api]
url = "http://localhost:1"
text = """
[[not.a.header]]
"""
[[services.api.checks]]
get = "/"

[[services.api.checks]] # the second
tcp = true
[[services.api.checks]]
'''


def test_each_check_has_its_line() -> None:
    assert lines_of_checks(INLINE, "tool", "auto-heal") == {"api": [5, 7, 7], "db": []}


def test_each_check_in_a_table_of_its_own_has_the_line_of_its_header() -> None:
    assert lines_of_checks(TABLES) == {"api": [6, 9, 11]}


def test_without_services_there_are_no_lines() -> None:
    assert lines_of_checks("a = { b = 1 }", "tool", "auto-heal") == {}
    assert lines_of_checks("tool = 1", "tool", "auto-heal") == {}


def test_what_is_no_toml_has_no_lines() -> None:
    assert lines_of_checks("[services.api", "tool") == {}
