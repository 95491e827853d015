"""What a secret looks like in a text: the name before it, the URL around it, or its own shape.

Every look is linear in the length of the text, whoever wrote it: no pattern begins anew inside of what one before it
has already gone through.
"""

from __future__ import annotations

import re

from remediation.primitives.secret_names import (
    USER_OPTIONS,
    is_chosen,
    is_header,
    is_ordinary,
    is_secret,
    is_secret_option,
    is_secret_query,
    is_surely_secret,
    is_written_as_header,
)

MASK = "***"

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

# RFC 3986, section 3.2.1; and a password in which a character that has to be encoded is not.
_URL = re.compile(
    r"""://(?:
        [^\s/?#"<>`\\]*@
        | [^\s/?#"<>`\\:@\[]{0,256}:(?!\d*(?:[/?#\s]|$))[^\s"<>`\\@]{1,256}@
    )""",
    re.VERBOSE,
)

# A name with what stands between it and its value. It begins where a word begins, so no letter is looked at twice.
_NAMED = re.compile(
    r"""(?<![\w.\-])(?:
        (?P<option>-[\w.\-]+)(?P<gap>\\*["'`]?,?[ \t]{1,8}|\\*["'`]?,)
        | (?P<name>[\w.\-]+)(?P<mark>\\*["'`]?\]?[ \t]{0,8}(?:[:=!]=?=?>?|>|,)[ \t]{0,8})
    )""",
    re.VERBOSE | re.ASCII,
)
_QUOTE = re.compile(r"""[bBrRuUfF]{0,2}(\\*)(?:\"{3}|\'{3}|["'`])""")
# From the first character of a value to the quote or bracket that closes it, or to the end of the line.
_UNTIL = {closing: re.compile(rf"[^{re.escape(closing)}\r\n]*") for closing in "\"'`)]}<"}
_UNTIL_UNESCAPED = {quote: re.compile(rf"[^{quote}\\\r\n]*(?:\\.[^{quote}\\\r\n]*)*") for quote in "\"'`"}
_BARE = re.compile(
    r"""(?:(?i:basic|bearer|digest|token|negotiate|apikey)[ \t]{1,8}(?=[^\s,;&"'`<>()\[\]{}|\\]))?"""
    r"""[^\s,;&"'`<>()\[\]{}|\\]*"""
)
_REST_OF_LINE = re.compile(r"(?:[^\r\n\\]|\\(?![rn]))*")
_NO_SECRET = re.compile(r"(?:none|null|true|false|\*{3})\Z", re.IGNORECASE)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# So much is looked at of what is left as it is, so that no long text is read again and again.
_BEGINNING = 240
_FIRST_WORDS = re.compile(
    r"""([^\s,;&"'`<>()\[\]{}|\\=]{1,64})(?=[\s,;&"'`<>()\[\]{}|\\]|\Z)"""
    r"""(?:[ \t]{1,8}([A-Za-z']{1,16})(?=[\s,.;!?)"'`]|\Z))?"""
)
_SCHEME_FIRST = re.compile(r"(?:basic|bearer|digest|token|negotiate|apikey)\b", re.IGNORECASE)
# What a sentence about a password begins with, or goes on with after its first word.
_BEGINS_SENTENCE = frozenset({
    "must", "should", "may", "can", "cannot", "is", "was", "are", "has", "have", "had", "does", "did", "do", "not",
    "no", "too", "needs", "please", "missing", "required", "expected", "invalid", "wrong", "incorrect", "expired",
    "malformed", "mismatch", "failed", "rejected", "refused", "denied", "unknown", "unset", "empty", "blank",
    "undefined", "nil", "unauthorized", "ok", "up", "down", "yes", "valid", "weak", "short", "long", "at", "field",
    "this", "the", "your",
})  # fmt: skip
_GOES_ON = frozenset({
    "must", "should", "may", "can", "cannot", "is", "was", "are", "has", "does", "did", "not", "too", "needs", "failed",
})  # fmt: skip
# What is counted is called tokens, too.
_SHORT_NUMBER = 10

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
    text = _without_named(text)
    return _SHAPE.sub(MASK, _SCHEME.sub(rf"\1{MASK}", text))


