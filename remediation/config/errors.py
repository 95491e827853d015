"""The error of a value in the configuration that has the right type and is still wrong."""

from __future__ import annotations


class InvalidValueError(ValueError):
    """A value is invalid; `key` is relative to the decoded table (empty: the table itself)."""

    def __init__(self, problem: str, key: str) -> None:
        super().__init__(problem)
        self.key = key
