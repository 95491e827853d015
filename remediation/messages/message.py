"""A catalogue text with its values, rendered later in the language of the output."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from remediation.messages.catalog import CATALOG, Language
from remediation.messages.text import QUOTED, READ_BACK, Counted, Text
from remediation.system.secrets import redacted

# The most characters of a value in a text, so that the line stays readable.
_LONGEST = 1_000
# Values that may have several lines; the text shows only the first.
_ONE_LINE = frozenset({"cause", "problem", "reason"})


def printable(text: str) -> str:
    """Return text on one line with every control, escape and direction character made visible.

    Responses and logs of a service are untrusted: raw, they could forge log lines or control a terminal.
    """
    return "".join(char if char.isprintable() or char in "\ufe0f\u200d" else ascii(char)[1:-1] for char in text)


def visible(text: str) -> str:
    """Return text with all control, escape and direction characters but line ends and tabs made visible."""
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def first_line(text: str) -> str:
    """Return the first line of a text that is not blank."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return next((line for line in lines if line.strip()), lines[0])


def seconds(value: float) -> str:
    """Format a number of seconds without trailing zeros or an exponent."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


class Message(Struct, frozen=True):
    """A key of the catalogue with its values, which may be messages themselves."""

    key: str
    values: Mapping[str, object]

    def render(self, language: Language, *, named: bool) -> str:
        """Return the text as one line that is safe for a terminal or a log."""
        return rendered(CATALOG, self.key, self.values, language, named=named)

    def plain(self, language: Language) -> dict[str, object]:
        """Return the values for a program: numbers as they are, lists of texts, and texts as they are shown."""
        known = {name: value for name, value in self.values.items() if value is not None}
        return {name: _plain(self.key, name, value, language) for name, value in known.items()}

    def __str__(self) -> str:
        return self.render("en", named=True)


def english(key: str, **values: object) -> str:
    """Return a catalogue text in English, for a report or another process; `translated` recognizes it."""
    return str(Message(key, values))


def rendered(
    texts: Mapping[str, Text], key: str, values: Mapping[str, object], language: Language, *, named: bool
) -> str:
    """Return one of `texts` with its values, as one line that is safe for a terminal or a log."""
    shown = {name: _shown(key, name, value, language) for name, value in values.items()}
    return texts[key].template(language, named=named).format_map(shown)


def _shown(key: str, name: str, value: object, language: Language) -> str:
    """Return a value as one safe line, as the text called `key` shows it."""
    if isinstance(value, Message):
        return Counted.of(value.render(language, named=True), 1)
    if isinstance(value, list | tuple):
        return Counted.of(", ".join(_shown(key, name, item, language) for item in value), len(value))
    if isinstance(value, int):
        return Counted.of(str(value), value)
    # Redact before cutting: the rest of a cut secret could not be recognized.
    text = seconds(value) if isinstance(value, float) else redacted(str(value))
    if name in _ONE_LINE:
        text = first_line(text)
    if language != "en" and name in READ_BACK and (key, name) not in QUOTED:
        from remediation.messages.translation import translated

        text = translated(text, language)
    return Counted.of(printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"), 1)


def _plain(key: str, name: str, value: object, language: Language) -> object:
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(key, name, item, language) for item in value]
    return str.__str__(_shown(key, name, value, language))


class MessageError(Exception):
    """An error that people read in their own language; as a string it is English."""

    def __init__(self, key: str, **values: object) -> None:
        """Set the catalogue text and its values."""
        self.message = Message(key, values)
        super().__init__(str(self.message))
