"""Scripts are added to a package.json in its own format, and nothing else in it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.cli import package_json
from remediation.cli.package_json import SCRIPTS, _with_scripts, extended, missing
from remediation.config.schema import ConfigError

AUTO, MONITOR = '"doctor:auto": "auto-heal check"', '"doctor:monitor": "auto-heal monitor"'


def written(folder: Path, text: str) -> Path:
    """Write a package.json into a folder, and return the folder."""
    (folder / package_json.NAME).write_bytes(text.encode())
    return folder


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{\n  "scripts": {\n    "start": "node ."\n  },\n  "version": "1"\n}\n',
            f'{{\n  "scripts": {{\n    "start": "node .",\n    {AUTO},\n    {MONITOR}\n  }},\n  "version": "1"\n}}\n',
        ),
        (
            '{\n\t"scripts": {\n\t\t"a": "b"\n\t}\n}',
            f'{{\n\t"scripts": {{\n\t\t"a": "b",\n\t\t{AUTO},\n\t\t{MONITOR}\n\t}}\n}}',
        ),
        (
            '{\r\n    "scripts": {}\r\n}\r\n',
            f'{{\r\n    "scripts": {{\r\n        {AUTO},\r\n        {MONITOR}\r\n    }}\r\n}}\r\n',
        ),
        ('{"scripts": {"a": "b"}}', f'{{"scripts": {{"a": "b", {AUTO}, {MONITOR}}}}}'),
        (
            '{\n  "name": "x"\n}\n',
            f'{{\n  "name": "x",\n  "scripts": {{\n    {AUTO},\n    {MONITOR}\n  }}\n}}\n',
        ),
        ("{}", f'{{\n  "scripts": {{\n    {AUTO},\n    {MONITOR}\n  }}\n}}'),
        ('\ufeff{"a": 1}', f'\ufeff{{"a": 1, "scripts": {{{AUTO}, {MONITOR}}}}}'),
    ],
)  # fmt: skip
def test_the_scripts_are_added_as_the_file_is_written(tmp_path: Path, before: str, after: str) -> None:
    assert extended(written(tmp_path, before), SCRIPTS).decode() == after


def test_a_script_of_that_name_stays(tmp_path: Path) -> None:
    root = written(tmp_path, '{"scripts": {"doctor:auto": "mine"}}')

    assert missing(root, needed=True) == {"doctor:monitor": "auto-heal monitor"}
    assert extended(root, missing(root, needed=True)) == f'{{"scripts": {{"doctor:auto": "mine", {MONITOR}}}}}'.encode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "package.json: not valid JSON: "),
        ("[]", "package.json: is not an object"),
        ('{"scripts": 7}', "package.json: scripts: is not an object"),
        ('{"scripts": {"a": "1"}, "scripts": [{}]}', "package.json: scripts: is not an object"),
    ],
)
def test_a_file_of_another_form_is_refused_only_if_it_was_asked_for(tmp_path: Path, text: str, sentence: str) -> None:
    root = written(tmp_path, text)

    assert missing(root, needed=False) == {}
    with pytest.raises(ConfigError, match=sentence):
        missing(root, needed=True)


def test_a_missing_file_is_told_only_if_it_was_asked_for(tmp_path: Path) -> None:
    assert missing(tmp_path, needed=False) == {}
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        missing(tmp_path, needed=True)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_SCRIPTS = st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


@given(
    st.dictionaries(st.text(max_size=5), _JSON, max_size=3), _SCRIPTS, st.sampled_from([None, 1, 2, 4, "\t"]),
    st.booleans(),
)  # fmt: skip
def test_nothing_else_changes_whatever_is_in_the_file(
    package: dict[str, object], scripts: dict[str, str] | None, indent: int | str | None, ascii_only: bool
) -> None:
    if scripts is not None:
        package["scripts"] = scripts
    text = json.dumps(package, indent=indent, ensure_ascii=ascii_only)

    after = json.loads(_with_scripts(text, SCRIPTS))

    assert after == package | {"scripts": (scripts or {}) | SCRIPTS}
