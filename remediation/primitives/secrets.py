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

from remediation.primitives.secret_names import is_secret, is_secret_option, is_secret_query

__all__ = ["MASK", "is_secret", "learn", "learn_url", "learn_words", "redacted", "redacted_words"]

MASK = "***"

# Of a text that has none of these in it, nothing can be told; a look for a plain string costs next to nothing.
_SIGNS = (
    "://", "pass", "pwd", "secret", "token", "key", "cred", "auth", "cookie", "sess", "dsn", "sig", "jwt", "code=",
    "sid=", "hmac", "otp=", "pin=", "-u", "bearer", "basic", "negotiate",
    "eyj", "akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_",
    "aiza", "hooks.slack.com", "/bot",
)  # fmt: skip

# A known secret is looked for in all texts, so it must not be what texts are made of.
_SHORTEST = 8
# Words, alone or joined, and numbers: below so many characters they are more likely ordinary than secret.
_ORDINARY = re.compile(r"[A-Za-z]?[a-z]+(?:[-_. /][a-z]+)*|[A-Z]+(?:[-_. /][A-Z]+)*|[\d.,:+-]+")
_SHORTEST_ORDINARY = 16
# A part of the address of a webhook that says who may post there.
_OPAQUE = re.compile(r"(?=\D*\d)[\w:=~-]{16,}")
_SHORTEST_LINE = 16

# All known ones in all their spellings, the longest first, so that one that holds another is wholly gone.
_known: tuple[str, ...] = ()


def redacted(text: str) -> str:
    """Return the text with `***` in place of each secret that is known or can be told by its form."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    low = text.lower()
    for sign in _SIGNS:
        if sign in low:
            # Few runs come by here, and its patterns take milliseconds to compile.
            from remediation.primitives import credentials

            return credentials.masked(text)
    return text


def redacted_words(words: Iterable[str]) -> list[str]:
    """Return a command with `***` for each secret in it, also for one that an option before it tells of."""
    found, option = list[str](), ""
    for word in words:
        found.append(MASK if is_secret_option(option, word) else redacted(word))
        option = word
    return found


def learn(named: Mapping[str, str]) -> None:
    """Know from now on the secrets of an environment: values whose names say so, and credentials in URLs."""
    for name, value in named.items():
        if "://" in value:
            learn_url(value, whole=is_secret(name) or "hook" in name.lower())
        elif is_secret(name) and not (value.startswith("/") and os.path.lexists(value)):
            # As a header has it, a scheme may stand before the secret.
            _add(value, *value.split(" ")[1:2])


def learn_words(words: Iterable[str]) -> None:
    """Know from now on the secrets of a command line: those of its options, and credentials in URLs."""
    option = ""
    for word in words:
        for mark in ("=", ":"):
            name, _, value = word.partition(mark)
            learn({name: value.strip()})
        if "://" in word:
            learn_url(word)
        elif is_secret_option(option, word):
            user, _, password = word.partition(":")
            _add(*([word] if is_secret(option) else []), password, basic=(user, password))
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


def _add(*secrets: str, basic: tuple[str, str] | None = None) -> None:
    global _known  # noqa: PLW0603 - a secret of the process is one wherever in it a text is made
    found = set(_known)
    for secret in secrets:
        if _is_unmistakable(secret):
            found |= _spellings(secret)
        lines = [line.strip() for line in secret.splitlines()]
        found |= {line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")}
    if basic and basic[1]:
        found.add(_base64(":".join(basic)))
    if len(found) > len(_known):
        _known = tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def _is_unmistakable(value: str) -> bool:
    """Return whether a value is so unlike ordinary text that it is a secret wherever it stands."""
    if len(value.strip()) < _SHORTEST or not re.search(r"\w", value):
        return False
    return len(value) >= _SHORTEST_ORDINARY or not _ORDINARY.fullmatch(value)


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
