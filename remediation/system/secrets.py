"""Keep secrets out of all output: known secrets, and text that looks like one.

More people read the log, the report, the history, the evidence and the messages than may know the credentials of a
service. There, `***` replaces each secret.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, urlsplit

from remediation.system.secret_names import (
    USER_OPTIONS,
    is_ordinary,
    is_place,
    is_secret,
    is_secret_option,
    is_secret_query,
    is_surely_secret,
)
from remediation.system.secret_options import passwords_in

__all__ = [
    "MASK", "exempt", "is_secret", "learn", "learn_url", "learn_values", "learn_words", "redacted", "redacted_parts",
    "redacted_source", "redacted_value", "redacted_words",
]  # fmt: skip

MASK = "***"

# A text without any of these holds no recognizable secret. Searching for plain strings costs next to nothing.
_SIGNS = (
    "://", "pass", "pwd", "secret", "token", "key", "cred", "auth", "cookie", "sess", "dsn", "sig", "jwt", "code=",
    "sid=", "hmac", "otp=", "pin=", "-u", "bearer", "basic", "negotiate",
    "eyj", "akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_", "k_test_",
    "aiza", "hooks.slack.com", "/bot",
    "mysql", "mariadb", "mycli", "7z", "unrar", "rabbitmq", "mongo", "login", "zip", "sqlcmd", "bcp",
    "ipmi", "mosquitto", "redis", "valkey", "keydb", "ldap", "plink", "pscp", "psftp",
)  # fmt: skip

# A known secret is replaced in all texts, so it must not be a common piece of text.
_SHORTEST = 8
# Letters, alone or joined, and numbers. If they are shorter than this, they are more likely ordinary than secret.
_ORDINARY = re.compile(r"[A-Za-z]?[a-z]+(?:[-_. /][a-z]+)*|[A-Z]+(?:[-_. /][A-Z]+)*|[\d.,:+-]+")
_SHORTEST_ORDINARY = 16
# Under the name of a secret, at least this many plain words are a passphrase.
_SHORTEST_PASSPHRASE = 4
# A part of a webhook's URL that authorizes its users.
_OPAQUE = re.compile(r"(?=\D*\d)[\w:=~-]{16,}")
_SHORTEST_LINE = 16


class _Register:
    """The secrets of this process in all spellings, and the words that are none.

    It costs as much as what is added: a project may have thousands of services, each with words and secrets.
    """

    def __init__(self) -> None:
        self.exempt: set[str] = set()
        self._exempt_spellings: set[str] = set()
        self._spellings: set[str] = set()
        self._sorted: tuple[str, ...] | None = ()

    def add(self, spellings: Iterable[str]) -> None:
        if new := set(spellings) - self._spellings:
            self._spellings |= new
            self._sorted = None

    def add_exempt(self, word: str) -> None:
        if word not in self.exempt:
            self.exempt.add(word)
            self._exempt_spellings |= _spellings(word)
            self._sorted = None

    def spellings(self) -> tuple[str, ...]:
        """Return the longest first, so that a secret that contains another is replaced whole."""
        if self._sorted is None:
            known = self._spellings - self._exempt_spellings
            self._sorted = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))
        return self._sorted


_known = _Register()


def redacted(text: str) -> str:
    """Return the text with `***` in place of each secret that is known or has a recognizable form.

    If the text cannot be examined, return the reason instead.
    """
    return _redacted(text, source=False)


def redacted_source(text: str) -> str:
    """Return source code with `***` in place of each secret; only literals can be secrets, not names."""
    return _redacted(text, source=True)


def redacted_parts(text: str) -> str:
    """Return a text whose lines are already redacted, with `***` also in place of secrets of several lines."""
    text = _without_known(text)
    if "-----BEGIN" not in text:
        return text
    try:
        from remediation.system.secret_patterns import without_keys
    except OSError as error:
        return _not_shown(error)
    return without_keys(text)


def _redacted(text: str, *, source: bool) -> str:
    text = _without_known(text)
    low = text.lower()
    if not any(sign in low for sign in _SIGNS):
        return text
    try:
        # Imported late: few runs need it, and its patterns take milliseconds to compile.
        from remediation.system.secret_patterns import masked
    except OSError as error:
        return _not_shown(error)
    return masked(text, source=source)


def redacted_value(name: str, value: str) -> str:
    """Return a value with `***` in place of each secret, which its name may also reveal."""
    if not is_secret(name):
        return redacted(value)
    try:
        from remediation.system.secret_patterns import masked_value
    except OSError as error:
        return _not_shown(error)
    return masked_value(name, _without_known(value))


def redacted_words(words: Iterable[str]) -> list[str]:
    """Return a command with `***` for each secret, including the values of secret options."""
    words = list(words)
    passwords = dict(passwords_in(words))
    output, option = list[str](), ""
    for index, word in enumerate(words):
        before = " ".join(output[:-1]) if option in USER_OPTIONS else ""
        if index in passwords:
            output.append(f"{word[: passwords[index]]}{MASK}")
        else:
            output.append(MASK if is_secret_option(option, word, before=before) else redacted(word))
        option = word
    return output


def _without_known(text: str) -> str:
    for secret in _known.spellings():
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _not_shown(error: OSError) -> str:
    # Without a free descriptor, Python can import nothing.
    return f"(not shown: it could not be looked at for secrets: {error.strerror})"


def exempt(ordinary: Iterable[str]) -> None:
    """Never treat a project's names of services, hosts and paths as secrets."""
    for word in ordinary:
        _known.add_exempt(word)


