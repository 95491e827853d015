"""Mistakes in a configuration, in Russian."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remediation.config.load import load_project
from remediation.config.schema import ConfigError
from remediation.messages.translation import translated


@pytest.mark.parametrize(
    "check",
    [
        "{}", '{ get = "/", tcp = true }', "{ tcp = true, json = 1 }", '{ get = "health" }',
        '{ get = "/", within = "x" }',
        '{ get = "/", matches = "(" }', '{ memory_below = "5 MX" }', '{ cpu_below = "5" }',
        '{ heartbeat = { name = "a b", within = "1h" } }', '{ get = "/", heals = ["web"] }',
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_declared_check_is_told_in_russian(tmp_path: Path, check: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(
        f'[services.api]\ncommand = ["true"]\nurl = "http://localhost:1"\nchecks = [{check}]\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path, {})

    sentence = translated(str(caught.value), "ru")

    assert re.search("[а-я]", sentence), sentence


@pytest.mark.parametrize(
    "sentence",
    [
        'auto-heal.toml: services.api.ladder: "reload" needs the key reload: a command, or the name of a signal',
        "auto-heal.toml: services.api.reload: a signal needs command beside it: only then is the main process known",
        "conftest.py: auto_heal_before is async, and nobody would await it; define it with def",
    ],
)
def test_what_is_wrong_with_a_reload_or_a_hook_is_told_in_russian(sentence: str) -> None:
    assert re.search("[а-я]", translated(sentence, "ru"))
