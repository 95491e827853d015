"""A value beside the name of a secret is masked if it may be one; the state of a component stays readable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remediation.config.load import load_project
from remediation.system import secrets
from remediation.system.secrets import learn, learn_url, learn_words, redacted, redacted_value, redacted_words


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told neither a secret yet nor what is none."""
    monkeypatch.setattr(secrets, "_known", secrets._Register())


@pytest.mark.parametrize(
    "text",
    [
        # Parts of a service, and how they are.
        "Checking auth: session store...", '"""auth: session store"""', "auth: ok", "AUTH: DOWN", "token: Expired.",
        "assert {'auth': 'down', 'session_token': 'ok', 'n': 1} == {'auth': 'ok', 'session_token': 'ok', 'n': 1}",
        '{"auth": {"status": "down", "latency": 3.2}, "cookie": null, "jwt": 12.5}', '{"auth": {"since":12}}',
        r'"{\"auth\": \"down\", \"token\": {\"age\": \"3s\"}}"', '{"auth": "UP", "token": "OUT_OF_SERVICE"}',
        '{"auth": "connection refused", "token": "has expired", "jwt": "invalid signature"}',
        "E         'auth': 'down',", "auth       = 'down'", "token == 'ok' or auth != 'down'", "<token>ok</token>",
        "auth=ok token=expired session_token=missing", "cookie: missing", "cookie: expired at 2026-01-01",
        "session_cookie: invalid (see the log)", "authorization: failed", "credentials: missing", "dsn: unreachable",
        "auth: http 401 unauthorized", "auth: session-store, token: auth_service", "auth: degraded: redis is down",
        '{"detail": "auth: down (redis, 3.2s), cookie: ok"}', "jwt: malformed", "token: истёк", "tokens=12345678901",
        "no token: expired yesterday", "token = '/api/health'", "token: /api/v1/health", "pwd: /home/x",
        # What is said about a password.
        "invalid password: must have 8 characters", "DB_PASSWORD: must be set", "password: required",
        "'password: must have 8 characters, one digit'", "password: strength too low", "secret: not configured",
        # `-u` of another kind.
        "docker run -u user:group x", "['podman', 'exec', '-u', 'app:www-data', 'x']",
    ],
)  # fmt: skip
def test_an_ordinary_word_beside_the_name_of_a_secret_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # No ordinary word.
        ("auth: A1b2C3d4", "auth: ***"), ("token: qzxkvwpl", "token: ***"), ("token=hunter2", "token=***"),
        ("{'cookie': 'aBc'}", "{'cookie': '***'}"), ('{"auth": "S3cret", "n": 1}', '{"auth": "***", "n": 1}'),
        ("jwt: a.b1c", "jwt: ***"), ("pwd: hunter2", "pwd: ***"), ("session_id: 3f9a8b7c", "session_id: ***"),
        ("token: 12345678901234567890", "token: ***"), ("token: ABCD-EFGH-IJKL", "token: ***"),
        ("token: correct-horse-battery-staple", "token: ***"), ('{"token": {"v": "x9y8z7"}}', '{"token": {***}}'),
        ("auth: joe:hunter", "auth: ***"), ("auth=joe:hunter", "auth=***"), ("token: /Ab3/dZ9f", "token: ***"),
        # Names of what was surely chosen as a secret.
        ("password=hunter", "password=***"), ('{"password": "correct"}', '{"password": "***"}'),
        ('{"password": "must be set"}', '{"password": "***"}'), ("password: hunter", "password: ***"),
        ("password: hunter for joe", "password: *** for joe"), ("api_key: word", "api_key: ***"),
        ("private_key = 'word'", "private_key = '***'"), ("secret=correct", "secret=***"),
        ('"password: is A1b2c3"', '"password: ***"'), ("<password>word</password>", "<password>***</password>"),
        ('{"password": 1234, "n": 1}', '{"password": ***, "n": 1}'),
        # What is given to a process or a client.
        ("API_TOKEN=word", "API_TOKEN=***"), ("{'API_TOKEN': 'production'}", "{'API_TOKEN': '***'}"),
        ("--token word", "--token ***"), ("--auth=word", "--auth=***"), ("/x?token=word", "/x?token=***"),
        ("auth=('joe', 'word')", "auth=(***)"), ("x -u joe:word", "x -u ***"),
        ("docker run x curl -u joe:word", "docker run x curl -u ***"),
        ("docker ps\nx -u joe:word", "docker ps\nx -u ***"),
        # Headers.
        ("Authorization: Bearer word", "Authorization: ***"), ("authorization: bearer word", "authorization: ***"),
        ("{'authorization': 'Bearer word'}", "{'authorization': '***'}"), ("Cookie: ok then", "Cookie: ***"),
        ("Set-Cookie: theme=dark; x", "Set-Cookie: ***"), ("cookie: theme=dark; x", "cookie: ***"),
        ("-H 'X-Auth-Token: word'", "-H 'X-Auth-Token: ***'"), ("{'Cookie': 'word'}", "{'Cookie': '***'}"),
    ],
)  # fmt: skip
def test_what_may_be_a_secret_beside_its_name_is_masked(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("API_TOKEN", value) for value in (
            "/api/health", "/api/v1/health/ready", "production-server", "localhost:8787",
            "db1.internal.example.org:5432", "api.internal.example.org", "192.168.100.200:8080", "[fe80::1234]:8080",
            "connection refused by the host", '{"status": "ok", "auth": "down"}',
        )],
        *[("DB_PASSWORD", value) for value in ("production-server", "/var/lib/postgres", "localhost:5432")],
    ],
)  # fmt: skip
def test_an_address_or_plain_words_are_no_secret_wherever_they_stand(name: str, value: str) -> None:
    learn({name: value})
    learn_words(["x", f"--token={value}"])

    assert redacted(f"Checking {value}...") == f"Checking {value}..."


