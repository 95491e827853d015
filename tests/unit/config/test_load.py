"""The configuration: found upwards, overridden by the environment, and refused only with a helpful sentence."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from configurations import API, VALUES, load, toml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox import REPOSITORY

from remediation.config.load import language, load_project
from remediation.config.model import Address, Budget, LadderStep, LatencyLimits, Project, Rollback, Service, Version
from remediation.config.schema import ConfigError, keys
from remediation.engines.spawn import child_environment

OTHER = '[services.db]\nrestart = "x"\nurl = "tcp://localhost:5432"\n'


def refusal(root: Path, environ: dict[str, str] | None = None) -> str:
    """Return the sentence that refuses the configuration."""
    with pytest.raises(ConfigError) as raised:
        load_project(root, environ or {})
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_a_service_has_what_is_configured_and_a_default_for_everything_else(tmp_path: Path) -> None:
    project = load(tmp_path, "retries = 1\n" + API + OTHER)

    root, api = tmp_path.resolve(), project.services["api"]
    assert (project.interval, project.retries, project.retry_delay, project.timeout) == (30, 1, 5, 5)
    assert (project.log_file, project.report) == (root / "auto-heal.log", root / "reports/health.xml")
    assert (api.command, project.services["db"].restart_command) == (("node", "index.js"), ("x",))
    assert api.address == Address("http://localhost:8787", "http", "localhost", 8787)
    assert (api.ready, api.free_port, api.depends_on, api.cwd) == ("tcp", "own", (), root)
    assert (api.stop_signal, api.stop_timeout, api.start_timeout, api.probe_timeout) == (SIGTERM, 10, 30, 5)
    assert (api.pid_file, api.log_file) == (root / ".api-server.pid", root / "api-server.log")
    assert (api.ladder, api.rollback, api.budget) == ((LadderStep(()),), None, Budget(5, 600, calm=600))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("unix:/run/app.sock", "/run/app.sock"), ("unix:///run/app.sock", "/run/app.sock"),
        ("unix:app.sock", "{root}/app.sock"), ("unix:./sub/../app.sock", "{root}/app.sock"),
        ("unix:a b?c#d%20.sock", "{root}/a b?c#d%20.sock"),
    ],
)  # fmt: skip
def test_an_address_may_be_a_unix_socket(tmp_path: Path, url: str, path: str) -> None:
    api = load(tmp_path, f'[services.api]\nurl = "{url}"\nheaders = {{ X = "y" }}\n').services["api"]

    path = path.format(root=tmp_path.resolve())
    assert api.address == Address(f"unix:{path}", "unix", path, 0)
    assert (str(api.address), api.address.socket, api.address.base_path) == (f"unix:{path}", path, "")
    assert (api.ready, api.request_headers) == ("tcp", {"X": "y"})
    assert not {"PORT", "HOST"} & child_environment(api).keys() - os.environ.keys()
    assert load(tmp_path, OTHER, API_URL=url).services["db"].address == api.address


@pytest.mark.parametrize("url", ["unix:", "unix://", "unix://host/app.sock", "unix:/run/", "unix:a\\u0007b"])
def test_what_is_no_socket_is_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(f'[services.api]\nurl = "{url}"\n')

    assert "is no socket such as unix:/run/app.sock" in refusal(tmp_path)


@pytest.mark.parametrize("url", ["unix:@app", "unix:~/app.sock"])
def test_a_socket_without_a_file_or_in_a_home_is_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(f'[services.api]\ncommand = "x"\nurl = "{url}"\n')

    assert "only the path of a socket file can be given here" in refusal(tmp_path)


def test_a_socket_with_a_long_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "auto-heal.toml").write_text(f'[services.api]\nurl = "unix:/{"a" * 107}"\n')

    assert "is longer than the 107 bytes that a socket's path may have" in refusal(tmp_path)


def test_two_services_on_one_socket_are_refused(tmp_path: Path) -> None:
    text = '[services.{}]\ncommand = "x"\nurl = "unix:{}"\n'
    (tmp_path / "auto-heal.toml").write_text(text.format("a", "x/../s") + text.format("b", "s"))

    assert refusal(tmp_path) == "auto-heal.toml: services.b.url: is that of a too; each needs its own"


def test_every_key_is_taken(tmp_path: Path) -> None:
    text = (
        'command = ["a b", "c"]\ncwd = "sub"\nenv = { A = "1" }\nurl = "https://[::1]/base/"\nready = "/up"\n'
        'stop_signal = "int"\nstop_timeout = 0\nstart_timeout = 1.5\npid_file = "/run/x"\nlog_file = "x.log"\n'
        'free_port = "own"\ndepends_on = ["db"]\nladder = ["restart", { run = "npm ci", timeout = 9 }]\n'
        "rollback = \"./back 'a b'\"\nbudget = { restarts = 0, window = 1 }\n"
        'version = { path = "/v", field = "build.id" }\n'
    )
    api = load(tmp_path, f"[services.api]\n{text}{OTHER}").services["api"]

    root = tmp_path.resolve()
    assert (api.command, api.cwd, api.env) == (("a b", "c"), root / "sub", {"A": "1"})
    assert api.address == Address("https://[::1]/base", "https", "::1", 443)
    assert str(api.address) == "https://[::1]:443"
    assert (api.ready, api.stop_signal, api.stop_timeout, api.start_timeout) == ("/up", SIGINT, 0, 1.5)
    assert (api.pid_file, api.log_file, api.free_port) == (Path("/run/x"), root / "x.log", "own")
    assert (api.depends_on, api.ladder) == (("db",), (LadderStep(()), LadderStep(("npm", "ci"), 9)))
    assert (api.rollback, api.budget) == (Rollback(("./back", "a b"), 120, restart=True), Budget(0, 1, calm=60))
    assert api.version == Version("/v", "build.id")


def test_a_rollback_may_have_its_own_time_and_may_do_without_a_restart(tmp_path: Path) -> None:
    text = f'{API}rollback = {{ run = "git checkout -q HEAD~1", timeout = 9, restart = false }}\n'

    api = load(tmp_path, text).services["api"]

    assert api.rollback == Rollback(("git", "checkout", "-q", "HEAD~1"), 9, restart=False)
    assert api.rollback.action == "rollback by git checkout -q HEAD~1"


def test_from_when_on_a_check_is_slower_can_be_said(tmp_path: Path) -> None:
    assert load(tmp_path, API).latency == LatencyLimits(5, 2, 0.05)
    assert load(tmp_path, f"latency = {{ calls = 9, factor = 3, margin = 1 }}\n{API}").latency == LatencyLimits(9, 3, 1)


SHELL = [
    ("cd app && npm start", "cd"), ("npm ci && npm start", "&&"), ("a || b", "||"), ("a | tee log", "|"),
    ("a; b", ";"), ("a ; b", ";"), ("a &", "&"), ("a > log", ">"), ("a >log", ">log"), ("a 2>&1", "2>&1"),
    ("a &> log", "&>"), ("a < in", "<"), ("a --port $PORT", "$PORT"), ("a ${PORT}", "${"), ("a $(date)", "$("),
    ("a `date`", "`"), ("a ~/data", "~"), ("PASSWORD=hunter2 node x", "NAME=value"), ("exec a", "exec"),
    ("export A=b", "export"), ('a "b" && c', "&&"), ("npm start&", "&"), ("app a;b", ";"), (". ./env.sh", "."),
]  # fmt: skip
NO_SHELL = [
    "sh -c 'cd app && npm start > log; echo $HOME'", 'sh -c "a && b | c"', 'nginx -g "daemon off;"', "a --x=b&c d|e",
    "curl http://h/?a=1&b=2", "a '$X' \\$X ~x b~ 5$ '~/y'", "env A=b c", "./cd a", "a A=b",
]  # fmt: skip


@pytest.mark.parametrize(("command", "sign"), SHELL)
@pytest.mark.parametrize("key", ["command", "restart", "rollback", "run"])
def test_what_is_written_for_a_shell_is_refused_with_what_to_set_instead(
    tmp_path: Path, key: str, command: str, sign: str
) -> None:
    value = json.dumps(command)
    line = f"ladder = [{{ run = {value} }}]" if key == "run" else f"{key} = {value}"
    (tmp_path / "auto-heal.toml").write_text(f'[services.api]\nurl = "http://h"\n{line}\n')

    told = refusal(tmp_path)

    assert f": {sign} is for a shell, and no shell runs this; set cwd and env beside it" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("command", NO_SHELL)
def test_what_only_looks_as_if_for_a_shell_is_taken(tmp_path: Path, command: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(f"[services.api]\ncommand = {json.dumps(command)}\n")

    assert load_project(tmp_path, {}).services["api"].command


def test_the_words_of_a_list_are_taken_as_they_are(tmp_path: Path) -> None:
    words = ["A=b", "cd", "&&", "|", "$X", "~"]
    (tmp_path / "auto-heal.toml").write_text(f"[services.api]\ncommand = {json.dumps(words)}\n")

    assert load_project(tmp_path, {}).services["api"].command == tuple(words)


@pytest.mark.parametrize(
    "ready",
    [
        "/login", "/login/", "/signin", "/auth/login", "/accounts/login/", "/users/sign_in", "/Sign-In",
        "/wp-login.php", "/login.html", "/login?next=/",
    ],
)  # fmt: skip
def test_a_page_to_log_in_by_is_refused_as_ready(tmp_path: Path, ready: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(f'{API}ready = "{ready}"\n')

    assert f"services.api.ready: '{ready}' looks like a page to log in by, which answers well" in refusal(tmp_path)


@pytest.mark.parametrize("ready", ["/login/health", "/health?login=1", "/logins", "/auth", "/blogin", "/plugin"])
def test_another_path_with_such_a_word_is_taken(tmp_path: Path, ready: str) -> None:
    assert load(tmp_path, f'{API}ready = "{ready}"\n').services["api"].ready == ready


def test_a_version_can_only_be_asked_for_by_http(tmp_path: Path) -> None:
    (tmp_path / "auto-heal.toml").write_text(f'{OTHER}version = {{ path = "/v" }}\n')

    assert "services.db.version: needs an http or https url" in refusal(tmp_path)


def test_the_configuration_is_found_upwards_and_its_own_file_wins(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text("[tool.other]\n")
    assert re.match("no configuration: .* `auto-heal init` writes one", refusal(inner))
    (tmp_path / "pyproject.toml").write_text("[tool.auto-heal]\nretries = 1\n" + API.replace("[", "[tool.auto-heal."))
    assert load_project(inner, {}).source == tmp_path.resolve() / "pyproject.toml"
    load(tmp_path, "retries = 2\n" + API)
    assert load_project(inner, {}).retries == 2


def test_the_environment_is_above_the_file(tmp_path: Path) -> None:
    project = load(
        tmp_path, API + OTHER,
        API_URL="http://h:1/", CHECK_INTERVAL="0.5", MAX_RETRIES="7", RETRY_DELAY="0", LOG_FILE="x.log",
    )  # fmt: skip

    assert str(project.services["api"].address) == "http://h:1"
    assert str(project.services["db"].address) == "tcp://localhost:5432"
    assert (project.interval, project.retries, project.retry_delay) == (0.5, 7, 0)
    assert project.log_file == tmp_path.resolve() / "x.log"
    assert str(load(tmp_path, OTHER, API_URL="tcp://h:1").services["db"].address) == "tcp://h:1"


def test_an_empty_variable_is_as_none(tmp_path: Path) -> None:
    names = ("API_URL", "CHECK_INTERVAL", "MAX_RETRIES", "RETRY_DELAY", "LOG_FILE", "AUTO_HEAL_LANG", "LC_ALL")
    assert load(tmp_path, API, **dict.fromkeys(names, "")) == load(tmp_path, API)


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (API, {"API_URL": "nonsense"}, "API_URL"), (API, {"API_URL": "http://h:0"}, "API_URL"),
        (API.replace("api", "a") + OTHER, {"API_URL": "http://h"}, "API_URL is set, but no service is called 'api'"),
        (API, {"AUTO_HEAL_LANG": "de"}, "AUTO_HEAL_LANG is 'de'; known languages: en, ru"),
        (API, {"MAX_RETRIES": "1.5"}, "MAX_RETRIES is '1.5'; it must be a whole number, 1 or more"),
        (API, {"MAX_RETRIES": "0"}, "MAX_RETRIES is '0'; "), (API, {"MAX_RETRIES": "9" * 5000}, "MAX_RETRIES is "),
        *(
            (API, {name: value}, f"{name} is '{value}'; it must be a ")
            for value in ("x", "-1", "nan", "inf", "1e300", " ", "0x1")
            for name in ("CHECK_INTERVAL", "MAX_RETRIES", "RETRY_DELAY")
        ),
    ],
)  # fmt: skip
def test_a_bad_variable_is_refused_by_its_name(tmp_path: Path, text: str, environ: Any, expected: str) -> None:
    load(tmp_path, text)

    assert refusal(tmp_path, environ).startswith(f"environment: {expected}")


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        (None, {}, "en"), (None, {"LANG": "ru_RU.UTF-8"}, "ru"), (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"LANG": "ru_RU", "LC_MESSAGES": "C"}, "en"), (None, {"LANG": "C", "LC_MESSAGES": "ru_RU"}, "ru"),
        (None, {"LC_MESSAGES": "C", "LC_ALL": "ru"}, "ru"), (None, {"LC_MESSAGES": "ru_RU", "LC_ALL": ""}, "ru"),
        ("en", {"LC_ALL": "ru_RU"}, "en"), ("ru", {"LC_ALL": "C"}, "ru"),
        ("ru", {"AUTO_HEAL_LANG": "en_US.UTF-8"}, "en"), ("en", {"AUTO_HEAL_LANG": "RU"}, "ru"),
    ],
)  # fmt: skip
def test_a_language_is_chosen_by_variable_file_and_locale(configured: Any, environ: Any, expected: str) -> None:
    assert language(configured, environ) == expected


REFUSED: list[tuple[str, str]] = [
    ("intervall = 1", "unknown key 'intervall'; did you mean 'interval'?"),
    ("zzz = 1", "unknown key 'zzz'; known keys: interval, retries, "), ('"a\\nb" = 1', "unknown key 'a\\nb'"),
    ('interval = "30"', "interval: expected a number, got a string"), ("interval = nan", "interval: expected a number"),
    ("interval = true", "interval: expected a number, got true or false"), ("interval = inf", "interval: expected a n"),
    ("interval = [1]", "interval: expected a number, got a list"), ("interval = 0", "interval: expected a number > 0"),
    ("interval = 2020-01-01", "interval: expected a number, got a date"),
    ("retries = 1.5", "retries: expected a whole number, got a number"),
    ("retry_delay = -1", "retry_delay: expected a number >= 0"),
    ("retry_delay = nan", "retry_delay: expected a number"), ('log_file = ""', "log_file: "),
    *((f'{key} = "a\\u0000"\n{API}', f"{key}: ") for key in ("log_file", "report")),
    (f'language = "de"\n{API}', "language: unknown value 'de'; known values: "),
    ("services = 3", "services: expected a table, got a whole number"),
    ("services = []", "services: expected a table, got a list"),
    ("services.api = 3", "services.api: expected a table, got a whole number"),
    ("", "services: there is none; add [services.NAME]"),
    ('[services."a/b"]', "services.'a/b': a service's name has up to 64 letters, digits, - and _ only"),
    *((f'[services."{name}"]\ncommand = "x"', "services.") for name in ("a\\nb", "", "a" * 300)),
    ('[services."a\\nb"]\nx = 1', "services."), ("[services.api]", "services.api: has neither command nor url"),
    ('[services.api]\nready = "/x"\ncommand = "x"', "services.api.url: missing"),
    ('[services.api]\nstart = "x"\nurl = "http://h"', "services.api: start and stop need restart"),
    (f'{API}restart = "x"', "services.api: has both command and restart, start or stop"),
    (f'{OTHER}ready = "/x"', "services.db.ready: a path needs an http or https url"),
    (f'{API}depends_on = ["b"]\n[services.b]\ncommand = "x"\ndepends_on = ["api"]', "services: depends_on goes round"),
    # Each would end the other as a stranger, or take it for itself.
    (f'{API}[services.b]\ncommand = "x"\nurl = "http://localhost:8787"', "services.b.url: "),
    (f'{API}[services.b]\ncommand = "x"\npid_file = ".api-server.pid"', "services.b.pid_file: "),
]  # fmt: skip
NUL = '"a\\u0000b"'
WRONG: list[tuple[str, str, str]] = [
    ("urll", '"x"', ": unknown key 'urll'; did you mean 'url'?"),
    *(("restart", value, ".restart: is empty; give a program") for value in ('""', "[]", '[""]', '" "')),
    *(("restart", value, ".restart: expected a list of strings or one string") for value in ("5", "{}", "true")),
    *(("restart", value, ".restart[0]: expected a string, got a ") for value in ("[1]", "[[]]", "[{}]")),
    ("restart", f"[{NUL}]", ".restart[0]: holds a NUL character"),
    ("restart", '"a \'b"', ".restart: cannot be split as a shell would"),
    *((key, NUL, f".{key}: ") for key in ("cwd", "pid_file", "log_file", "url", "ready")),
    *((key, "1", f".{key}: expected a string, got a whole number") for key in ("cwd", "url", "ready", "stop_signal")),
    ("env", "1", ".env: expected a table"), ("env", "{ A = 1 }", ".env.A: expected a string, got a whole number"),
    ("env", f"{{ A = {NUL} }}", ".env.A: "), ("env", f"{{ {NUL} = 'x' }}", ".env: holds a NUL"),
    ("env", '{ "A=B" = "x" }', ".env.A=B: "),
    *(
        ("url", f'"{url}"', ".url: ")
        for url in (
            "", "nonsense", "localhost:8787", "ftp://h", "http://", "http://:80", "//h", "http://[::1", "http://a b",
            "http://h:0", "tcp://h:0", "http://h:99999", "http://h:-1", "http://h:x", "tcp://h", "http://a\\u007fb",
            "http://h:1/?q=1", "http://h:1/#f", "http://h:1/a b",
        )
    ),
    *(("ready", f'"{path}"', ".ready: ") for path in ("", "x", "TCP", "http://h", "/a b", "/a\\nb", "/a\\u007f", "/é")),
    ("stop_signal", '"x"', ".stop_signal: 'x' is no signal of this system"),
    ("stop_timeout", "-1", ".stop_timeout: expected a number >= 0"),
    ("start_timeout", "0", ".start_timeout: expected a number > 0"),
    ("free_port", '"all"', ".free_port: unknown value 'all'; known values: "),
    ("ladder", '["reboot"]', ".ladder[0]: unknown value 'reboot'; known values: 'restart'"),
    ("depends_on", '["x"]', ".depends_on: no service is called 'x'; known services: api"),
    ("depends_on", '"x"', ".depends_on: expected a list"), ("ladder", "[]", ".ladder: expected a list of length >= 1"),
    ("ladder", "[5]", '.ladder[0]: expected "restart", "reload" or a table, got a whole number'),
    ("ladder", "[{}]", ".ladder[0]: needs run, a command, or hook, the name of a step of the project's own"),
    ("ladder", '[{ run = "x", hook = "y" }]', ".ladder[0]: has both run and hook; make them two steps"),
    ("ladder", "[{ run = 5 }]", ".ladder[0].run: expected a list of strings or one string"),
    ("ladder", '[{ run = "x", timeot = 1 }]', ".ladder[0]: unknown key 'timeot'; did you mean 'timeout'?"),
    ("rollback", "[]", ".rollback: is empty; give a program"),
    ("rollback", "5", ".rollback: expected a list of strings, one string or a table, got a whole number"),
    ("rollback", "{ timeout = 5 }", ".rollback.run: missing"),
    ("rollback", '{ run = "x", timeot = 5 }', ".rollback: unknown key 'timeot'; did you mean 'timeout'?"),
    ("version", '"1"', ".version: expected a table"),
    ("version", "{ field = 'x' }", ".version.path: missing"),
    ("version", "{ path = 'x' }", ".version.path: 'x' is no path such as"),
    ("budget", "5", ".budget: expected a table"),
    ("budget", "{ restart = 1 }", ".budget: unknown key 'restart'; did you mean 'restarts'?"),
    *((key, "'x'", f": unknown key {key!r}; ") for key in ("name", "root", "mark", "log_size", "restart_command")),
    ("budget", "{ calm = 1 }", ".budget: unknown key 'calm'; known keys: restarts, window"),
    ("budget", "{ restarts = -1 }", ".budget.restarts: expected a whole number >= 0"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_a_mistake_is_told_by_file_key_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(text, encoding="utf-8")

    assert refusal(tmp_path).startswith(f"auto-heal.toml: {expected}")


@pytest.mark.parametrize(("key", "value", "expected"), WRONG)
def test_a_mistake_in_a_service_is_told_by_its_key(tmp_path: Path, key: str, value: str, expected: str) -> None:
    keys = {"restart": '"x"', "url": '"http://localhost:1"', key: value}
    lines = ["[tool.auto-heal.services.api]", *(f"{name} = {text}" for name, text in keys.items())]
    (tmp_path / "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")

    assert refusal(tmp_path).startswith(f"pyproject.toml: tool.auto-heal.services.api{expected}")


def test_all_unknown_keys_are_told_in_one_run(tmp_path: Path) -> None:
    ladder = "ladder = ['restart', { run = 'x', zz = 1 }]"
    text = f"intervall = 1\n{API}budget = {{ restart = 1 }}\n{ladder}\n[services.db]\nurll = 5"
    (tmp_path / "auto-heal.toml").write_text(text, encoding="utf-8")

    assert refusal(tmp_path) == (
        "auto-heal.toml: unknown key 'intervall'; did you mean 'interval'? "
        "auto-heal.toml: services.api.budget: unknown key 'restart'; did you mean 'restarts'? "
        "auto-heal.toml: services.api.ladder[1]: unknown key 'zz'; known keys: run, timeout, hook. "
        "auto-heal.toml: services.db: unknown key 'urll'; did you mean 'url'?"
    )


def test_an_address_of_the_environment_does_not_hide_a_wrong_one_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "auto-heal.toml").write_text("[services.api]\nurl = 5", encoding="utf-8")

    told = refusal(tmp_path, {"API_URL": "http://h"})

    assert told == "auto-heal.toml: services.api.url: expected a string, got a whole number"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = ", "not valid TOML: "), (b'a = "\xff"', "not UTF-8, as TOML must be: byte 5"),
        (b"\xef\xbb\xbfa = 1", "begins with a byte order mark, which TOML does not allow; save it as UTF-8"),
        (b"a = " + b"9" * 5000, "not valid TOML: "), (b"a = " + b"[" * 5000, "not valid TOML: "),
    ],
    ids=["cut off", "not UTF-8", "a byte order mark", "a number without end", "brackets without end"],
)  # fmt: skip
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "auto-heal.toml").write_bytes(content)

    assert refusal(tmp_path).startswith(f"auto-heal.toml: {expected}")


@pytest.mark.parametrize("content", ["a = [\n  {\n    b = 1 } ]", "a = { b = 1, }", "a = { b = 1\n}"])
def test_a_table_in_braces_that_is_no_toml_is_told_what_it_may_be(tmp_path: Path, content: str) -> None:
    (tmp_path / "auto-heal.toml").write_text(content)

    assert refusal(tmp_path).endswith("; a table in braces is one line, without a comma at its end")


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_what_we_may_not_read_is_told(locked: str) -> None:
    script = (
        "import os, sys; from pathlib import Path; import remediation.config.load as config\n"
        "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "try: config.load_project(Path(sys.argv[1]), {})\n"
        "except config.ConfigError as error: print(error)\n"
    )
    # Not pytest's folder, which is closed to whom root becomes here.
    with TemporaryDirectory() as name:
        root, inner = Path(name), Path(name) / "folder" / "inner"
        inner.mkdir(parents=True)
        load(root / "folder", API)
        root.chmod(0o755)
        path = root / "folder" / ("auto-heal.toml" if locked == "file" else "")
        path.chmod(0)
        command = [sys.executable, "-c", script, str(inner)]
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        path.chmod(0o700)

    assert (result.stderr, result.returncode) == ("", 0)
    assert re.search("cannot be read: Permission denied|no configuration", result.stdout)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    top=st.dictionaries(st.sampled_from(["zz", *list(keys(Project))[:-1]]), VALUES, max_size=2),
    service=st.dictionaries(st.sampled_from(["zz", *keys(Service)]), VALUES, max_size=3),
    noise=st.just(b"") | st.binary(max_size=9),
)
def test_any_content_is_a_project_or_one_sentence(
    tmp_path: Path, top: dict[str, object], service: dict[str, object], noise: bytes
) -> None:
    service = {"restart": "x", "url": "http://h"} | service
    pairs = [[f"{key} = {toml(value)}" for key, value in table.items()] for table in (top, service)]
    lines = [*pairs[0], "[services.api]", *pairs[1]]
    (tmp_path / "auto-heal.toml").write_bytes("\n".join(lines).encode(errors="replace") + noise)

    try:
        told = f"auto-heal.toml: {load_project(tmp_path, {})}"
    except ConfigError as error:
        told = str(error)

    assert re.fullmatch("auto-heal.toml: .+", told)
