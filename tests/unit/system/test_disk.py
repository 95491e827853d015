"""The reserve takes real space on every system, and gives it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remediation.system.disk import Reserve

SIZE = 1 << 16


@pytest.mark.usefixtures("either_way")
def test_a_reserve_takes_real_blocks_and_is_given_up_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / ".reserve", SIZE)

    reserve.attend()
    kept = (tmp_path / ".reserve").stat()
    freed = reserve.give_up(), reserve.give_up()

    assert kept.st_size == SIZE
    assert kept.st_blocks * 512 >= SIZE
    assert freed == (True, False)


@pytest.mark.usefixtures("only_posix")
def test_a_reserve_needs_no_posix_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)

    Reserve(tmp_path / ".reserve", SIZE).attend()

    assert (tmp_path / ".reserve").stat().st_size == SIZE
