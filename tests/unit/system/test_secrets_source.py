"""Source code that is shown stays readable: a literal may be a secret; a name, a call or an annotation is not."""

from __future__ import annotations

import time

import pytest

from remediation.system import secrets
from remediation.system.secrets import learn_words, redacted, redacted_source, redacted_words


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told no secret yet."""
    monkeypatch.setattr(secrets, "_known", secrets._Register())


@pytest.mark.parametrize(
    "text",
    [
        'password = get_password("api")',
        "token = get_token()",
        "token = await self._client.fetch_token(user)",
        'password = os.environ["DB_PASSWORD"]',
        'api_key = os.getenv("API_KEY")',
        "secret = secrets.token_hex(16)",
        "token = response.json()['token']",
        "connect(user, password=self.password)",
        "password=settings.DB_PASSWORD,",
        'f"password={password}"',
        'headers = {"Authorization": f"Bearer {token}"}',
        'f"token={self.token!r} {n}"',
        "def login(user: str, password: str) -> str:",
        "def login(password: str | None = None, n: int = 1) -> None:",
        "    password: str",
        "token: Optional[str] = None",
        "login(user, password, token)",
        "(password, token)",
        "password, token = read()",
        "cookie = response.cookies.get('session')",
    ],
)
def test_what_a_program_computes_a_secret_by_is_left_wherever_it_stands(text: str) -> None:
    assert redacted(text) == text
    assert redacted_source(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "password = given",
        "token == expected",
        "assert token != other.value",
        "login(user, password=word)",
        '{"password": word, "n": 1}',
        "secret = (first, second)",
        "password = not given",
        "token = lambda: word",
        'f"{user}:{password}"',
        "    token, password = pair",
        "password = given if given else other",
        "auth=(user, password)",
        "token = -offset",
        'params={"token": word}',
    ],
)
def test_a_name_in_source_is_no_secret(text: str) -> None:
    assert redacted_source(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('password = "hunter"', 'password = "***"'),
        ("PASSWORD = 'x' if y else 'hunter'", "PASSWORD = '***' if y else '***'"),
        ('password: str = "hunter"', 'password: str = "***"'),
        ('token: str | None = "hunter2"', 'token: str | None = "***"'),
        ('password = os.environ.get("DB_PASSWORD", "hunter2")', 'password = os.environ.get("DB_PASSWORD", "***")'),
        ('password = os.environ.get("DB_PASSWORD") or "hunter2"', 'password = os.environ.get("DB_PASSWORD") or "***"'),
        ('password = SecretStr("hunter")', 'password = SecretStr("***")'),
        ("token = str('hunter')", "token = str('***')"),
        ('login("joe", password="hunter")', 'login("joe", password="***")'),
        ("password = 1234", "password = ***"),
        ('{"password": "hunter", "user": "joe"}', '{"password": "***", "user": "joe"}'),
        ('password == "hunter"', 'password == "***"'),
        ('token = f"ab{n}-x9y8z7"', 'token = f"***"'),
        ('login(token=get("a1b2c3", secret="word"), n="h0st-1")', 'login(token=get("***", secret="***"), n="h0st-1")'),
        ('fetch(f"{url}/x?api_key=word1")', 'fetch(f"{url}/x?api_key=***")'),
        ('run("db --password hunter x")', 'run("db --password *** x")'),
        ("log('password=hunter')", "log('password=***')"),
        ('connect("postgres://joe:word@db/x")', 'connect("postgres://***@db/x")'),
    ],
)
def test_a_literal_in_source_may_be_a_secret(text: str, expected: str) -> None:
    assert redacted_source(text) == expected
    assert redacted_source(expected) == expected


def test_a_literal_beside_a_call_is_a_secret_in_any_text() -> None:
    assert redacted('password = os.environ.get("X", "hunter2")') == 'password = os.environ.get("X", "***")'
    assert redacted("auth=('joe', 'word')") == "auth=(***)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql -u root -phunter shop", "mysql -u root -p*** shop"),
        ("mysqldump -pA1b2 x", "mysqldump -p*** x"),
        ("/usr/bin/mysql -p'a b' x", "/usr/bin/mysql -p'***' x"),
        ("mariadb-dump -pA1b2 x", "mariadb-dump -p*** x"),
        ("['mysqladmin', '-pA1b2', 'ping']", "['mysqladmin', '-p***', 'ping']"),
        ('["redis-cli","-a","word","ping"]', '["redis-cli","-a","***","ping"]'),
        ("sshpass -p word ssh -p 22 web1", "sshpass -p *** ssh -p 22 web1"),
        ("redis-cli -h db -a word ping", "redis-cli -h db -a *** ping"),
        ("mongosh -u joe -p word", "mongosh -u joe -p ***"),
        ("docker login -u joe -p word", "docker login -u joe -p ***"),
        ("zip -P word a.zip b", "zip -P *** a.zip b"),
        ("ldapsearch -x -w word", "ldapsearch -x -w ***"),
        ("curl -ujoe:word http://x", "curl -u*** http://x"),
        ("plink -pw word web1", "plink -pw *** web1"),
        ("mysql --password=word -P 3306", "mysql --password=*** -P 3306"),
    ],
)
def test_a_password_at_an_option_of_one_letter_is_masked(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "mkdir -p /srv/shop",
        "ssh -p 22 web1",
        "docker run -p 8080:80 x",
        "mysql -u root -p shop",
        "mysql -P 3306 shop",
        "cp -a x y",
        "psql -p 5432",
        "redis-server -p 1",
        "ps -p 12345",
        "mysqld_safe --port 3306",
        "curl -u joe http://x",
        "grep -w word x",
        "python -m mysql.connector -x",
    ],
)
def test_the_same_letter_of_another_program_is_left(text: str) -> None:
    assert redacted(text) == text
    assert redacted_words(text.split()) == text.split()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("mysql -phunter shop", "mysql -p*** shop"),
        ("/usr/bin/mysqldump -pA1b2 x", "/usr/bin/mysqldump -p*** x"),
        ("sshpass -p word ssh -p 22 web1", "sshpass -p *** ssh -p 22 web1"),
        ("redis-cli -a word", "redis-cli -a ***"),
        ("curl -u joe:word x", "curl -u *** x"),
        ("curl -ujoe:word x", "curl -u*** x"),
        ("sudo docker login -p word", "sudo docker login -p ***"),
    ],
)
def test_the_words_of_a_command_are_shown_without_such_a_password(command: str, expected: str) -> None:
    assert " ".join(redacted_words(command.split())) == expected


def test_such_a_password_is_known_wherever_else_it_stands() -> None:
    learn_words(["mysqldump", "-pTr0ub4dor-1", "shop"])
    learn_words(["sshpass", "-p", "c0rrect-h0rse", "ssh"])

    assert redacted("denied: Tr0ub4dor-1, c0rrect-h0rse") == "denied: ***, ***"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part",
    [
        "password=f(",
        'password=f("',
        "password=get['",
        "token: str ",
        "token=a.b ",
        'password=f(\\"',
        "mysql -p",
        "mysql -pa ",
        "token={a} ",
        "password: str[",
        "token=await ",
        "secret=f('",
        "password=(",
        "redis-cli -a '",
        "7z ",
    ],
)
def test_a_hundred_thousand_characters_of_malicious_source_are_read_once(part: str) -> None:
    text = f"token://{part * (100_000 // len(part))}"

    began = time.process_time()
    redacted(text)
    redacted_source(text)

    assert time.process_time() - began < 30
