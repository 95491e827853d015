"""Which variables, keys, options and headers hold a secret, by their names."""

from __future__ import annotations

import re
from functools import lru_cache

# What a name ends with, after a number and the "s" of many are taken away; its words are joined by "_".
_ENDINGS = (
    "password", "passwd", "passphrase", "pass_phrase", "passcode", "pass_code", "pass_word", "pwd", "secret", "token",
    "credential", "authorization", "sessionid", "session_id", "sessid", "apikey", "api_key", "access_key",
    "private_key", "privatekey", "secret_key", "signing_key", "encryption_key", "account_key", "accesskey",
    "master_key", "shared_key", "storage_key", "auth_key", "service_key", "deploy_key", "webhook_key",
    "dbpass", "pgpass", "mypass", "sshpass", "rootpass", "adminpass", "userpass", "smtppass", "mailpass",
)  # fmt: skip
_LAST_WORDS = frozenset({"auth", "pass", "cred", "cookie", "cookie2", "setcookie", "dsn", "jwt"})
# In the query of a URL, where names are short.
_LAST_WORDS_OF_QUERIES = frozenset({"key", "sig", "signature", "code", "sid", "session", "hmac", "otp", "pin"})
# What may follow: which secret, or how it is written.
_FOLLOWING = frozenset({
    "hash", "value", "raw", "text", "base64", "b64", "current", "old", "new", "live", "prod", "production", "staging",
    "dev", "test",
})  # fmt: skip
# Headers whose value goes on to the end of the line.
_HEADERS = ("authorization", "cookie", "cookie2")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Only the end of a name counts; some are made by those who are to be read by us.
_LONGEST = 80
# Options whose value is `user:password`.
USER_OPTIONS = frozenset({"-u", "--user", "-U", "--proxy-user"})


def is_secret(name: str) -> bool:
    """Return whether a variable, key, option or header of this name holds a secret."""
    # The working directory, as every shell has it.
    return name not in ("PWD", "OLDPWD") and _judged(name[-_LONGEST:], _LAST_WORDS)


def is_secret_query(name: str) -> bool:
    """Return whether a parameter of this name in a URL holds a secret."""
    return is_secret(name) or _judged(name[-_LONGEST:], _LAST_WORDS_OF_QUERIES)


def is_secret_option(option: str, value: str) -> bool:
    """Return whether the word after an option of a command is a secret."""
    if option in USER_OPTIONS:
        return ":" in value.strip(":") and not value.replace(":", "").isdigit()
    return option.startswith("-") and is_secret(option) and not value.startswith("-")


def is_header(name: str) -> bool:
    """Return whether this is a header whose secret goes on to the end of the line."""
    return "_".join(_words(name[-_LONGEST:])).endswith(_HEADERS)


def is_chosen(name: str) -> bool:
    """Return whether people choose what has this name, so that even a short number may be it."""
    return any(word.startswith(("passw", "passc", "passphrase", "pwd")) for word in _words(name[-_LONGEST:]))


@lru_cache(maxsize=4_096)
def _judged(name: str, last_words: frozenset[str]) -> bool:
    words = _words(name)
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in _FOLLOWING):
        words.pop()
    if not words:
        return False
    words[-1] = words[-1].removesuffix("s") if words[-1] not in ("pass", "dsns") else words[-1]
    whole = "_".join(words)
    return words[-1] in last_words or (last_words is _LAST_WORDS and whole.endswith(_ENDINGS))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