def masked_value(name: str, value: str) -> str:
    """Return the value of a name of a secret with `***` in place of all that looks like one."""
    is_secret_value = _is_value(value.strip("'\""), name, is_sure=_is_sure(name, "="))
    return MASK if is_secret_value else masked(value)


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
    """Return where the secret after a name begins and ends, or None if there is none."""
    if option := found["option"]:
        return _value_of_option(text, found, option)
    before, second = text[max(0, found.start() - 1) : found.start()], text[max(0, found.start() - 2) : found.start()]
    # Behind a backslash is the end of a line, in a text as Python or JSON writes it.
    name, mark = found["name"][before == "\\" :], found["mark"].lstrip("\\\"'`]").strip()
    is_list_or_comparison = (mark == "," and "(" not in second) or (mark == ">" and before != "<")
    if is_list_or_comparison or not (is_secret_query(name) if before in ("?", "&") else is_secret(name)):
        return None
    begin, is_sure = found.end(), before in ("?", "&") or _is_sure(name, mark)
    # As in a sentence or a header; a key of JSON or Python is between quotes of its own.
    if mark == ":" and found["mark"][0] in " \t:" and not _QUOTE.match(text, begin):
        return _told_value(text, begin, name, before, is_sure=is_sure)
    begin, end = (begin, _end(_UNTIL["<"], text, begin)) if mark == ">" else _extent(text, begin)
    # A tuple is what a client is given: user and password.
    is_sure = is_sure or text[begin - 1] == "("
    return (begin, end) if _is_value(text[begin:end], name, is_sure=is_sure) else None


def _value_of_option(text: str, found: re.Match[str], option: str) -> tuple[int, int] | None:
    if option not in USER_OPTIONS and not is_secret(option):
        return None
    begin, end = _extent(text, found.end(), brackets=False)
    line = text[max(0, found.start() - _BEGINNING) : found.start()].rpartition("\n")[2]
    return (begin, end) if is_secret_option(option, text[begin:end], before=line) else None


def _told_value(text: str, begin: int, name: str, before: str, *, is_sure: bool) -> tuple[int, int] | None:
    if not is_written_as_header(name) and _is_sentence(text, begin, name, before, is_sure=is_sure):
        return None
    if before in _UNTIL_UNESCAPED:
        # A quote is around both, as in an argument for curl.
        end = _end(_UNTIL[before], text, begin)
    elif is_header(name):
        end = _end(_REST_OF_LINE, text, begin)
    else:
        begin, end = _extent(text, begin)
    return (begin, end) if _is_value(text[begin:end], name, is_sure=is_sure or is_header(name)) else None


def _is_value(value: str, name: str, *, is_sure: bool) -> bool:
    """Return whether what stands beside a name is a secret; if that is sure of the name, a plain word is one, too."""
    if not value.strip() or _NO_SECRET.match(value):
        return False
    if value.isdigit() and (is_sure or is_chosen(name)):
        return len(value) >= _SHORT_NUMBER or is_chosen(name)
    return is_sure or not is_ordinary(value) or (is_header(name) and bool(_SCHEME_FIRST.match(value)))


def _is_sure(name: str, mark: str) -> bool:
    """Return whether a name is surely that of a secret, and not also of a part of a service."""
    is_given = name.startswith("--") or (name.isupper() and ("_" in name or mark == "="))
    return is_given or is_surely_secret(name) or is_written_as_header(name)


def _is_sentence(text: str, begin: int, name: str, before: str, *, is_sure: bool) -> bool:
    """Return whether what follows `name: ` tells about it, and is not its value."""
    if not (words := _FIRST_WORDS.match(text, begin)) or words[1].isdigit():
        return False
    first, second = words[1].rstrip(".!?:*"), (words[2] or "").lower()
    if not is_sure:
        return is_ordinary(first) and not (is_header(name) and _SCHEME_FIRST.match(first))
    if first.lower() not in _BEGINS_SENTENCE and not (
        is_ordinary(first) and second in _GOES_ON and not words[1].endswith(":")
    ):
        return False
    # A quote is around both.
    return before not in _UNTIL_UNESCAPED or is_ordinary(text[begin : _end(_UNTIL[before], text, begin)])


def _extent(text: str, begin: int, *, brackets: bool = True) -> tuple[int, int]:
    """Return where a value begins and ends, without the quotes or brackets around it."""
    if quote := _QUOTE.match(text, begin):
        begin, kind = quote.end(), text[quote.end() - 1]
        if not quote[1]:
            return begin, _end(_UNTIL_UNESCAPED[kind], text, begin)
        end = _end(_UNTIL[kind], text, begin)
        while end > begin and text[end - 1] == "\\":
            end -= 1
        return begin, end
    if brackets and (closing := _CLOSING.get(text[begin : begin + 1])):
        return begin + 1, _end(_UNTIL[closing], text, begin + 1)
    return begin, _end(_BARE, text, begin)


def _end(pattern: re.Pattern[str], text: str, begin: int) -> int:
    found = pattern.match(text, begin)
    return found.end() if found else begin
