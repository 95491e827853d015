"""The structure of a text: its level, and its template in each language."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal, NamedTuple

Language = Literal["en", "ru"]


def of_environment(environ: Mapping[str, str]) -> Language:
    """Return the language of output without a configuration: AUTO_HEAL_LANG, then the locale."""
    names = ("AUTO_HEAL_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    return "ru" if next((environ[name] for name in names if environ.get(name)), "").lower().startswith("ru") else "en"


class Level(Enum):
    """The level of a line in the log."""

    INFO = "INFO"
    SUCCESS = "SUCCESS"
    WARN = "WARN"
    ERROR = "ERROR"


class Text(NamedTuple):
    """A text in each language; with several services, the variant with the service's name replaces it."""

    level: Level
    en: str
    ru: str
    en_named: str = ""
    ru_named: str = ""

    def template(self, language: Language, *, named: bool) -> str:
        """Return the template for a language, and for several services if `named`."""
        if named and self.en_named:
            return self.ru_named if language == "ru" else self.en_named
        return self.ru if language == "ru" else self.en


INFO, SUCCESS, WARN, ERROR = Level.INFO, Level.SUCCESS, Level.WARN, Level.ERROR

# Values that may be our own English texts, read back from a report or from another process.
READ_BACK = frozenset({"cause", "problem", "reason", "holder", "why", "last", "how", "what", "action", "more"})
# The exception: a line of a service's or a command's own output.
QUOTED = frozenset({("died_saying", "last"), ("command_said", "last"), ("command_late_said", "last")})


class Counted(str):
    """A number or a list of names that selects the form of a word in a text: `{checks:check|checks}`.

    Of two forms, the first is the singular. Three forms are the Russian ones for 1, 2 and 5.
    """

    __slots__ = ("_count",)

    _count: int

    @classmethod
    def of(cls, text: str, count: int) -> Counted:
        """Return a text that stands for `count` things."""
        counted = cls(text)
        counted._count = count
        return counted

    def __format__(self, spec: str) -> str:
        forms = spec.split("|")
        return forms[_form(self._count, len(forms))] if len(forms) > 1 else super().__format__(spec)


# The plural rules of CLDR.
def _form(count: int, forms: int) -> int:
    if forms == 2:  # noqa: PLR2004 - English
        return int(count != 1)
    ten, hundred = count % 10, count % 100
    if ten == 1 and hundred != 11:  # noqa: PLR2004
        return 0
    return 1 if ten in (2, 3, 4) and hundred not in (12, 13, 14) else 2