@pytest.mark.parametrize(
    "value",
    [
        "s3cr3t-of-ours", "correct horse battery staple", "correct-horse-battery-staple", "qwzrtpsdfghjklmnb",
        "/Xk3/dZ9f+q1", "1234567890123456", "Production-Serv3r", "abcdefghijklmnopqrst",
    ],
)  # fmt: skip
def test_what_is_unlike_ordinary_text_is_a_secret_wherever_it_stands(value: str) -> None:
    learn({"DB_PASSWORD": value})

    assert redacted(f"it says {value}!") == "it says ***!"


def test_the_address_of_a_webhook_is_not_what_lets_post_to_it() -> None:
    learn_url("https://chat-of-the-team:8443/hooks/x", whole=True)

    assert redacted("chat-of-the-team:8443 is down") == "chat-of-the-team:8443 is down"


def test_what_a_project_calls_its_services_hosts_and_paths_is_no_secret(tmp_path: Path) -> None:
    named = {"A_TOKEN": "payments2go-v2", "B_TOKEN": "/h3alth/2Ready", "C_TOKEN": "n0de7-of-ours"}
    (tmp_path / "auto-heal.toml").write_text(
        f'[services.{named["A_TOKEN"]}]\ncommand = "x"\nurl = "http://{named["C_TOKEN"]}:81/"\n'
        f'ready = "{named["B_TOKEN"]}"\n'
    )

    load_project(tmp_path, {**named, "D_TOKEN": "s3cr3t-of-ours"})
    shown = redacted("payments2go-v2 at n0de7-of-ours asked for /h3alth/2Ready with s3cr3t-of-ours")

    assert shown == "payments2go-v2 at n0de7-of-ours asked for /h3alth/2Ready with ***"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("auth", "ok", "ok"), ("token", "'down'", "'down'"), ("tokens", "42", "42"), ("token", "", ""),
        ("token", "A1b2C3", "***"), ("password", "correct", "***"), ("user", "http://u:p@h", "http://***@h"),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_its_name_lets_it(name: str, value: str, expected: str) -> None:
    assert redacted_value(name, value) == expected


def test_the_user_and_group_of_a_container_are_shown_in_its_command() -> None:
    assert redacted_words(["docker", "run", "-u", "app:users", "x"])[3] == "app:users"
    assert redacted_words(["curl", "-u", "app:users", "x"])[2] == "***"


def test_what_cannot_be_looked_at_for_want_of_descriptors_is_not_shown() -> None:
    program = (
        "import resource\nfrom remediation.system.secrets import redacted, redacted_value\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "print(redacted('password=hunter'), redacted_value('token', 'A1b2'), redacted('fine'), sep='\\n')\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    why = "(not shown: it could not be looked at for secrets: Too many open files)"
    assert shown.stdout.splitlines() == [why, why, "fine"]
