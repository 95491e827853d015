"""The journal is recognized by its device and inode, and lines to it have a priority."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from remediation.system.journal import ERROR, Prioritized, is_journal


def stream_of(fd: int) -> dict[str, str]:
    """Return the environment in which a descriptor is the journal."""
    status = os.fstat(fd)
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_a_descriptor_is_the_journal_if_the_environment_names_its_file(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        environ = stream_of(journal.fileno())

        assert is_journal(journal.fileno(), environ)
        assert not is_journal(other.fileno(), environ)
        assert not is_journal(journal.fileno(), {})
        assert not is_journal(journal.fileno(), {"JOURNAL_STREAM": "nonsense"})
    assert not is_journal(99, environ)


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        (["one\n"], "<3>one\n"),
        (["one\ntwo\n"], "<3>one\n<3>two\n"),
        (["on", "e", "\n", "two"], "<3>one\n<3>two"),
        (["", "\n\n"], "<3>\n<3>\n"),
    ],
)
def test_each_line_has_the_priority_once(parts: list[str], written: str) -> None:
    stream = io.StringIO()
    prioritized = Prioritized(stream, ERROR)

    for part in parts:
        assert prioritized.write(part) == len(part)
    prioritized.flush()

    assert stream.getvalue() == written
