"""What is written in TOML is read back as it was, whatever is in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remediation.config.load import tomllib
from remediation.config.writing import table

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(_TEXT, _VALUES, max_size=4))
def test_a_table_is_read_back_as_it_was(values: dict[str, object]) -> None:
    assert tomllib.loads(table("tool.auto-heal", values))["tool"]["auto-heal"] == values


def test_a_table_is_written_as_a_person_would() -> None:
    values = {
        "command": ["node", "index.js"],
        "url": "http://localhost:3000",
        "checks": [{"get": "/health", "json": {"status": "ok", "a b": True}}, {"process": True}],
    }

    assert table("services.api", values).splitlines() == [
        "[services.api]",
        'command = ["node", "index.js"]',
        'url = "http://localhost:3000"',
        "checks = [",
        '  { get = "/health", json = { status = "ok", "a b" = true } },',
        "  { process = true },",
        "]",
    ]
