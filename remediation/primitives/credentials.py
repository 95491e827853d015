"""What a secret looks like in a text: the name before it, the URL around it, or its own shape.

Every look is linear in the length of the text, whoever wrote it: no pattern begins anew inside of what one before it
has already gone through.
"""

from __future__ import annotations

import re
from functools import lru_cache

MASK = "***"

# Names.

# What is asked of a name in words that are joined by "_", in lower case; only its last words count.
_SECRET_NAME = re.compile(
    r"""(?:^|_)(?:
        [a-z]*passw(?:or)?d | pass_?phrase | pass_?word | pass_?code | [a-z]*pwd
        | (?:db|pg|my|ssh|user|root|admin|smtp|mail|ldap|redis|http|ftp|store)?pass
        | [a-z]*secret | [a-z]*token | [a-z]*credential | creds? | [a-z]*apikey
        | (?:api|access|private|secret|signing|encryption|account|master|shared|storage|auth|service|deploy|webhook)
          _?key
        | auth | (?:proxy)?authorization | (?:set)?cookie2? | dsn | [a-z]*sessionid | session_id | sessid | jwt
    )(?:s|_?\d{1,3})?$""",
    re.VERBOSE | re.ASCII,
)
# In the query of a URL, where names are short.
_SECRET_QUERY = re.compile(r"(?:^|_)(?:key|sig|signature|code|sid|session|hmac|otp|pin)$", re.ASCII)
# A header whose value goes on to the end of its line.
_HEADER = re.compile(r"(?:^|_)(?:authorization|cookie2?)$", re.ASCII)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LONGEST_NAME = 80
# Of several options in use, those whose value is `user:password`.
_USER_OPTIONS = ("-u", "--user", "-U", "--proxy-user")


@lru_cache(maxsize=4_096)
def _words(name: str) -> str:
    return "_".join(_WORDS.findall(name)).lower()


def is_secret(name: str) -> bool:
    """Return whether a variable, key, option or header of this name holds a secret."""
    name = name[-_LONGEST_NAME:]
    # The working directory, as every shell has it.
    return name not in ("PWD", "OLDPWD") and bool(_SECRET_NAME.search(_words(name)))


def is_secret_query(name: str) -> bool:
    """Return whether a parameter of this name in a URL holds a secret."""
    return is_secret(name) or bool(_SECRET_QUERY.search(_words(name[-_LONGEST_NAME:])))


def is_secret_option(option: str, value: str) -> bool:
    """Return whether the word after an option of a command is a secret."""
    if option in _USER_OPTIONS:
        return ":" in value.strip(":") and not value.replace(":", "").isdigit()
    return option.startswith("-") and "=" not in option and is_secret(option)


# Texts.

# Of whatever has none of these in it, nothing can be told; a look for a plain string costs next to nothing.
_SIGNS_OF_NAMES = (
    "pass", "pwd", "secret", "token", "key", "cred", "auth", "cookie", "sess", "dsn", "sig", "jwt", "code=", "sid=",
    "hmac", "otp=", "pin=", "-u", "--proxy-user",
)  # fmt: skip
_SIGNS_OF_SHAPES = ("eyJ", "AKIA", "ASIA", "gh", "glpat-", "xox", "k_live_", "k_test_", "AIza", "hooks.slack.com", "bot")

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

# RFC 3986, section 3.2.1; and a password in which a character that has to be encoded is not.
_URL = re.compile(
    r"""://(?:[^\s/?#"<>`\\]*@(?=[^\s@]|$)|[^\s/?#"<>`\\:@\[]*:(?!\d*(?:[/?#\s]|$))[^\s"<>`\\@/]{0,256}[/?#][^\s"<>`\\@]{0,256}@)"""
)

# A name with what stands between it and its value. It begins where a word begins, so no letter is looked at twice.
_NAMED = re.compile(
    r"""(?<![\w.\-])(?:
        (?P<option>-[\w.\-]+)(?P<gap>\\*["'`]?,?[ \t]{1,8}|\\*["'`]?,)
        | (?P<name>[\w.\-]+)(?P<mark>\\*["'`]?\]?[ \t]{0,8}(?:[:=!]=?=?>?|>|,)[ \t]{0,8})
    )""",
    re.VERBOSE | re.ASCII,
)
_QUOTED = re.compile(r"""[bBrRuUfF]{0,2}(\\*["'`])""")
_BARE = re.compile(r"""(?:(?i:basic|bearer|digest|token|negotiate|apikey)[ \t]{1,8})?[^\s,;&"'`<>()\[\]{}|\\]+""")
_NO_SECRET = re.compile(r"(?i:none|null|true|false)\Z|\*\*\*\Z")
_LINE_END = re.compile(r"\r|\n|\\r|\\n|\\x0|\Z")
_CLOSING = {"(": ")", "[": "]", "{": "}"}

