"""Configurations, and values of any type to put into them."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from remediation.config.load import load_project
from remediation.config.model import Project

API = '[services.api]\ncommand = "node index.js"\nurl = "http://localhost:8787"\n'


def load(root: Path, text: str, **environ: str) -> Project:
    """Load a project with this configuration."""
    (root / "auto-heal.toml").write_text(text, encoding="utf-8")
    return load_project(root, environ)


WORDS = st.sampled_from(["", "restart", "en", "own", "/", "tcp", "none", "http://h:1", "tcp://h:0", "a b", "'"])
KEYS = st.text(max_size=9) | st.just("run")
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def toml(value: object) -> str:
    """Write a value in TOML, which has no lone surrogates."""
    match value:
        case bool() | str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
        case _:
            return str(value)
