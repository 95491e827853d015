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
