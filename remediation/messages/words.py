"""The words of tables, headers and other output outside the event log, in the user's language."""

from __future__ import annotations

from msgspec import Struct

from remediation.messages.catalog import Language
from remediation.messages.message import shown
from remediation.messages.texts.table import TABLE


class Words(Struct, frozen=True):
    """The words of one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """Return a text as one line that is safe for a terminal."""
        template = TABLE[key].template(self.language, named=True)
        return template.format_map({name: shown(key, name, value, self.language) for name, value in values.items()})
