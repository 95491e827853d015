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
        '{ get = "/", for = 3 }', '{ get = "/", within = 5 }', '{ memory_below = "0 B" }', '{ disk_free = "101%" }',
        '{ get = "/", json = nan }', '{ tcp = "db" }', '{ tls_expires_in = "1d" }', '{ get = "" }',
        '{ get = "/", status = 1 }', '{ get = "/", within = 0 }', '{ get = "/", every = 1e9 }',
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
        "conftest.py: auto_heal_before: pluggy gives no argument with a default or after *, as 'step' is",
        "probe.postgres: is no DSN: in user and password, percent-encode special characters, such as %40 for @",
        "probe.redis: is no URL: in user and password, percent-encode special characters, such as %2F for /",
    ],
)
def test_what_is_wrong_with_a_reload_a_hook_or_a_probe_is_told_in_russian(sentence: str) -> None:
    assert re.search("[а-я]", translated(sentence, "ru"))


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("expected a string, got a whole number", "ожидается строка, а задано другое: целое число"),
        ("expected a list of strings or one string, got true or false",
         "ожидается список строк или одна строка, а задано другое: true или false"),
        ('expected "restart", "reload" or a table, got a date',
         'ожидается "restart", "reload" или таблица, а задано другое: дата'),
        ("expected a whole number >= 100", "ожидается целое число не меньше 100"),
    ],
)  # fmt: skip
def test_what_a_value_is_has_no_word_of_english(english: str, russian: str) -> None:
    assert translated(f"auto-heal.toml: retries: {english}", "ru") == f"auto-heal.toml: retries: {russian}"


def test_each_of_several_mistakes_is_told_in_russian() -> None:
    text = "a.toml: x: unknown key 'gte'; did you mean 'get'? a.toml: y: missing. a.toml: z: missing."

    assert translated(text, "ru") == (
        "a.toml: x: неизвестный ключ 'gte'; возможно, имелся в виду 'get'. a.toml: y: не задано. a.toml: z: не задано."
    )
