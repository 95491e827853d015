"""The words of tables, headers and other output outside the event log, in the user's language."""

from __future__ import annotations

from msgspec import Struct

from remediation.messages.catalog import Language
from remediation.messages.message import rendered
from remediation.messages.texts.table import TABLE


class Words(Struct, frozen=True):
    """The words of one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """Return a text as one line that is safe for a terminal."""
        return rendered(TABLE, key, values, self.language, named=True)
