"""A folder of our own: it is private, links do not lead to it, and emptying it removes nothing outside."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from remediation.system.files import Folder


def test_folder_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Folder.at(tmp_path / "a" / "b") as folder, folder.new("c") as inner:
            inner.write("d", b"text")
    finally:
        os.umask(before)

    assert [stat.S_IMODE((tmp_path / "a" / "b" / name).stat().st_mode) for name in (".", "c", "c/d")] == [
        0o700, 0o700, 0o600,
    ]  # fmt: skip
    assert (tmp_path / "a" / "b" / "c" / "d").read_bytes() == b"text"


def test_a_name_that_is_taken_is_not_taken_again(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with Folder.at(tmp_path) as folder, folder.new("taken"):
        with pytest.raises(FileExistsError):
            folder.new("taken")
        for name in ("taken", "link"):
            with pytest.raises(FileExistsError):
                folder.write(name, b"x")

    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "fifo"])
def test_what_is_no_folder_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    place, outside = tmp_path / "place", tmp_path / "outside"
    if kind == "link":
        outside.mkdir()
    if kind in ("link", "dangling"):
        place.symlink_to(outside)
    elif kind == "file":
        place.write_text("mine")
    else:
        os.mkfifo(place)

    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        Folder.at(place)


def test_it_stays_the_same_folder_when_its_path_becomes_another(tmp_path: Path) -> None:
    with Folder.at(tmp_path / "a") as folder:
        (tmp_path / "a").rename(tmp_path / "moved")
        (tmp_path / "a").mkdir()
        folder.write("file", b"x")

    assert (tmp_path / "moved" / "file").exists()
    assert not (tmp_path / "a" / "file").exists()


def test_a_folder_is_removed_with_its_files_and_not_what_links_in_it_lead_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    with Folder.at(tmp_path / "a") as folder:
        with folder.new("old") as old:
            old.write("file", b"12345")
        (old.path / "link").symlink_to(outside)

        size, names = folder.size("old"), folder.folders()
        folder.remove("old")

    assert (size, names) == (5, ["old"])
    assert list((tmp_path / "a").iterdir()) == []
    assert (outside / "file").read_text() == "mine"


def test_a_link_is_neither_listed_nor_removed_as_a_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    with Folder.at(tmp_path / "a") as folder:
        (tmp_path / "a" / "link").symlink_to(outside)

        assert folder.folders() == []
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            folder.remove("link")

    assert (outside / "file").exists()


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    before = descriptors()
    for number in range(5):
        with Folder.at(tmp_path / "a") as folder, folder.new(str(number)) as inner:
            inner.write("x", b"")
            folder.size(str(number))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        Folder.at(tmp_path / "link")

    assert descriptors() == before