_SCHEME = re.compile(
    r"\b((?i:bearer|basic|negotiate)[ \t]{1,8})(?=[^\s\d]*\d|[^\sA-Z]*[a-z][A-Z])[\w+/.~\-]{8,}={0,2}", re.ASCII
)
_SHAPE = re.compile(
    r"""(?<![A-Za-z0-9_\-])(?:
        eyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?
        | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])
        | gh[pousr]_[A-Za-z0-9]{36,255} | github_pat_\w{22,255}
        | glpat-[\w\-]{20,255} | xox[abeoprs]-[\w\-]{10,255} | [rs]k_(?:live|test)_[A-Za-z0-9]{16,255}
        | AIza[\w\-]{35}(?![\w\-])
    ) | (?<=hooks\.slack\.com/services/)[\w/]+ | (?<=/bot)\d{8,12}:[\w\-]{30,64}""",
    re.VERBOSE | re.ASCII,
)


def masked(text: str) -> str:
    """Return the text with `***` in place of all that looks like a secret."""
    if "-----BEGIN" in text:
        text = _without_keys(text)
    if "://" in text:
        text = _URL.sub(f"://{MASK}@", text)
    low = text.lower()
    if any(sign in low for sign in _SIGNS_OF_NAMES):
        text = _without_named(text)
    if "bearer" in low or "basic" in low or "negotiate" in low:
        text = _SCHEME.sub(rf"\1{MASK}", text)
    if any(sign in text for sign in _SIGNS_OF_SHAPES):
        text = _SHAPE.sub(MASK, text)
    return text


def _without_keys(text: str) -> str:
    """Mask private keys in PEM; one without an end, as the last lines of a log may have it, to the end of the text."""
    kept, at = list[str](), 0
    while begin := _KEY_BEGINS.search(text, at):
        end = _KEY_ENDS.search(text, begin.end())
        kept += [text[at : begin.start()], MASK]
        at = end.end() if end else len(text)
    return "".join([*kept, text[at:]])


def _without_named(text: str) -> str:
    """Mask the values of names that hold a secret."""
    kept, at = list[str](), 0
    for found in _NAMED.finditer(text):
        # What stands in a value that is masked already says nothing any more.
        if found.start() >= at and (place := _value(text, found)):
            begin, end = place
            kept += [text[at:begin], MASK]
            at = end
    return "".join([*kept, text[at:]])


def _value(text: str, found: re.Match[str]) -> tuple[int, int] | None:
    """Return where the value after a name begins and ends, or None if there is no secret."""
    name, begin = found["option"] or found["name"], found.end()
    before = text[max(0, found.start() - 1) : found.start()]
    if before == "\\":
        # The end of a line, in a text as Python or JSON writes it.
        name = name[1:]
    in_query = before in ("?", "&")
    if found["option"]:
        rest = _bare_end(text, _after_quote(text, begin))
        if not is_secret_option(name, text[begin:rest].lstrip("\"'`\\")):
            return None
    elif not (is_secret_query(name) if in_query else is_secret(name)):
        return None
    mark = found["mark"] or ""
    if mark.lstrip("\\\"'`]").startswith(",") and text[max(0, found.start() - 2) : found.start()].find("(") < 0:
        # A list of names, unless it is a pair.
        return None
    if mark.strip() == ">" and before != "<":
        return None
    return _extent(text, begin, name, before if before in ("'", '"', "`") and mark.strip() == ":" else "")


def _extent(text: str, begin: int, name: str, quote: str) -> tuple[int, int] | None:
    """Return the extent of a value; `quote` is around it and its name together."""
    if quoted := _QUOTED.match(text, begin):
        begin, closing = quoted.end(), quoted[1]
        end = _until(text, begin, closing)
    elif (opening := text[begin : begin + 1]) in _CLOSING and opening:
        begin, end = begin + 1, _until(text, begin + 1, _CLOSING[opening])
    elif quote:
        end = _until(text, begin, quote)
    elif _HEADER.search(_words(name[-_LONGEST_NAME:])):
        end = _line_end(text, begin)
    else:
        end = _bare_end(text, begin)
    return None if end <= begin or _NO_SECRET.match(text[begin:end]) else (begin, end)
