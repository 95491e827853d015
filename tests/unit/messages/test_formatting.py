"""Durations: user input is parsed or refused in one sentence, and output is short."""

from __future__ import annotations

import argparse
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.messages.formatting import duration, spoken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7d", 604_800), ("12h", 43_200), ("30m", 1_800), ("90s", 90), ("1d12h", 129_600), ("1h30m", 5_400),
        ("1d2h3m4s", 93_784), ("90m", 5_400), ("45", 45), ("0.5", 0.5), ("1.5h", 5_400), (" 10M\n", 600),
        ("36500d", 3_153_600_000), ("1d0s", 86_400),
    ],
)  # fmt: skip
def test_what_people_write_is_understood(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "d", "h30m", "-1", "-1d", "+1", "1e3", "1_0", "nan", "inf", "1w", "5 m", "12h1d", "1h1h", "1d30",
        "1.", ".5h", "1,5h", "0x10", "٣d", "1d\x00", "\ud800", "7d ago",
    ],
    ids=ascii,
)  # fmt: skip
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        duration(text)

    assert str(caught.value) == (
        f"{text!r} is no duration such as 7d, 12h, 30m, 90s, 1d12h, or a number of seconds"
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["0", "0s", "0d0h", "0.0", "36501d", "9" * 400, "9" * 400 + "d"], ids=lambda text: text[:9]
)
def test_no_time_and_more_than_anybody_has_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="it must be more than 0 and at most 100 years"):
        duration(text)


def test_it_is_a_type_of_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="program", exit_on_error=False)
    parser.add_argument("--since", type=duration, default="7d")

    assert parser.parse_args([]).since == 604_800
    assert parser.parse_args(["--since", "2h"]).since == 7_200
    with pytest.raises(argparse.ArgumentError, match="'soon' is no duration such as 7d"):
        parser.parse_args(["--since", "soon"])
    assert capsys.readouterr() == ("", "")


@given(st.text(alphabet="0123456789.dhms ", max_size=12))
def test_no_text_of_these_letters_raises_anything_else(text: str) -> None:
    with suppress(argparse.ArgumentTypeError):
        assert duration(text) > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"), (0, "0ms"), (0.0004, "0ms"), (0.04, "40ms"), (0.9994, "999ms"), (0.9996, "1.0s"), (2.54, "2.5s"),
        (9.96, "10s"), (59.9, "1m"), (65, "1m 5s"), (3_600, "1h"), (3_661, "1h 1m"), (86_405, "1d 5s"),
        (604_799, "6d 23h"), (604_800, "7d"), (40_000_000, "462d 23h"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
