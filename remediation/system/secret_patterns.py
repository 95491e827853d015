"""Recognize secrets in a text by the name before them, the URL around them, or their own shape.

Every search is linear in the length of the text, even for a hostile text: no pattern starts again inside a part that
an earlier match has covered.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect, insort
from collections.abc import Iterable

from remediation.system.secret_names import (
    USER_OPTIONS,
    is_chosen,
    is_header,
    is_ordinary,
    is_secret,
    is_secret_option,
    is_secret_query,
    is_surely_secret,
    is_written_as_header,
    split_words,
)
from remediation.system.secret_options import passwords_of_programs

MASK = "***"

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

# RFC 3986, section 3.2.1, and also passwords with characters that should have been encoded.
_URL = re.compile(
    r"""://(?:
        [^\s/?#"<>`\\]*@
        | [^\s/?#"<>`\\:@\[]{0,256}:(?!\d*(?:[/?#\s]|$))[^\s"<>`\\@]{1,256}@
    )""",
    re.VERBOSE,
)

# A name with the separator before its value. It starts at the beginning of a word, so no letter is scanned twice.
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
# The most characters to examine before a match, so that a long text is not read again and again.
_BEGINNING = 240
_FIRST_WORDS = re.compile(
    r"""([^\s,;&"'`<>()\[\]{}|\\=]{1,64})(?=[\s,;&"'`<>()\[\]{}|\\]|\Z)"""
    r"""(?:[ \t]{1,8}([A-Za-z']{1,16})(?=[\s,.;!?)"'`]|\Z))?"""
)
_SCHEME_FIRST = re.compile(r"(?:basic|bearer|digest|token|negotiate|apikey)\b", re.IGNORECASE)
# The first words of sentences about passwords, and the words that may follow those.
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
# Counts are called tokens too, so a shorter number is not a secret.
_SHORT_NUMBER = 10

# Python expressions that compute a value: a call, a subscript, an attribute.
_NAMES = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALL = re.compile(rf"(?:(?:await|not|yield|yield from)[ ]{{1,4}})?(?P<name>{_NAMES})(?P<bracket>[(\[])")
_ATTRIBUTE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+(?![\w.])")
_PLACEHOLDER = re.compile(rf"\{{(?P<name>{_NAMES})(?:\(\))?=?(?:![rsa])?(?::[^{{}}\r\n]{{0,20}})?\}}")
# In source, a name is not a secret itself. Keywords can precede it.
_NAME = re.compile(rf"(?:(?:await|not|yield|lambda|-|\*\*?)[ ]{{0,4}})*(?:{_NAMES}|\.\.\.)(?![\w.])")
_SOURCE_BEGINS = re.compile(r"""[({\[]|[bBrRuUfF]{0,2}["']""")
# A type annotation; a value may follow it.
_ANNOTATION = re.compile(
    r"(?:str|bytes|bytearray|int|float|bool|object|Any|None|SecretStr|SecretBytes|Secret|Optional|Union|Annotated|Literal"
    r"|Final|ClassVar|Callable|list|dict|tuple|set|Sequence|Mapping)(?=[\[,)|=]|[ ]{1,4}[|=]|[ ]{0,4}(?:\r?\n|\Z)|\)?:)"
)
_ASSIGNED = re.compile(r"(?:[^=\r\n,()\[#]|\[[^\]\r\n]{0,80}\]){0,80}=(?!=)[ \t]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# In characters. A shorter argument only selects a secret.
_SHORTEST_LITERAL = 4
# Classes and built-in types take the value itself. Functions take an argument that selects the value.
_MAKES_VALUES = re.compile(r"(?:[\w.]*\.)?_?[A-Z]\w*[a-z]\w*|str|bytes|bytearray")
_IN_EXPRESSION = re.compile(
    # A literal that is not closed extends to the end of the line.
    r"""[bBrRuUfF]{0,2}(?:"(?P<double>[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*)"?|'(?P<single>[^'\\\r\n]*(?:\\.[^'\\\r\n]*)*)'?)"""
    r"|(?P<mark>[(\[{)\]},;#\r\n])"
)

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


def masked(text: str, *, source: bool = False) -> str:
    """Return the text with `***` in place of everything that looks like a secret.

    In `source`, only literals can be secrets, not names or calls.
    """
    if "-----BEGIN" in text:
        text = _without_keys(text)
    if "://" in text:
        text = _URL.sub(f"://{MASK}@", text)
    text = _cut(text, passwords_of_programs(text))
    text = _without_named(text, source=source)
    return _SHAPE.sub(MASK, _SCHEME.sub(rf"\1{MASK}", text))


def without_keys(text: str) -> str:
    """Return the text with `***` in place of private keys, which span several lines."""
    return _without_keys(text) if "-----BEGIN" in text else text


def masked_value(name: str, value: str) -> str:
    """Return the value of a secret name with `***` in place of everything that looks like a secret."""
    is_secret_value = _is_secret_value(value.strip("'\""), name, is_sure=_is_sure(name, "="))
    return MASK if is_secret_value else masked(value)


def _without_keys(text: str) -> str:
    """Mask private keys in PEM; one without an end, as in the last lines of a log, to the end of the text."""
    parts, at = list[str](), 0
    while begin := _KEY_BEGINS.search(text, at):
        end = _KEY_ENDS.search(text, begin.end())
        parts += [text[at : begin.start()], MASK]
        at = end.end() if end else len(text)
    return "".join([*parts, text[at:]])


def _without_named(text: str, *, source: bool) -> str:
    """Mask the values of secret names."""
    spans: list[tuple[int, int]] = []
    # Inside a literal, source is ordinary text.
    strings = [token.span() for token in _IN_EXPRESSION.finditer(text) if not token["mark"]] if source else []
    scanned = 0
    for match in _NAMED.finditer(text):
        # Ignore names inside a masked value.
        if _lies_in(spans, match.start()):
            continue
        begin = _expression_start(text, match, source=source and not _lies_in(strings, match.end() - 1))
        if begin is None or (begin < scanned and _QUOTE.match(text, begin)):
            value_span = _value_span(text, match)
            for span in [value_span] if value_span else []:
                insort(spans, span)
        elif begin >= scanned:
            # Scan each expression once, however many names it contains.
            literals, scanned = _secret_literals(text, begin, match["name"] or match["option"])
            for span in literals:
                insort(spans, span)
    return _cut(text, spans)


def _lies_in(spans: list[tuple[int, int]], place: int) -> bool:
    at = bisect(spans, (place, sys.maxsize)) - 1
    return at >= 0 and place < spans[at][1]


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Replace the spans, which are sorted and may overlap, by the mask."""
    parts, at = list[str](), 0
    for begin, end in spans:
        if begin >= at:
            parts += [text[at:begin], MASK]
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _expression_start(text: str, match: re.Match[str], *, source: bool) -> int | None:
    """Return the start of the expression that computes the value of a name, or None if there is none."""
    name, begin = match["name"], match.end()
    if name is None or not is_secret(name):
        return None
    mark = match["mark"].lstrip("\\\"'`]").strip()
    if mark == ":" and match["mark"][0] in " \t:" and _ANNOTATION.match(text, begin):
        assigned = _ASSIGNED.match(text, begin)
        return assigned.end() if assigned else begin
    if source:
        return begin if _NAME.match(text, begin) or _SOURCE_BEGINS.match(text, begin) else None
    placeholder, call, attribute = (pattern.match(text, begin) for pattern in (_PLACEHOLDER, _CALL, _ATTRIBUTE))
    is_computed = (
        (placeholder and is_secret(placeholder["name"]))
        or (call and _is_code(call["name"]))
        or (attribute and is_secret(attribute[0]) and _is_code(attribute[0]))
    )
    return begin if is_computed else None


def _is_code(names: str) -> bool:
    """Return whether names look like a program's: made of plain words, alone or joined."""
    words = [word for name in names.split(".") for word in split_words(name)]
    return bool(words) and all(word.isdigit() or is_ordinary(word) for word in words)


def _secret_literals(text: str, begin: int, name: str) -> tuple[list[tuple[int, int]], int]:
    """Return the spans of the secret literals in an expression, and its end: a comma, a bracket or a line end.

    A literal that only selects a secret, such as the name of an environment variable, is not a secret itself.
    """
    call = _CALL.match(text, begin)
    is_given = bool(call and call["bracket"] == "(" and _MAKES_VALUES.fullmatch(call["name"]))
    # Clients take a tuple of user and password.
    is_given |= text[begin : begin + 1] in ("(", "[", "{")
    spans, depth, end = list[tuple[int, int]](), 0, len(text)
    for token in _IN_EXPRESSION.finditer(text, begin):
        kind = token["mark"]
        if kind is None:
            group = "double" if token["double"] is not None else "single"
            is_sure = (is_given and depth == 1) or (depth == 0 and _is_sure(name, "="))
            is_selector = _is_variable(token[group]) or (not is_sure and len(token[group]) < _SHORTEST_LITERAL)
            if not is_selector and _is_secret_value(token[group], name, is_sure=is_sure):
                spans.append(token.span(group))
        elif kind in "([{":
            depth += 1
        elif kind in ")]}":
            depth -= 1
        if kind and (kind in "\r\n#" or depth < 0 or (depth == 0 and kind in ",;")):
            end = token.start()
            break
    return spans, end


def _is_variable(text: str) -> bool:
    return bool(_VARIABLE.fullmatch(text)) and is_secret(text)


def _value_span(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    """Return the span of the secret after a name, or None if there is none."""
    if option := match["option"]:
        return _option_value_span(text, match, option)
    before, second = text[max(0, match.start() - 1) : match.start()], text[max(0, match.start() - 2) : match.start()]
    # In a Python or JSON string, a backslash and a letter can be a line end right before the name.
    name, mark = match["name"][before == "\\" :], match["mark"].lstrip("\\\"'`]").strip()
    is_list_or_comparison = (mark == "," and "(" not in second) or (mark == ">" and before != "<")
    # In a pair, the name is in quotes. Otherwise it belongs to a list of arguments.
    is_list_or_comparison |= (mark == "," and match["mark"][0] in " \t,") or mark == "!"
    if is_list_or_comparison or not (is_secret_query(name) if before in ("?", "&") else is_secret(name)):
        return None
    begin, is_sure = match.end(), before in ("?", "&") or _is_sure(name, mark)
    # This is a sentence or a header: a key in JSON or Python has its own quotes.
    if mark == ":" and match["mark"][0] in " \t:" and not _QUOTE.match(text, begin):
        return _unquoted_value_span(text, begin, name, before, is_sure=is_sure)
    begin, end = (begin, _end(_UNTIL["<"], text, begin)) if mark == ">" else _extent(text, begin)
    # Clients take a tuple of user and password.
    is_sure = is_sure or text[begin - 1] == "("
    return (begin, end) if _is_secret_value(text[begin:end], name, is_sure=is_sure) else None


def _option_value_span(text: str, match: re.Match[str], option: str) -> tuple[int, int] | None:
    if option not in USER_OPTIONS and not is_secret(option):
        return None
    begin, end = _extent(text, match.end(), brackets=False)
    line = text[max(0, match.start() - _BEGINNING) : match.start()].rpartition("\n")[2]
    return (begin, end) if is_secret_option(option, text[begin:end], before=line) else None


def _unquoted_value_span(text: str, begin: int, name: str, before: str, *, is_sure: bool) -> tuple[int, int] | None:
    if not is_written_as_header(name) and _is_sentence(text, begin, name, before, is_sure=is_sure):
        return None
    if before in _UNTIL_UNESCAPED:
        # One pair of quotes encloses name and value, as in an argument of curl.
        end = _end(_UNTIL[before], text, begin)
    elif is_header(name):
        end = _end(_REST_OF_LINE, text, begin)
    else:
        begin, end = _extent(text, begin)
    return (begin, end) if _is_secret_value(text[begin:end], name, is_sure=is_sure or is_header(name)) else None


def _is_secret_value(value: str, name: str, *, is_sure: bool) -> bool:
    """Return whether the value of a name is a secret; if the name is surely secret, even a plain word is."""
    if not value.strip() or _NO_SECRET.match(value) or _is_template(value):
        return False
    if value.isdigit() and (is_sure or is_chosen(name)):
        return len(value) >= _SHORT_NUMBER or is_chosen(name)
    return is_sure or not is_ordinary(value) or (is_header(name) and bool(_SCHEME_FIRST.match(value)))


def _is_template(value: str) -> bool:
    """Return whether a value only holds placeholders for secrets, as in f"Bearer {token}"."""
    if "{" not in value or not all(is_secret(match["name"]) for match in _PLACEHOLDER.finditer(value)):
        return False
    rest = _PLACEHOLDER.sub("", value)
    return rest != value and not _SCHEME_FIRST.sub("", rest).strip()


def _is_sure(name: str, mark: str) -> bool:
    """Return whether a name certainly means a secret, and never a part of a service."""
    is_given = name.startswith("--") or (name.isupper() and ("_" in name or mark == "="))
    return is_given or is_surely_secret(name) or is_written_as_header(name)


def _is_sentence(text: str, begin: int, name: str, before: str, *, is_sure: bool) -> bool:
    """Return whether the text after `name: ` is a sentence about it, not its value."""
    if not (words := _FIRST_WORDS.match(text, begin)) or words[1].isdigit():
        return False
    first, second = words[1].rstrip(".!?:*"), (words[2] or "").lower()
    if not is_sure:
        return is_ordinary(first) and not (is_header(name) and _SCHEME_FIRST.match(first))
    if first.lower() not in _BEGINS_SENTENCE and not (
        is_ordinary(first) and second in _GOES_ON and not words[1].endswith(":")
    ):
        return False
    # One pair of quotes may enclose both.
    return before not in _UNTIL_UNESCAPED or is_ordinary(text[begin : _end(_UNTIL[before], text, begin)])


def _extent(text: str, begin: int, *, brackets: bool = True) -> tuple[int, int]:
    """Return the span of a value without the quotes or brackets around it."""
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
    match = pattern.match(text, begin)
    return match.end() if match else begin
