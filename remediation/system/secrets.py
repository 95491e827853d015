"""Keep secrets out of what is shown or written: those that this process was told of, and what looks like one.

The log, the report, the history, the evidence and the messages to people are read by more people than may know the
credentials of a service. Where a secret stood, they say `***`.
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
    "MASK", "is_secret", "learn", "learn_url", "learn_words", "redacted", "redacted_parts", "redacted_source",
    "redacted_value", "redacted_words", "spare",
]  # fmt: skip

MASK = "***"

# Of a text that has none of these in it, nothing can be told; a look for a plain string costs next to nothing.
_SIGNS = (
    "://", "pass", "pwd", "secret", "token", "key", "cred", "auth", "cookie", "sess", "dsn", "sig", "jwt", "code=",
    "sid=", "hmac", "otp=", "pin=", "-u", "bearer", "basic", "negotiate",
    "eyj", "akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_", "k_test_",
    "aiza", "hooks.slack.com", "/bot",
    "mysql", "mariadb", "mycli", "7z", "unrar", "rabbitmq", "mongo", "login", "zip", "sqlcmd", "bcp",
    "ipmi", "mosquitto", "redis", "valkey", "keydb", "ldap", "plink", "pscp", "psftp",
)  # fmt: skip

# A known secret is looked for in all texts, so it must not be what texts are made of.
_SHORTEST = 8
# Letters, alone or joined, and numbers: below so many characters they are more likely ordinary than secret.
_ORDINARY = re.compile(r"[A-Za-z]?[a-z]+(?:[-_. /][a-z]+)*|[A-Z]+(?:[-_. /][A-Z]+)*|[\d.,:+-]+")
_SHORTEST_ORDINARY = 16
# So many plain words are a passphrase, if they are called one.
_SHORTEST_PASSPHRASE = 4
# A part of the address of a webhook that says who may post there.
_OPAQUE = re.compile(r"(?=\D*\d)[\w:=~-]{16,}")
_SHORTEST_LINE = 16

# All known ones in all their spellings, the longest first, so that one that holds another is wholly gone.
_known: tuple[str, ...] = ()
# What a project itself calls its services, hosts and paths.
_spared: frozenset[str] = frozenset()


def redacted(text: str) -> str:
    """Return the text with `***` in place of each secret that is known or can be told by its form.

    Where that cannot be looked at, nothing of the text is returned, but why.
    """
    return _redacted(text, source=False)


def redacted_source(text: str) -> str:
    """Return the source of a program with `***` in place of each secret: a literal may be one, a name is none."""
    return _redacted(text, source=True)


def redacted_parts(text: str) -> str:
    """Return a text whose lines were redacted before, with `***` in place of what has several lines."""
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
        # Few runs come by here, and its patterns take milliseconds to compile.
        from remediation.system.secret_patterns import masked
    except OSError as error:
        return _not_shown(error)
    return masked(text, source=source)


def redacted_value(name: str, value: str) -> str:
    """Return a value with `***` in place of each secret, which the name beside it may tell of, too."""
    if not is_secret(name):
        return redacted(value)
    try:
        from remediation.system.secret_patterns import masked_value
    except OSError as error:
        return _not_shown(error)
    return masked_value(name, _without_known(value))


def redacted_words(words: Iterable[str]) -> list[str]:
    """Return a command with `***` for each secret in it, also for one that an option before it tells of."""
    words = list(words)
    given = dict(passwords_in(words))
    found, option = list[str](), ""
    for place, word in enumerate(words):
        before = " ".join(found[:-1]) if option in USER_OPTIONS else ""
        if place in given:
            found.append(f"{word[: given[place]]}{MASK}")
        else:
            found.append(MASK if is_secret_option(option, word, before=before) else redacted(word))
        option = word
    return found


def _without_known(text: str) -> str:
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _not_shown(error: OSError) -> str:
    # Without a descriptor that is free, nothing can be imported.
    return f"(not shown: it could not be looked at for secrets: {error.strerror})"


def spare(ordinary: Iterable[str]) -> None:
    """Take the names of services, hosts and paths of a project for no secrets, whatever says that they are."""
    global _known, _spared  # noqa: PLW0603 - as for what is known
    _spared |= frozenset(ordinary)
    spelled = set[str]().union(*(_spellings(word) for word in _spared))
    _known = tuple(secret for secret in _known if secret not in spelled)


def learn(named: Mapping[str, str]) -> None:
    """Know from now on the secrets of an environment: values whose names say so, and credentials in URLs."""
    for name, value in named.items():
        if "://" in value:
            learn_url(value, whole=is_secret(name) or "hook" in name.lower())
        elif is_secret(name) and not (value.startswith("/") and os.path.lexists(value)):
            # As a header has it, a scheme may stand before the secret.
            _add(value, *value.split(" ")[1:2], is_sure=is_surely_secret(name))


def learn_words(words: Iterable[str]) -> None:
    """Know from now on the secrets of a command line: those of its options, and credentials in URLs."""
    words, option = list(words), ""
    for place, begin in passwords_in(words):
        user, _, password = words[place][begin:].rpartition(":")
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
    """Know from now on the credentials in a URL; with `whole`, also whatever in it looks like a token."""
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
    places = [parts.netloc.rpartition("@")[2], *parts.path.split("/"), *parts.netloc.rpartition("@")[0].split(":")]
    return [place for place in places if place]


def _add(*secrets: str, basic: tuple[str, str] | None = None, is_sure: bool = True) -> None:
    global _known  # noqa: PLW0603 - a secret of the process is one wherever in it a text is made
    found = set(_known)
    for secret in secrets:
        if _is_unmistakable(secret, is_sure=is_sure):
            found |= _spellings(secret)
        lines = [line.strip() for line in secret.splitlines()] if "\n" in secret else []
        long = [line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]
        found |= {line for line in long if _is_unmistakable(line, is_sure=False)}
    if basic and basic[1]:
        found.add(_base64(":".join(basic)))
    if len(found) > len(_known):
        _known = tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def _is_unmistakable(value: str, *, is_sure: bool) -> bool:
    """Return whether a value is so unlike ordinary text that it is a secret wherever it stands."""
    if len(value.strip()) < _SHORTEST or not re.search(r"\w", value) or value in _spared or is_place(value):
        return False
    if len(value) < _SHORTEST_ORDINARY and _ORDINARY.fullmatch(value):
        return False
    is_passphrase = is_sure and len(value.split()) >= _SHORTEST_PASSPHRASE
    return is_passphrase or not is_ordinary(value)


def _spellings(secret: str) -> set[str]:
    """Return a secret as it is, and as Python, JSON, URLs, XML and base64 write it."""
    import json

    plain = secret.encode("utf-8", "replace").decode()
    xml = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    spelled = {
        secret, repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1],
        json.dumps(plain, ensure_ascii=False)[1:-1], quote(plain), quote(plain, safe=""), quote_plus(plain),
        xml, xml.replace('"', "&quot;"), _base64(plain),
    }  # fmt: skip
    return {one for one in spelled if len(one) >= _SHORTEST}


def _base64(text: str) -> str:
    # Whatever follows it in a longer text of base64, its own last characters need not be there.
    return binascii.b2a_base64(text.encode("utf-8", "replace"), newline=False).decode().rstrip("=")
