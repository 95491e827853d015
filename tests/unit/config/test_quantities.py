"""Durations, sizes and shares, as text."""

from __future__ import annotations

import pytest

from remediation.config import quantities


@pytest.mark.parametrize(
    ("text", "count"),
    [("500 MiB", 500 << 20), ("2GB", 2_000_000_000), ("1.5 GiB", 3 << 29), ("10 b", 10), (" 1 kB ", 1000)],
)
def test_a_size_is_in_bytes(text: str, count: int) -> None:
    assert quantities.size(text) == count


@pytest.mark.parametrize("text", ["", "500", "500M", "-1 MiB", "MiB", "1 MiBs"])
def test_what_is_no_size_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no size such as 500 MiB or 2 GB; the units are B, kB"):
        quantities.size(text)


def test_a_duration_is_in_seconds() -> None:
    assert quantities.seconds("25h") == 90_000
    with pytest.raises(ValueError, match="'soon' is no duration such as 7d"):
        quantities.seconds("soon")


def test_a_share_is_in_percent() -> None:
    assert quantities.share("80 %") == 80
    with pytest.raises(ValueError, match="'80' is no share such as 80%"):
        quantities.share("80")


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (1023 << 20, "1023 MiB"), (3 << 29, "1.5 GiB")]
)
def test_bytes_are_formatted_with_their_largest_unit(count: float, text: str) -> None:
    assert quantities.spoken_size(count) == text
