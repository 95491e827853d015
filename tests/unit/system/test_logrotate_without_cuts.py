"""Log rotation where the beginning of a file cannot be removed, as on macOS."""

from __future__ import annotations

from pathlib import Path

import pytest
from rotated import TEXT

from remediation.system import logrotate


@pytest.mark.usefixtures("only_posix")
def test_where_no_file_can_be_cut_a_log_that_is_written_grows_and_an_idle_one_is_renamed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(TEXT)

    with pytest.raises(OSError, match="cannot shorten a log that is written"):
        logrotate.running(log, len(TEXT) // 2)
    grown = log.read_bytes()

    assert grown == TEXT
    assert not logrotate.rotated(log).exists()
    assert logrotate.idle(log, len(TEXT) // 2)
    assert logrotate.rotated(log).read_bytes() == TEXT
