"""Translate English texts from a report, the history or another process into Russian.

Stored texts are always English, so that programs can rely on them. This module recognizes them by their templates.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from msgspec import Struct

from remediation.messages.catalog import CATALOG, Language
from remediation.messages.text import QUOTED, READ_BACK, Counted
from remediation.messages.texts.mistakes import KINDS, MISTAKES
from remediation.messages.texts.recorded import ACTIONS, SENTENCES, SYSTEM

# Sentences contain other sentences, but none nests deeper than this.
_DEEPEST = 5
_LONGEST = 2_000
# A reason with its prefix: the name of a service or check, or a request.
_PREFIXED = re.compile(r"([A-Z]+ \S+|[^\s:]+): (.+)", re.DOTALL)
# Before each reason of several, which are sentences one after another.
_FILE = re.compile(r"[^\s:]+\.toml: ")
_NAME_PREFIX = "{name}: "
# Changes of a check, which precede the reason of its failure.
_CHANGES = ("broken_by_deployment", "broken_by_heal", "still_broken", "fails_new", "too_slow")
# Values that are not just any text; a path followed by a colon is a prefix.
_KINDS = {"name": r"[^\s:]+", "path": ".+?(?<!:)", "file": ".+?(?<!:)"}
# Values that are always numbers.
NUMBERS = frozenset({"pid", "port", "seconds", "status", "timeout", "code", "number", "line", "column", "count"})


class _Template(Struct, frozen=True):
    """A text in both languages.

    `anchor` is the longest constant part of the English template, `weight` the length of all its constant parts.
    """

    key: str
    en: str
    ru: str
    anchor: str
    weight: int


def translated(text: str, language: Language) -> str:
    """Translate a reason, or several of one file; return a text that is not ours unchanged."""
    if language == "en":
        return text
    if (file := _FILE.match(text)) and len(reasons := re.split(rf"(?<=[.?]) (?={re.escape(file[0])})", text)) > 1:
        return " ".join(f"{_translated(reason.removesuffix('.'), _reasons(), 0)}." for reason in reasons)
    return _translated(text, _reasons(), 0)


def translated_action(text: str, language: Language) -> str:
    """Translate an action for a service, as stored in the history."""
    return text if language == "en" else _translated(text, _actions(), 0)


def translated_usage(text: str) -> str:
    """Translate a usage error of argparse or a command into Russian."""
    from remediation.messages.texts.help import USAGE

    return _translated(text, tuple(_template("", en, ru) for en, ru in USAGE.items()), 0)


def _translated(text: str, templates: tuple[_Template, ...], depth: int) -> str:
    if depth > _DEEPEST or len(text) > _LONGEST:
        return text
    if system_text := SYSTEM.get(text.lower()):
        return system_text
    for template in templates:
        if template.anchor in text and (match := _pattern(template.en).fullmatch(text)):
            return template.ru.format_map(
                {name: _value(template, name, value, templates, depth) for name, value in match.groupdict().items()}
            )
    if match := _PREFIXED.fullmatch(text):
        return f"{match[1]}: {_translated(match[2], templates, depth + 1)}"
    return text


def _value(template: _Template, name: str, value: str, templates: tuple[_Template, ...], depth: int) -> Counted:
    if value.isdigit():
        return Counted.of(value, int(value))
    if name in ("wanted", "given"):
        return Counted.of(" или ".join(KINDS.get(word, word) for word in value.split(" or ")), 1)
    if name not in READ_BACK or (template.key, name) in QUOTED:
        return Counted.of(value, 1)
    translation = _translated(value, templates, depth + 1)
    # The text of an action can contain a reason.
    if translation == value and name != "action" and templates is not _reasons():
        translation = _translated(value, _reasons(), depth + 1)
    return Counted.of(translation, 1)


@cache
def _reasons() -> tuple[_Template, ...]:
    texts = [(key, text.en, text.ru) for key, text in CATALOG.items() if text.en != text.ru]
    # Texts also occur without the name where it is clear.
    texts += [
        (key, en.removeprefix(_NAME_PREFIX), ru.removeprefix(_NAME_PREFIX))
        for key, en, ru in texts
        if en.startswith(_NAME_PREFIX) and ru.startswith(_NAME_PREFIX)
    ]
    texts += [(key, f"{CATALOG[key].en}: {{reason}}", f"{CATALOG[key].ru}: {{reason}}") for key in _CHANGES]
    templates = [_template(*text) for text in [*texts, *(("", en, ru) for en, ru in (SENTENCES | MISTAKES).items())]]
    # The most specific templates, with the most constant text, come first.
    return tuple(sorted(templates, key=lambda template: -template.weight))


@cache
def _actions() -> tuple[_Template, ...]:
    return tuple(_template("", en, ru) for en, ru in ACTIONS.items())


def _template(key: str, en: str, ru: str) -> _Template:
    literals = [literal for literal, _, _, _ in Formatter().parse(en)]
    return _Template(key, en, ru, max(literals, key=len), sum(map(len, literals)))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts: list[str] = []
    seen: set[str] = set()
    for literal, name, spec, _ in Formatter().parse(template):
        parts.append(re.escape(literal))
        if name and spec:
            parts.append(f"(?:{'|'.join(map(re.escape, spec.split('|')))})")
        elif name in seen:
            parts.append(f"(?P={name})")
        elif name:
            seen.add(name)
            kind = _KINDS.get(name) or (r"\d[\d.]*" if name in NUMBERS else ".+?")
            parts.append(f"(?P<{name}>{kind})")
    return re.compile("".join(parts), re.DOTALL)
