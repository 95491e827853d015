"""Recognize secrets by the names of variables, keys, options and headers, and values that are ordinary all the same.

Parts of a service may be called auth, token or cookie too, and their state must stay readable.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Endings of names, without a number and a plural "s", and with words joined by "_".
# Values with these names are certainly secret.
_SURE_ENDINGS = (
    "password", "passwd", "passphrase", "pass_phrase", "passcode", "pass_code", "pass_word", "pwd", "secret",
    "apikey", "api_key", "access_key",
    "private_key", "privatekey", "secret_key", "signing_key", "encryption_key", "account_key", "accesskey",
    "master_key", "shared_key", "storage_key", "auth_key", "service_key", "deploy_key", "webhook_key",
    "dbpass", "pgpass", "mypass", "sshpass", "rootpass", "adminpass", "userpass", "smtppass", "mailpass",
)  # fmt: skip
# Values with the other names may also be the state of a part of a service.
_ENDINGS = ("token", "credential", "authorization", "sessionid", "session_id", "sessid", *_SURE_ENDINGS)
_SURE_LAST_WORDS = frozenset({"pass"})
_LAST_WORDS = frozenset({"auth", "cred", "cookie", "cookie2", "setcookie", "dsn", "jwt", *_SURE_LAST_WORDS})
# For the query of a URL, where names are short.
_LAST_WORDS_OF_QUERIES = frozenset({"key", "sig", "signature", "code", "sid", "session", "hmac", "otp", "pin"})
# Words that may follow the name, for a particular secret or its encoding.
_FOLLOWING = frozenset({
    "hash", "value", "raw", "text", "base64", "b64", "current", "old", "new", "live", "prod", "production", "staging",
    "dev", "test",
})  # fmt: skip
# Headers whose value extends to the end of the line.
_HEADERS = ("authorization", "cookie", "cookie2")
_HEADER_SPELLING = re.compile(r"(?:[xX]|[Ss]et|[Pp]roxy)-[\w\-]+|Authorization|Cookie2?")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Only the end of a name counts. Names come from untrusted text and may be very long.
_LONGEST = 80
# Options whose value is `user:password`.
USER_OPTIONS = frozenset({"-u", "--user", "-U", "--proxy-user"})
# For these commands, the value is `user:group` instead.
_CONTAINERS = ("docker", "podman", "nerdctl", "buildah")
_CLIENTS = ("curl", "wget", "http")
_USER_AND_GROUP = re.compile(r"[a-z_]+(?:-[a-z]+)*\d{0,4}:[a-z_]+(?:-[a-z]+)*\d{0,4}")

_LONGEST_ORDINARY = 240
_STRUCTURE = re.compile(r"[\s\"'`\\()\[\]{},;]+")
# The end of a part of a sentence, even if part of it is already masked.
_PUNCTUATION = ".!?:*"
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:[.,/]\d{1,9})?(?:%|ns|us|ms|s|m|h|d|[kKMG]?i?B)?")
_JOINED = re.compile(r"[^\W\d_]+(?:['\u2019\-_./][^\W\d_]+){0,2}")
_LETTERS = re.compile(r"[^\W\d_]+")
_LONGEST_WORD = 15
# Words with at least this many letters must be pronounceable.
_SHORTEST_CHECKED = 8
_UNPRONOUNCEABLE = re.compile(
    r"[^aeiouy]{6}|q[^ul]|[jvz][bcdfgkmnpqrstwx]|x[bdgjkmnrsvwxz]|[cfghkpqvwx][jqxz]|b[qxz]|m[jxz]"
)

_LABEL = re.compile(r"[A-Za-z]?[a-z]{0,15}(?:[-_][a-z]{1,15}){0,5}[-_]?\d{0,4}")
_PORT = re.compile(r":\d{1,5}")
_NUMERIC_HOST = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:.]{2,45}\])(?::\d{1,5})?")


def is_secret(name: str) -> bool:
    """Return whether a variable, key, option or header with this name holds a secret."""
    # Shells set these to working directories.
    return name not in ("PWD", "OLDPWD") and _matches(name[-_LONGEST:], _LAST_WORDS, _ENDINGS)


def is_surely_secret(name: str) -> bool:
    """Return whether even an ordinary word is a secret under this name, such as `password`."""
    # `pwd` alone may also be the working directory.
    return name.lower() != "pwd" and _matches(name[-_LONGEST:], _SURE_LAST_WORDS, _SURE_ENDINGS)


def is_secret_query(name: str) -> bool:
    """Return whether a URL parameter with this name holds a secret."""
    return is_secret(name) or _matches(name[-_LONGEST:], _LAST_WORDS_OF_QUERIES, ())


def is_secret_option(option: str, value: str, *, before: str = "") -> bool:
    """Return whether the word after an option is a secret; `before` is the command up to the option."""
    if option in USER_OPTIONS:
        if ":" not in value.strip(":") or value.replace(":", "").isdigit():
            return False
        return not (_USER_AND_GROUP.fullmatch(value) and _last(_CONTAINERS, before) > _last(_CLIENTS, before))
    return option.startswith("-") and is_secret(option) and not value.startswith("-")


def is_header(name: str) -> bool:
    """Return whether this is a header whose secret extends to the end of the line."""
    return "_".join(split_words(name[-_LONGEST:])).endswith(_HEADERS)


def is_written_as_header(name: str) -> bool:
    """Return whether only headers are spelled like this name, so that it cannot be a part of a service."""
    return bool(_HEADER_SPELLING.fullmatch(name[-_LONGEST:]))


def is_chosen(name: str) -> bool:
    """Return whether people choose the values with this name, so that even a short number may be a secret."""
    return any(word.startswith(("passw", "passc", "passphrase", "pwd")) for word in split_words(name[-_LONGEST:]))


def is_ordinary(value: str) -> bool:
    """Return whether a value consists only of plain words, numbers and paths of plain words."""
    if len(value) > _LONGEST_ORDINARY:
        return False
    parts = [part.rstrip(_PUNCTUATION).lstrip(":") for part in _STRUCTURE.split(value)]
    return any(parts) and all(_is_plain(part) for part in parts if part)


def is_place(value: str) -> bool:
    """Return whether a value is a path, a host, or host:port, made only of plain words and numbers."""
    if len(value) > _LONGEST_ORDINARY:
        return False
    if value.startswith("/"):
        return all(_is_label(part) for piece in value.strip("/").split("/") for part in piece.split("."))
    if _NUMERIC_HOST.fullmatch(value):
        return True
    host, colon, port = value.partition(":")
    labels = host.split(".")
    is_host = all(label and not label[0].isdigit() and _is_label(label) for label in labels)
    if colon:
        return is_host and bool(_PORT.fullmatch(f":{port}"))
    return is_host and len(labels) > 1 and not labels[-1][-1].isdigit()


def _is_plain(part: str) -> bool:
    if _NUMBER.fullmatch(part) or (part.startswith("/") and is_place(part)):
        return True
    pieces = _LETTERS.findall(part)
    if not _JOINED.fullmatch(part) or (len(pieces) > 1 and part.isupper() and set(part) & set("-./")):
        return False
    if len(pieces) == 1 and len(part) == 1:
        return part.lower() in "ai" or not part.isascii()
    return all(_is_word(piece) for piece in pieces)


def _is_label(label: str) -> bool:
    pieces = _LETTERS.findall(label)
    return bool(_LABEL.fullmatch(label)) and all(_is_pronounceable(piece.lower()) for piece in pieces)


def _is_word(piece: str) -> bool:
    is_cased = piece in (piece.lower(), piece.upper(), piece.capitalize())
    return len(piece) <= _LONGEST_WORD and is_cased and _is_pronounceable(piece.lower())


def _is_pronounceable(word: str) -> bool:
    return len(word) < _SHORTEST_CHECKED or not word.isascii() or not _UNPRONOUNCEABLE.search(word)


def _last(commands: tuple[str, ...], text: str) -> int:
    return max(text.rfind(command) for command in commands)


@lru_cache(maxsize=4_096)
def _matches(name: str, last_words: frozenset[str], endings: tuple[str, ...]) -> bool:
    words = split_words(name)
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in _FOLLOWING):
        words.pop()
    if not words:
        return False
    words[-1] = words[-1].removesuffix("s") if words[-1] not in ("pass", "dsns") else words[-1]
    return words[-1] in last_words or "_".join(words).endswith(endings or "\n")


def split_words(name: str) -> list[str]:
    """Return the words of a name in lower case, whether joined by case or by punctuation."""
    return [word.lower() for word in _WORD.findall(name)]
