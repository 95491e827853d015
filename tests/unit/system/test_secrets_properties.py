"""Known secrets and texts shaped like secrets vanish from every text, and other texts stay as they are."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from properties import looking_at

from remediation.messages.message import Message, printable
from remediation.system import secrets
from remediation.system.secrets import learn, learn_words, redacted, redacted_source, redacted_words

# No secret in these is made of what stands in its place.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="*")
SECRETS = st.text(CHARACTERS, min_size=16, max_size=40).filter(lambda text: any(map(str.isalnum, text.strip()[:16])))
WRITTEN = (str, repr, ascii, json.dumps, quote, printable)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told no secret yet."""
    monkeypatch.setattr(secrets, "_known", secrets._Register())


@looking_at(200)
@given(known=st.lists(SECRETS, min_size=1, max_size=4), around=st.lists(st.text(max_size=10), min_size=5, max_size=5))
def test_a_known_secret_never_survives(known: list[str], around: list[str]) -> None:
    learn({f"TOKEN_{number}": secret for number, secret in enumerate(known)})
    assume(all(secret in secrets._known.spellings() for secret in known))

    for write in WRITTEN[:-1]:
        text = "".join(f"{before}{write(secret)}" for before, secret in zip(around, known, strict=False)) + around[-1]
        shown = redacted(text)
        assert not any(secret in shown for secret in known)


@looking_at(100)
@given(secret=st.text(st.sampled_from("abcXYZ019-_./+"), min_size=16, max_size=40), cut=st.integers(900, 1100))
def test_a_known_secret_never_survives_in_part_where_a_text_is_cut(secret: str, cut: int) -> None:
    learn({"TOKEN": secret})
    assume(secret in secrets._known.spellings())

    shown = Message("because", {"check": "x", "reason": f"{'?' * (cut - len(secret))}{secret}"}).render(
        "en", named=False
    )

    assert secret[:8] not in shown


FORMS = st.sampled_from([
    "password={}", "password = '{}'", '{{"api_key": "{}"}}', "Authorization: Bearer {}", "{{'Cookie': '{}'}}",
    "--token {}",
    "http://joe:{}@host/", "https://{}@host", "?access_token={}&x=1", "<secret>{}</secret>", "('X-Auth-Token', '{}')",
    "['--secret', '{}']", "-u joe:{} x",
])  # fmt: skip


@looking_at(200)
@given(form=FORMS, secret=st.text(st.sampled_from("abcXYZ019-_.~+="), min_size=8), around=st.text(max_size=20))
def test_an_unknown_secret_never_survives_where_its_place_tells_of_it(form: str, secret: str, around: str) -> None:
    secret = f"x{secret}"

    # Nothing in the way of the form, such as an open quote before it.
    shown = redacted(f"{around}\n{form.format(secret)}\n{around}")

    assert secret not in shown.removeprefix(around).removesuffix(around)


PIECES = st.sampled_from([
    "password", "token", "key", "Authorization", "Cookie", "auth", "-u", "--secret", "Bearer ", "basic ", "://",
    "http://", "@", ":", "=", "==", "'", '"', '\\"', "\\", "\\n", "\n", " ", ",", "(", ")", "[", "]", "{", "}", "<",
    ">", "&", "?", "***", "None", "a1B2c3D4", "joe:pw", "x", "eyJ", "AKIA", "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----", "é", "12", "ok", "must", "auth: ", "password: ", "cookie: ", "Auth", "docker ", "/a",
    "get(", "self.", "str", "str = ", "await ", "{token}", "mysql ", "-p", "sshpass ", "login ", "redis-cli -a",
    "#", ";",
])  # fmt: skip


@looking_at(600)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_a_text_that_was_redacted_has_nothing_left_to_redact(text: str) -> None:
    shown, source = redacted(text), redacted_source(text)

    assert redacted(shown) == shown
    assert redacted_source(source) == source


NAMES = st.from_regex(r"[a-z_]{1,12}(\.[a-z_]{1,12}){0,2}", fullmatch=True)
STATEMENTS = st.sampled_from([
    "password = {}", "token == {}", "login(user, password={}, n=1)", '{{"api_key": {}}}', "secret = {}(word)",
    "token = await {}(user)", "auth=({}, {})", "def f(password: {} = None):", "secret = not {}", "token: {}",
])  # fmt: skip


@looking_at(200)
@given(statement=STATEMENTS, name=NAMES)
def test_source_without_literals_stays_as_it_is(statement: str, name: str) -> None:
    text = f"    {statement.format(name, name)}"

    assert redacted_source(text) == text


LITERALS = st.sampled_from([
    "password = {}", "login(user, password={}, n=1)", '{{"api_key": {}}}', "secret = Secret({})", "token: str = {}",
    "token = get('x', {})", "password = a or {}", "assert token == {}", "auth=(user, {})",
])  # fmt: skip


@looking_at(200)
@given(form=LITERALS, secret=st.text(st.sampled_from("abcXYZ019-_.~+="), min_size=8), around=NAMES)
def test_a_literal_never_survives_where_its_place_in_source_tells_of_it(form: str, secret: str, around: str) -> None:
    secret = f"x1{secret}"

    assert secret not in redacted_source(f"{around}\n{form.format(repr(secret))}\n{around}")


COMMANDS = st.sampled_from([
    "mysql -u root -p{} shop", "['mysqldump', '-p{}']", "sshpass -p {} ssh web1", '["redis-cli","-a","{}"]',
    "curl -ujoe:{} x", "docker login -u joe -p {}",
])  # fmt: skip


@looking_at(100)
@given(form=COMMANDS, secret=st.text(st.sampled_from("abcXYZ019_.~+="), min_size=1), around=st.text(max_size=20))
def test_the_password_of_a_program_never_survives(form: str, secret: str, around: str) -> None:
    secret = f"x1{secret}"

    shown = redacted(f"{around}\n{form.format(secret)}\n{around}")

    assert secret not in shown.removeprefix(around).removesuffix(around)


@looking_at(200)
@given(st.text(st.characters(exclude_characters=":=-@><"), max_size=60).filter(lambda text: "ear" not in text.lower()))
def test_a_text_without_names_or_urls_stays_as_it_is(text: str) -> None:
    assume(not any(sign in text.lower() for sign in ("basic", "negotiate", "eyj", "akia", "asia", "bot", "key", "tok")))
    assume("," not in text)

    assert redacted(text) == text


WORDS = st.sampled_from(["--token", "-u", "joe:pw1", "--port", "80", "s3cr3t-1", "--x=http://u:p@h", "", "-"])


@looking_at(100)
@given(st.lists(WORDS, max_size=6))
def test_a_command_keeps_its_words_but_for_its_secrets(words: list[str]) -> None:
    learn_words(words)

    shown = redacted_words(words)

    for before, word, now in zip(["", *words], words, shown, strict=False):
        hidden = before == "--token" and not word.startswith("-") and word
        assert now == "***" if hidden else now in {word, "***", "--x=http://***@h"}
