"""What stands in the files of a project stays as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from remediation.cli.project_files import appended, ignore, not_ignored, replace
from remediation.config.load import load_project
from remediation.config.model import Project

TABLE = "[services.api]\nurl = 1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"[services.api]\nurl = 1\n"),
        (b"a = 1\n", b"a = 1\n\n[services.api]\nurl = 1\n"),
        (b"a = 1", b"a = 1\n\n[services.api]\nurl = 1\n"),
        (b"a = 1 \n\n", b"a = 1 \n\n[services.api]\nurl = 1\n"),
        (b"a = 1\n\n\n# b\n", b"a = 1\n\n\n# b\n\n[services.api]\nurl = 1\n"),
        (b"a = 1\r\n", b"a = 1\r\n\r\n[services.api]\r\nurl = 1\r\n"),
        (b"a = 1\r\nb = 2", b"a = 1\r\nb = 2\r\n\r\n[services.api]\r\nurl = 1\r\n"),
    ],
)
def test_a_table_is_appended_in_the_line_ends_of_the_file(before: bytes, after: bytes) -> None:
    assert appended(before, TABLE, apart=True) == after
    assert after.startswith(before)


def test_mode_and_link_of_a_file_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "real.toml", tmp_path / "pyproject.toml"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to("real.toml")

    replace(link, b"new")

    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pyproject.toml", "real.toml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_of_a_file_stays_when_root_writes(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_bytes(b"old")
    os.chown(file, 65_534, 65_534)

    replace(file, b"new")

    assert (file.stat().st_uid, file.stat().st_gid) == (65_534, 65_534)


def test_a_file_that_may_not_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_bytes(b"old")
    # As for an ordinary user.
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(PermissionError):
        replace(file, b"new")
    assert file.read_bytes() == b"old"


# .gitignore.


def project(root: Path, top: str = "", command: str = 'command = "node"') -> Project:
    """Return a project with one service."""
    text = f"{top}\n[services.api]\nurl = 'http://localhost:1'\n{command}\n"
    (root / "auto-heal.toml").write_text(text)
    return load_project(root, {})


def test_all_that_is_written_beside_the_configuration_is_to_be_ignored(tmp_path: Path) -> None:
    assert not_ignored(project(tmp_path)) == [
        "/.api-server.pid", "/api-server.log*", "/auto-heal.log*", "/.*.log.lock", "/reports/", "/.auto-heal/",
    ]  # fmt: skip


def test_what_is_written_elsewhere_need_not_be_ignored(tmp_path: Path) -> None:
    made = project(tmp_path, 'log_file = "/var/log/x.log"\nreport = "health.xml"', command="")

    assert not_ignored(made) == ["/.*.log.lock", "/health.xml", "/.auto-heal/"]


def test_only_the_missing_lines_are_added(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"# mine\r\n.*-server.pid\r\nreports\r\n/.auto-heal/")

    ignore(tmp_path, not_ignored(project(tmp_path)))

    added = b"\r\n/api-server.log*\r\n/auto-heal.log*\r\n/.*.log.lock\r\n"
    assert (tmp_path / ".gitignore").read_bytes() == b"# mine\r\n.*-server.pid\r\nreports\r\n/.auto-heal/" + added
    assert not_ignored(project(tmp_path)) == []
