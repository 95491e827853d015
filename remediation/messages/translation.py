"""Say in Russian what a report, the history or another process has in English.

There all our texts are English, so that programs can rely on them; here such a text is known again by its template.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from msgspec import Struct

from remediation.messages.catalog import CATALOG, Language
from remediation.messages.text import QUOTED, READ_BACK, Counted
from remediation.messages.texts.mistakes import MISTAKES
from remediation.messages.texts.recorded import ACTIONS, SENTENCES, SYSTEM

# A sentence within a sentence within a sentence; deeper there is none.
_DEEPEST = 5
_LONGEST = 2_000
# What may stand before a reason: whose it is, or what was asked.
_BEFORE = re.compile(r"([A-Z]+ \S+|[^\s:]+): (.+)", re.DOTALL)
_WHOSE = "{name}: "
# What changed of a check, which stands before the reason of its failure.
_CHANGES = ("broken_by_deployment", "broken_by_heal", "still_broken", "fails_new", "too_slow")
# Values that are numbers and nothing else.
NUMBERS = frozenset({"pid", "port", "seconds", "status", "timeout", "code", "number", "line", "column", "count"})


class _Template(Struct, frozen=True):
    """A text in both languages: `anchor` is the longest part of the English one that never changes, `weight` all."""

    key: str
    en: str
    ru: str
    anchor: str
    weight: int


def translated(text: str, language: Language) -> str:
    """Return a reason that was made by us, in the language; whatever else it is, unchanged."""
    return text if language == "en" else _translated(text, _reasons(), 0)


def translated_action(text: str, language: Language) -> str:
    """Return what was done for a service, as the history has it, in the language."""
    return text if language == "en" else _translated(text, _actions(), 0)


def translated_usage(text: str) -> str:
    """Return what argparse or a command says of wrong use, in Russian."""
    from remediation.messages.texts.help import USAGE

    return _translated(text, tuple(_template("", en, ru) for en, ru in USAGE.items()), 0)


def _translated(text: str, templates: tuple[_Template, ...], depth: int) -> str:
    if depth > _DEEPEST or len(text) > _LONGEST:
        return text
    if known := SYSTEM.get(text.lower()):
        return known
    for template in templates:
        if template.anchor in text and (found := _pattern(template.en).fullmatch(text)):
            return template.ru.format_map(
                {name: _value(template, name, value, templates, depth) for name, value in found.groupdict().items()}
            )
    if found := _BEFORE.fullmatch(text):
        return f"{found[1]}: {_translated(found[2], templates, depth + 1)}"
    return text


def _value(template: _Template, name: str, value: str, templates: tuple[_Template, ...], depth: int) -> Counted:
    if value.isdigit():
        return Counted.of(value, int(value))
    if name not in READ_BACK or (template.key, name) in QUOTED:
        return Counted.of(value, 1)
    said = _translated(value, templates, depth + 1)
    # What was done has its reasons.
    if said == value and name != "action" and templates is not _reasons():
        said = _translated(value, _reasons(), depth + 1)
    return Counted.of(said, 1)


@cache
def _reasons() -> tuple[_Template, ...]:
    texts = [(key, text.en, text.ru) for key, text in CATALOG.items() if text.en != text.ru]
    # Where it is clear whose reason it is, the name is left out.
    texts += [
        (key, en.removeprefix(_WHOSE), ru.removeprefix(_WHOSE))
        for key, en, ru in texts
        if en.startswith(_WHOSE) and ru.startswith(_WHOSE)
    ]
    texts += [(key, f"{CATALOG[key].en}: {{reason}}", f"{CATALOG[key].ru}: {{reason}}") for key in _CHANGES]
    templates = [_template(*text) for text in [*texts, *(("", en, ru) for en, ru in (SENTENCES | MISTAKES).items())]]
    # First those that say the most of the text themselves.
    return tuple(sorted(templates, key=lambda one: -one.weight))


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
            kind = r"[^\s:]+" if name == "name" else r"\d[\d.]*" if name in NUMBERS else ".+?"
            parts.append(f"(?P<{name}>{kind})")
    return re.compile("".join(parts), re.DOTALL)
