"""Which texts count as secrets, by their surroundings or because the process knows them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from remediation.config.load import load_project
from remediation.system import secrets
from remediation.system.secrets import is_secret, learn, learn_url, learn_words, redacted, redacted_words

pytestmark = pytest.mark.usefixtures("nothing_known")


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told no secret yet."""
    monkeypatch.setattr(secrets, "_known", secrets._Register())


# By their form.

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # URLs.
        ("at postgres://app:pw@db:5432/x", "at postgres://***@db:5432/x"),
        ("https://ghp_abc@github.com/a/b.git", "https://***@github.com/a/b.git"),
        ("redis://:pw@h and amqp://u:p@h", "redis://***@h and amqp://***@h"),
        ("'http://u:p@h', \"http://u:p@h\"", "'http://***@h', \"http://***@h\""),
        ("postgres://u:a/b#c@h/x", "postgres://***@h/x"),
        ("http://u:p@ss@h/", "http://***@h/"),
        ("GET /x?token=abc&page=2#end", "GET /x?token=***&page=2#end"),
        ("/maps?key=abc&sig=d; /cb?code=e", "/maps?key=***&sig=***; /cb?code=***"),
        ("?X-Amz-Signature=abc&X-Amz-Date=2026", "?X-Amz-Signature=***&X-Amz-Date=2026"),
        # Headers.
        ("Authorization: Bearer abc\nHost: x", "Authorization: ***\nHost: x"),
        ('authorization: Digest username="joe", response="f"\r\nHost: x', "authorization: ***\r\nHost: x"),
        ("> Proxy-Authorization: Basic abc", "> Proxy-Authorization: ***"),
        ('Cookie: a="b"; c=d\nHost: x', "Cookie: ***\nHost: x"),
        ("< set-cookie: sid=abc; Path=/", "< set-cookie: ***"),
        ("X-Api-Key: abc X-Auth-Token: def", "X-Api-Key: *** X-Auth-Token: ***"),
        (
            r"send: b'GET / HTTP/1.1\r\nCookie: a=b; c\r\nHost: x\r\n'",
            r"send: b'GET / HTTP/1.1\r\nCookie: ***\r\nHost: x\r\n'",
        ),
        ("{'Authorization': 'Bearer abc', 'Accept': '*/*'}", "{'Authorization': '***', 'Accept': '*/*'}"),
        ('{"set-cookie":"a=\\"b\\"; c","n":1}', '{"set-cookie":"***","n":1}'),
        (r'"{\"x-api-key\": \"abc\", \"n\": 1}"', r'"{\"x-api-key\": \"***\", \"n\": 1}"'),
        ("[('Set-Cookie', 'a=b; c'), ('Server', 'x')]", "[('Set-Cookie', '***'), ('Server', 'x')]"),
        ("{b'Cookie': b'a=b'}", "{b'Cookie': b'***'}"),
        ("curl -H 'Authorization: Bearer abc' http://x", "curl -H 'Authorization: ***' http://x"),
        ("got Bearer abc1def2ghi3 there", "got Bearer *** there"),
        ("sent Basic dXNlcjpwYXNz to it", "sent Basic *** to it"),
        # Names and values.
        ("DB_PASSWORD=abc PGPASSWORD=def MYSQL_PWD=g", "DB_PASSWORD=*** PGPASSWORD=*** MYSQL_PWD=***"),
        ("password: abc, user: joe", "password: ***, user: joe"),
        ("clientSecret = 'a b', dbPassword='c'", "clientSecret = '***', dbPassword='***'"),
        ('{"api_key": "abc", "access-token": "d e"}', '{"api_key": "***", "access-token": "***"}'),
        ('environ["API_TOKEN"] = "abc"', 'environ["API_TOKEN"] = "***"'),
        ("token == 'ab1' or secret != \"d\"", "token == '***' or secret != \"***\""),
        ("requests.get(url, auth=('joe', 'abc'))", "requests.get(url, auth=(***))"),
        ("password = 1234 with pin", "password = *** with pin"),
        ("<password>abc</password><user>joe</user>", "<password>***</password><user>joe</user>"),
        ("SENTRY_DSN=abc aws_secret_access_key=def", "SENTRY_DSN=*** aws_secret_access_key=***"),
        ("password='abc", "password='***"),
        # Command lines.
        ("db --password abc --port 80 --token=def", "db --password *** --port 80 --token=***"),
        ("['db', '--api-key', 'abc', '--port', '80']", "['db', '--api-key', '***', '--port', '80']"),
        ('["db","--secret","a b"]', '["db","--secret","***"]'),
        ("curl -u joe:abc http://x", "curl -u *** http://x"),
        # Shapes.
        (f"a\n{KEY}\nb", "a\n***\nb"),
        (f"cut off: {KEY[:40]}", "cut off: ***"),
        (f"got {JWT}!", "got ***!"),
        ("by AKIAIOSFODNN7EXAMPLE.", "by ***."),
        (f"by ghp_{'a1' * 18}, glpat-{'a1' * 10}", "by ***, ***"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/***"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_nothing_else(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "3 passed, pass: 3, passed=3, bypass: yes", "tokens: 100, max_tokens=4096, token_type=bearer",
        "KeyError: 'x', key: value, primary_key=5", "author: Bob, authors=2, secretary: Ann",
        "PWD=/work OLDPWD=/tmp SSH_AUTH_SOCK=/tmp/s", "PASSWORD_FILE=/run/secrets/db",
        "password: None, token=null, secret=True", "password=", "basic authentication failed",
        "bearer of bad news", "http://localhost:8787/api@v2?page=1", "mail joe@example.com, git@github.com:a/b",
        "assert 'token' in ['password', 'token', 'user']", "python -u server.py, docker run -u 1000:1000 x",
        "token > 5", "the task-list of sk-learn", "-----BEGIN CERTIFICATE-----",
        "api: port 80 is held by nginx (PID 1)",
        "http://127.0.0.1:80/x: [Errno 111] refused", "✅ /api/health OK (count: 6)",
    ],
)  # fmt: skip
def test_what_merely_looks_similar_is_left(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part",
    [
        *["a", "a:", "password", "password=", "password=(", 'password="', "password='\\\"", "'token", "('token',"],
        *["://", "://:a", "http://a:b?#/", "://@", "-u ", '-u "', "--token ", "eyJ", "bearer aA", "Bearer a", "ghp_"],
        *["-----BEGIN PRIVATE KEY-----", "\\", "_a", "token_", "Authorization: ", "cookie:'", "xox", "/bot1234567890:"],
        *["A_", "-", "\n", "passwordé"],
        *["cookie: ok ", "auth: ok ", '"auth: ok ', "HTTP_COOKIE: must ", "password: must ", "'password: must "],
        *["auth={a ", "docker -u a:b ", '"auth": ok ', "token: a.a", "token: a a ", "auth={'a': [", "token: /a"],
    ],
)
def test_a_hundred_thousand_characters_of_malice_are_read_once(part: str) -> None:
    # What grew with the square of the length would take hours.
    text = f"token://{part * (100_000 // len(part))}"

    assert len(redacted(text)) <= len(text) + 3 * text.count("=") + 3 * text.count(":")


# Known ones.

SECRET = "Tr0ub4dor/+&'\"\\<é> 3"


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET, repr(SECRET), ascii(SECRET), json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET), quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode(), f"a{SECRET}b",
        SECRET.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    ],
)  # fmt: skip
def test_a_known_secret_is_masked_however_it_is_written(spelled: str) -> None:
    learn({"DB_PASSWORD": SECRET})

    shown = redacted(f"it said {spelled} and went")

    assert "***" in shown
    assert not any(part in shown for part in ("Tr0ub", "dor", "VHIwdWI"))


def test_a_secret_that_holds_another_is_wholly_gone() -> None:
    learn({"A_TOKEN": "abcd1234", "B_TOKEN": "xyz-abcd1234-xyz"})

    assert redacted("xyz-abcd1234-xyz abcd1234") == "*** ***"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PASSWORD", "name"), ("PASSWORD", "1"), ("AUTH", "true"), ("SECRET_TOKEN", "production"), ("TOKEN", ""),
        ("SECRET", "20260101"), ("SECRET", "my-service"), ("PASSWORD", "        "), ("HOME", "/home/joe-1234"),
        ("API_URL", "http://localhost:8787"), ("TOKEN_FILE", "/run/secrets/token-1"), ("PATH_TO_X", "x1y2z3w4v5"),
    ],
)  # fmt: skip
def test_an_ordinary_word_is_no_secret_wherever_it_stands(name: str, value: str) -> None:
    text = f"it says '{value}' of /run/secrets/token-1, {value}."

    learn({name: value})

    assert redacted(text) == text


def test_the_path_of_a_file_that_exists_is_no_secret(tmp_path: Path) -> None:
    learn({"PASSWORD": str(tmp_path)})

    assert redacted(f"see {tmp_path}") == f"see {tmp_path}"


def test_the_credentials_of_a_url_are_known_by_themselves_and_as_a_header() -> None:
    learn({"DATABASE_URL": "postgres://joe:s3cr3t%2Fpw@db/x", "OTHER_URL": "https://s0me-token@host"})

    assert redacted("s3cr3t%2Fpw s3cr3t/pw s0me-token joe") == "*** *** *** joe"
    assert "am9l" not in redacted(base64.b64encode(b"joe:s3cr3t/pw").decode())


def test_what_lets_post_to_a_webhook_is_known() -> None:
    learn_url("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?token=s3cr3t-q1", whole=True)
    learn({"DEPLOY_WEBHOOK": "https://chat.example.com/hooks/abcdefgh12345678"})

    assert redacted("TIiajkdnlazkcOXrIdevi7FQ, abcdefgh12345678, s3cr3t-q1") == "***, ***, ***"
    assert redacted("chat.example.com hooks") == "chat.example.com hooks"


def test_the_secrets_of_a_command_are_known() -> None:
    learn_words(
        ["db", "--password", "p4ssw0rd", "--token=t0k3n-t0k3n", "-u", "joe:us3r-pw-1", "-H", "X-Api-Key: k3y-k3y-k3y"]
    )

    assert redacted("p4ssw0rd t0k3n-t0k3n us3r-pw-1 k3y-k3y-k3y joe") == "*** *** *** *** joe"


def test_a_secret_of_several_lines_is_known_line_by_line() -> None:
    learn({"TLS_SECRET": "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG\n-----END X-----"})

    assert redacted("MIIEvQIBADANBgkqhkiG\n-----BEGIN X-----") == "***\n-----BEGIN X-----"


def test_all_secrets_of_a_project_are_known_once_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "auto-heal.toml").write_text(
        'notify = { urls = ["slack://T1/B1/w3bh00k-w3bh00k-w3"] }\n[services.api]\n'
        'command = "db --password c0mm4nd-1"\n'
        'url = "http://joe:s3rv1ce-url@localhost:80"\nenv = { A_TOKEN = "s3rv1ce-env" }\n'
        'ladder = [{ run = "x --token=l4dd3r-1" }]\nevidence = "dump --api-key 3v1d3nce"\n'
    )

    load_project(tmp_path, {"OUR_SECRET": "0ur-own-1", "DATABASE_URL": "x://u:0ur-url-1@h"})

    known = "w3bh00k-w3bh00k-w3 c0mm4nd-1 s3rv1ce-url s3rv1ce-env l4dd3r-1 3v1d3nce 0ur-own-1 0ur-url-1"
    assert set(redacted(known).split()) == {"***"}


def test_a_command_is_shown_without_what_its_options_say() -> None:
    assert redacted_words(["curl", "-u", "joe:pw", "--token", "x", "--port", "80", "--secret=a", "http://u:p@h"]) == [
        "curl", "-u", "***", "--token", "***", "--port", "80", "--secret=***", "http://***@h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(name, True) for name in (
            "password", "DB_PASSWORD", "dbPasswd", "API_KEY", "apiKey", "X-Api-Key", "ACCESS_TOKEN_2", "tokens",
            "Set-Cookie", "basicAuth", "AWS_SECRET_ACCESS_KEY", "STRIPE_SECRET_KEY_LIVE", "PASSWORD_HASH", "session_id",
            "SENTRY_DSN",
        )],
        *[(name, False) for name in (
            "", "_", "PWD", "OLDPWD", "AUTHOR", "KEYBOARD", "COMPASS", "TOKEN_TYPE", "SSH_AUTH_SOCK", "PASSWORD_FILE",
            "XDG_SESSION_TYPE", "пароль",
        )],
    ],
)  # fmt: skip
def test_a_name_says_whether_it_is_that_of_a_secret(name: str, expected: bool) -> None:
    assert is_secret(name) is expected
