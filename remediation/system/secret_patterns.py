"""What a secret looks like in a text: the name before it, the URL around it, or its own shape.

Every look is linear in the length of the text, whoever wrote it: no pattern begins anew inside of what one before it
has already gone through.
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

# What Python computes a value by: a call, a look-up, the attribute of something.
_NAMES = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALL = re.compile(rf"(?:(?:await|not|yield|yield from)[ ]{{1,4}})?(?P<name>{_NAMES})(?P<bracket>[(\[])")
_ATTRIBUTE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+(?![\w.])")
_PLACEHOLDER = re.compile(rf"\{{(?P<name>{_NAMES})(?:\(\))?=?(?:![rsa])?(?::[^{{}}\r\n]{{0,20}})?\}}")
# In source, whatever has a name is none itself; keywords stand before names.
_NAME = re.compile(rf"(?:(?:await|not|yield|lambda|-|\*\*?)[ ]{{0,4}})*(?:{_NAMES}|\.\.\.)(?![\w.])")
_SOURCE_BEGINS = re.compile(r"""[({\[]|[bBrRuUfF]{0,2}["']""")
# What is to come, as an annotation has it; its value stands behind it, if it has one.
_ANNOTATION = re.compile(
    r"(?:str|bytes|bytearray|int|float|bool|object|Any|None|SecretStr|SecretBytes|Secret|Optional|Union|Annotated|Literal"
    r"|Final|ClassVar|Callable|list|dict|tuple|set|Sequence|Mapping)(?=[\[,)|=]|[ ]{1,4}[|=]|[ ]{0,4}(?:\r?\n|\Z)|\)?:)"
)
_ASSIGNED = re.compile(r"(?:[^=\r\n,()\[#]|\[[^\]\r\n]{0,80}\]){0,80}=(?!=)[ \t]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# In characters: what is shorter tells a function which secret is meant.
_SHORTEST_TOLD = 4
# A class or a built-in type is given the value itself, where a function is told which value is meant.
_MAKES_VALUES = re.compile(r"(?:[\w.]*\.)?_?[A-Z]\w*[a-z]\w*|str|bytes|bytearray")
_IN_EXPRESSION = re.compile(
    # One that is not closed goes on to the end of the line.
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
    """Return the text with `***` in place of all that looks like a secret.

    In the `source` of a program only literals can be secrets, whatever names and calls stand beside them.
    """
    if "-----BEGIN" in text:
        text = _without_keys(text)
    if "://" in text:
        text = _URL.sub(f"://{MASK}@", text)
    text = _cut(text, passwords_of_programs(text))
    text = _without_named(text, source=source)
    return _SHAPE.sub(MASK, _SCHEME.sub(rf"\1{MASK}", text))


def without_keys(text: str) -> str:
    """Return the text with `***` in place of private keys, which have several lines."""
    return _without_keys(text) if "-----BEGIN" in text else text


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


def _without_named(text: str, *, source: bool) -> str:
    """Mask the values of names that hold a secret."""
    spans: list[tuple[int, int]] = []
    # Inside of a literal, source is text like any other.
    strings = [one.span() for one in _IN_EXPRESSION.finditer(text) if not one["mark"]] if source else []
    walked = 0
    for found in _NAMED.finditer(text):
        # What stands in a value that is masked already says nothing any more.
        if _lies_in(spans, found.start()):
            continue
        begin = _computed(text, found, source=source and not _lies_in(strings, found.end() - 1))
        if begin is None or (begin < walked and _QUOTE.match(text, begin)):
            place = _value(text, found)
            for span in [place] if place else []:
                insort(spans, span)
        elif begin >= walked:
            # Each expression is gone through once, however many names stand in it.
            literals, walked = _literals(text, begin, found["name"] or found["option"])
            for span in literals:
                insort(spans, span)
    return _cut(text, spans)


def _lies_in(spans: list[tuple[int, int]], place: int) -> bool:
    at = bisect(spans, (place, sys.maxsize)) - 1
    return at >= 0 and place < spans[at][1]


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Put the mask in place of the spans, which come in order and may overlap."""
    kept, at = list[str](), 0
    for begin, end in spans:
        if begin >= at:
            kept += [text[at:begin], MASK]
        at = max(at, end)
    return "".join([*kept, text[at:]])


def _computed(text: str, found: re.Match[str], *, source: bool) -> int | None:
    """Return where an expression begins by which a program computes the value of a name; None if there is none."""
    name, begin = found["name"], found.end()
    if name is None or not is_secret(name):
        return None
    mark = found["mark"].lstrip("\\\"'`]").strip()
    if mark == ":" and found["mark"][0] in " \t:" and _ANNOTATION.match(text, begin):
        assigned = _ASSIGNED.match(text, begin)
        return assigned.end() if assigned else begin
    if source:
        return begin if _NAME.match(text, begin) or _SOURCE_BEGINS.match(text, begin) else None
    place, call, attribute = (look.match(text, begin) for look in (_PLACEHOLDER, _CALL, _ATTRIBUTE))
    is_computed = (
        (place and is_secret(place["name"]))
        or (call and _is_code(call["name"]))
        or (attribute and is_secret(attribute[0]) and _is_code(attribute[0]))
    )
    return begin if is_computed else None


def _is_code(names: str) -> bool:
    """Return whether names are those of a program: of plain words, alone or joined."""
    words = [word for name in names.split(".") for word in split_words(name)]
    return bool(words) and all(word.isdigit() or is_ordinary(word) for word in words)


def _literals(text: str, begin: int, name: str) -> tuple[list[tuple[int, int]], int]:
    """Return the literals of an expression that are secrets, and where it ends: a comma, a bracket, the line's end.

    What tells which secret is meant, such as the name of a variable of the environment, is none itself.
    """
    call = _CALL.match(text, begin)
    is_given = bool(call and call["bracket"] == "(" and _MAKES_VALUES.fullmatch(call["name"]))
    # A tuple is what a client is given: user and password.
    is_given |= text[begin : begin + 1] in ("(", "[", "{")
    found, depth, end = list[tuple[int, int]](), 0, len(text)
    for token in _IN_EXPRESSION.finditer(text, begin):
        kind = token["mark"]
        if kind is None:
            group = "double" if token["double"] is not None else "single"
            is_sure = (is_given and depth == 1) or (depth == 0 and _is_sure(name, "="))
            is_told = _is_variable(token[group]) or (not is_sure and len(token[group]) < _SHORTEST_TOLD)
            if not is_told and _is_value(token[group], name, is_sure=is_sure):
                found.append(token.span(group))
        elif kind in "([{":
            depth += 1
        elif kind in ")]}":
            depth -= 1
        if kind and (kind in "\r\n#" or depth < 0 or (depth == 0 and kind in ",;")):
            end = token.start()
            break
    return found, end


def _is_variable(text: str) -> bool:
    return bool(_VARIABLE.fullmatch(text)) and is_secret(text)


def _value(text: str, found: re.Match[str]) -> tuple[int, int] | None:
    """Return where the secret after a name begins and ends, or None if there is none."""
    if option := found["option"]:
        return _value_of_option(text, found, option)
    before, second = text[max(0, found.start() - 1) : found.start()], text[max(0, found.start() - 2) : found.start()]
    # Behind a backslash is the end of a line, in a text as Python or JSON writes it.
    name, mark = found["name"][before == "\\" :], found["mark"].lstrip("\\\"'`]").strip()
    is_list_or_comparison = (mark == "," and "(" not in second) or (mark == ">" and before != "<")
    # A pair has the name in quotes; without them it is a list of arguments.
    is_list_or_comparison |= (mark == "," and found["mark"][0] in " \t,") or mark == "!"
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
    if not value.strip() or _NO_SECRET.match(value) or _is_template(value):
        return False
    if value.isdigit() and (is_sure or is_chosen(name)):
        return len(value) >= _SHORT_NUMBER or is_chosen(name)
    return is_sure or not is_ordinary(value) or (is_header(name) and bool(_SCHEME_FIRST.match(value)))


def _is_template(value: str) -> bool:
    """Return whether a value only says which secret is put into it, as in f"Bearer {token}"."""
    if "{" not in value or not all(is_secret(place["name"]) for place in _PLACEHOLDER.finditer(value)):
        return False
    left = _PLACEHOLDER.sub("", value)
    return left != value and not _SCHEME_FIRST.sub("", left).strip()


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
