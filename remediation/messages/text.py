"""What a text is: its level, and its template in each language."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal, NamedTuple

Language = Literal["en", "ru"]


def of_environment(environ: Mapping[str, str]) -> Language:
    """Return the language of what is said where no configuration is read: AUTO_HEAL_LANG, then the locale."""
    names = ("AUTO_HEAL_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    return "ru" if next((environ[name] for name in names if environ.get(name)), "").lower().startswith("ru") else "en"


class Level(Enum):
    """How the log marks a line."""

    INFO = "INFO"
    SUCCESS = "SUCCESS"
    WARN = "WARN"
    ERROR = "ERROR"


class Text(NamedTuple):
    """A text in each language; with several services `named` takes its place and says which one is meant."""

    level: Level
    en: str
    ru: str
    en_named: str = ""
    ru_named: str = ""

    def template(self, language: Language, *, named: bool) -> str:
        """Return the template of this text."""
        if named and self.en_named:
            return self.ru_named if language == "ru" else self.en_named
        return self.ru if language == "ru" else self.en


INFO, SUCCESS, WARN, ERROR = Level.INFO, Level.SUCCESS, Level.WARN, Level.ERROR

# Values that may be texts of ours which came as English, out of a report or from another process;
READ_BACK = frozenset({"cause", "problem", "reason", "holder", "why", "last", "how", "what", "action", "more"})
# but for this one, which is a line of the service's own log.
QUOTED = frozenset({("died_saying", "last")})


class Counted(str):
    """A number, or a list of names, by which a text chooses a form of a word: `{checks:check|checks}`.

    With two forms, the first is for one; with three they are those of Russian, as for 1, 2 and 5.
    """

    __slots__ = ("_count",)

    _count: int

    @classmethod
    def of(cls, text: str, count: int) -> Counted:
        """Return a text that stands for so many."""
        found = cls(text)
        found._count = count
        return found

    def __format__(self, spec: str) -> str:
        forms = spec.split("|")
        return forms[_form(self._count, len(forms))] if len(forms) > 1 else super().__format__(spec)


# As the plural rules of CLDR have it.
def _form(count: int, forms: int) -> int:
    if forms == 2:  # noqa: PLR2004 - English
        return int(count != 1)
    ten, hundred = count % 10, count % 100
    if ten == 1 and hundred != 11:  # noqa: PLR2004
        return 0
    return 1 if ten in (2, 3, 4) and hundred not in (12, 13, 14) else 2