def learn(named: Mapping[str, str]) -> None:
    """Register the secrets of an environment: values with secret names, and credentials in URLs."""
    for name, value in named.items():
        if "://" in value:
            learn_url(value, whole=is_secret(name) or "hook" in name.lower())
        elif is_secret(name) and not (value.startswith("/") and os.path.lexists(value)):
            # As in a header, the secret may follow a scheme.
            _add(value, *value.split(" ")[1:2], is_sure=is_surely_secret(name))


def learn_values(values: Iterable[str]) -> None:
    """Register values that are secrets whatever their names: those of request headers and of a file of variables."""
    for value in values:
        if "://" in value:
            learn_url(value, whole=True)
        else:
            # As in a header, the secret may follow a scheme.
            _add(value, *value.split(" ")[1:2])


def learn_words(words: Iterable[str]) -> None:
    """Register the secrets of a command line: those of its options, and credentials in URLs."""
    words, option = list(words), ""
    for index, begin in passwords_in(words):
        user, _, password = words[index][begin:].rpartition(":")
        _add(password or user)
    for word in words:
        for mark in ("=", ":"):
            name, _, value = word.partition(mark)
            learn({name: value.strip()})
        if "://" in word:
            learn_url(word)
        elif is_secret_option(option, word):
            user, _, password = word.partition(":")
            whole = [word] if is_secret(option) else []
            _add(*whole, password, basic=(user, password), is_sure=is_surely_secret(option))
        option = word


def learn_url(url: str, *, whole: bool = False) -> None:
    """Register the credentials in a URL; with `whole`, also every part that looks like a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if password:
        _add(password, unquote(password), basic=(unquote(user), unquote(password)))
    elif not colon:
        _add(user, unquote(user))
    queries = parse_qsl(parts.query)
    _add(*(value for name, value in queries if whole or is_secret_query(name)))
    if whole:
        _add(*(part for part in _pieces(parts) if _OPAQUE.fullmatch(part)))


def _pieces(parts: SplitResult) -> list[str]:
    pieces = [parts.netloc.rpartition("@")[2], *parts.path.split("/"), *parts.netloc.rpartition("@")[0].split(":")]
    return [piece for piece in pieces if piece]


def _add(*secrets: str, basic: tuple[str, str] | None = None, is_sure: bool = True) -> None:
    for secret in secrets:
        if _is_unmistakable(secret, is_sure=is_sure):
            _known.add(_spellings(secret))
        lines = [line.strip() for line in secret.splitlines()] if "\n" in secret else []
        long = [line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]
        _known.add(line for line in long if _is_unmistakable(line, is_sure=False))
    if basic and basic[1]:
        _known.add([_base64(":".join(basic))])


def _is_unmistakable(value: str, *, is_sure: bool) -> bool:
    """Return whether a value is so unlike ordinary text that it is a secret wherever it appears."""
    if len(value.strip()) < _SHORTEST or not re.search(r"\w", value) or value in _known.exempt or is_place(value):
        return False
    if len(value) < _SHORTEST_ORDINARY and _ORDINARY.fullmatch(value):
        return False
    is_passphrase = is_sure and len(value.split()) >= _SHORTEST_PASSPHRASE
    return is_passphrase or not is_ordinary(value)


def _spellings(secret: str) -> set[str]:
    """Return a secret itself and its forms in Python, JSON, URLs, XML and base64."""
    import json

    plain = secret.encode("utf-8", "replace").decode()
    xml = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    spellings = {
        secret, repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1],
        json.dumps(plain, ensure_ascii=False)[1:-1], quote(plain), quote(plain, safe=""), quote_plus(plain),
        xml, xml.replace('"', "&quot;"), _base64(plain),
    }  # fmt: skip
    return {spelling for spelling in spellings if len(spelling) >= _SHORTEST}


def _base64(text: str) -> str:
    # In longer base64 text, other characters can replace the padding at the end.
    return binascii.b2a_base64(text.encode("utf-8", "replace"), newline=False).decode().rstrip("=")
