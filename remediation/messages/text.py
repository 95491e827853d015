"""What a text is: its level, and its template in each language."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

Language = Literal["en", "ru"]


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
