"""Declared checks in the configuration: what they may say, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediation.config.checks import Check
from remediation.config.load import load_project
from remediation.config.schema import ConfigError

SERVICE = '[services.api]\ncommand = ["true"]\nurl = "http://localhost:1"\n'


def check(**keys: Any) -> Check:
    return msgspec.convert(keys, Check)


def problem(folder: Path, checks: str, service: str = SERVICE) -> str:
    (folder / "auto-heal.toml").write_text(f"{service}checks = {checks}\n")
    with pytest.raises(ConfigError) as error:
        load_project(folder, {})
    return str(error.value)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"get": "/api/health"}, "GET /api/health"),
        ({"post": "/login"}, "POST /login"),
        ({"tcp": True}, "TCP"),
        ({"tcp": "localhost:5432"}, "TCP localhost:5432"),
        ({"dns": "example.org"}, "DNS example.org"),
        ({"tls_expires_in": "14d"}, "TLS expires in 14d"),
        ({"memory_below": "500 MiB"}, "memory below 500 MiB"),
        ({"open_files_below": 900}, "open files below 900"),
        ({"disk_free": "10%", "path": "/var"}, "disk free 10% at /var"),
        ({"log_without": "ERROR"}, "log without ERROR"),
        # pytest would look for a check `Error` in `log without Active`.
        ({"log_without": "Active::Error"}, "log without Active:Error"),
        ({"log_without": "a\nb\x1b"}, "log without a\\nb\\x1b"),
        ({"heartbeat": {"name": "backup", "within": "25h"}}, "heartbeat backup"),
        ({"process": True}, "process"),
    ],
)
def test_a_check_is_named_after_what_it_checks(keys: dict[str, Any], name: str) -> None:
    assert check(**keys).name == name


@pytest.mark.parametrize(
    ("keys", "held"),
    [
        ({"memory_below": "1 MiB", "for": "30s"}, (30.0, 1)),
        ({"memory_below": "1 MiB", "for": 5}, (0.0, 5)),
        ({"memory_below": "1 MiB"}, (0.0, 1)),
        ({"get": "/", "within": 0.5}, (0.0, 3)),
        ({"get": "/", "within": "500ms", "for": "1m"}, (60.0, 1)),
    ],
)
def test_a_limit_heals_after_the_time_or_the_runs_of_for(keys: dict[str, Any], held: tuple[float, int]) -> None:
    assert check(**keys).held_for == held


@pytest.mark.parametrize("within", [0.5, "500ms", "0.5s"])
def test_within_is_in_seconds(within: object) -> None:
    assert check(get="/", within=within).longest == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{}]", "checks[0]: says nothing to check; give one of get, post, head, tcp,"),
        ('[{ get = "/", tcp = true }]', "checks[0]: has get and tcp; make it one check each"),
        ('[{ get = "health" }]', "checks[0].get: 'health' is no path such as \"/health\""),
        ('[{ get = "/", statsu = 200 }]', "checks[0]: unknown key 'statsu'; did you mean 'status'?"),
        ('[{ get = "/", status = 42 }]', "checks[0].status: expected a whole number >= 100"),
        ("[{ tcp = true, json = {} }]", "checks[0].json: does not go with tcp, only with get, post"),
        ('[{ get = "/", matches = "(" }]', "checks[0].matches: '(' is no regular expression: missing )"),
        ('[{ get = "/", within = "soon" }]', "checks[0].within: 'soon' is no duration such as"),
        ('[{ get = "/", within = 5 }]', "checks[0].within: must be less than timeout, 5s, which ends an attempt"),
        ('[{ memory_below = "500M" }]', "checks[0].memory_below: '500M' is no size such as 500 MiB"),
        ('[{ disk_free = "much" }]', "checks[0].disk_free: 'much' is neither a size such as 500 MiB nor a share"),
        ('[{ tls_expires_in = "14d" }]', "checks[0].tls_expires_in: needs an https url"),
        ('[{ heartbeat = { name = "a", within = "x" } }]', "checks[0].heartbeat.within: 'x' is no duration"),
        ('[{ heartbeat = { name = "a b", within = "1h" } }]', "checks[0].heartbeat.name: 'a b': up to 64 letters"),
        ('[{ get = "/", heals = ["app"] }]', "checks[0].heals: no service is called 'app'; known services: api"),
        ('[{ get = "/", for = 3 }]', "checks[0].for: needs within beside it"),
        ('[{ tcp = true, for = "1m" }]', "checks[0].for: needs within beside it"),
        ('[{ memory_below = "0 MiB" }]', "checks[0].memory_below: '0 MiB': must be more than 0"),
        (f'[{{ memory_below = "{"9" * 400} MiB" }}]', "MiB' is no size such as 500 MiB"),
        ('[{ cpu_below = "0%" }]', "checks[0].cpu_below: '0%': must be more than 0"),
        ('[{ open_files_below = "101%" }]', "checks[0].open_files_below: '101%' is more than 100%"),
        ('[{ disk_free = "0%" }]', "checks[0].disk_free: '0%': must be more than 0"),
        ('[{ disk_free = "200%" }]', "checks[0].disk_free: '200%' is more than 100%"),
        ('[{ get = "/", json = { a = [{ b = 2020-01-01 }] } }]', "checks[0].json.a[0].b: JSON has no 2020-01-01"),
        ('[{ post = "/", body = { a = nan } }]', "checks[0].body.a: JSON has no nan; write it in quotes"),
        ('[{ post = "/", body = 5 }]', "checks[0].body: expected a string or a table, got a whole number"),
        ('[{ get = "/", contains = "\\u0000" }]', "checks[0].contains: holds a NUL character"),
        ('[{ tcp = "db" }]', "checks[0].tcp: 'db' is neither host:port nor the name of a service; known services: api"),
        ('[{ tcp = "db:99999" }]', "checks[0].tcp: 'db:99999' is no address such as localhost:8787"),
        ('[{ tcp = "db:x" }]', "checks[0].tcp: 'db:x' is no address such as localhost:8787"),
        ("[{ tcp = false }]", "checks[0].tcp: unknown value False; known values: true"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_check_is_one_sentence_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, text)
    assert problem(tmp_path, text).startswith("auto-heal.toml: services.api.checks[0]")


@pytest.mark.parametrize("address", ["localhost:5432", "[::1]:5432", "unix:db.sock", "/run/db.sock", "api"])
def test_tcp_takes_an_address_or_a_service(tmp_path: Path, address: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(f'{SERVICE}checks = [{{ tcp = "{address}" }}]\n')

    assert load_project(tmp_path, {}).services["api"].checks[0].tcp == address


def test_all_that_is_wrong_is_said_in_one_run(tmp_path: Path) -> None:
    service = SERVICE + 'checks = [{ gte = "/" }, { memory_below = "1" }]\n[services.db]\nurl = "tcp://localhost:2"\n'
    text = problem(tmp_path, '[{ get = "/" }, { tcp = true, status = 200 }]', service)
    assert "services.api.checks[0]: unknown key 'gte'; did you mean 'get'?" in text
    assert "says nothing to check" not in text
    assert "services.api.checks[1].memory_below: '1' is no size" in text
    assert "services.db.checks[1].status: does not go with tcp" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{ get = "/" }]', "get: needs an http or https url"),
        ('[{ memory_below = "1 GiB" }]', "memory_below: needs command beside it: only then is the process known"),
    ],
)
def test_a_check_has_to_fit_its_service(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, text, '[services.db]\nurl = "tcp://localhost:1"\n')


@pytest.mark.parametrize(
    ("keys", "may"),
    [
        ({"get": "/", "matches": "^Healthy$"}, False),
        ({"get": "/", "matches": "(a+)+$"}, True),
        ({"get": "/", "matches": "a{5}"}, True),
        ({"log_without": "ERROR|WARN"}, False),
        ({"log_without": "E.*R"}, True),
        ({"get": "/"}, False),
    ],
)
def test_an_expression_that_repeats_something_may_match_for_ever(keys: dict[str, Any], *, may: bool) -> None:
    assert check(**keys).may_match_for_ever is may
