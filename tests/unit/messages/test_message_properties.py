"""Any text of a service, a check or a configuration is printed on one line, and controls no terminal."""

from __future__ import annotations

import re
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st
from properties import looking_at

from remediation.messages.catalog import CATALOG
from remediation.messages.message import Message, printable, seconds

# C0, DEL and C1; what breaks lines elsewhere; what changes the direction of writing; halves of characters.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
EVIL = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        "\x1b]0;title\x07",
        "\x9b31m",
        "a\r\nforged",
        "\u202eright to left",
        "\udcff",
        "{name}",
        "{0.__class__}",
        "%s",
        "\\x1b",
    ]
)
LANGUAGES = st.sampled_from(["en", "ru"])
FIELD = re.compile(r"\{(\w+)")


@looking_at(200)
@given(EVIL)
def test_what_is_printable_has_nothing_that_drives_a_terminal(text: str) -> None:
    shown = printable(text)

    assert not UNSAFE.search(shown)
    assert printable(shown) == shown
    shown.encode()


@looking_at(300)
@given(data=st.data(), key=st.sampled_from(sorted(CATALOG)), language=LANGUAGES, named=st.booleans())
def test_every_text_is_one_safe_line_whatever_its_values(
    data: st.DataObject, key: str, language: Literal["en", "ru"], named: bool
) -> None:
    fields = {
        name
        for template in (CATALOG[key].template(language, named=each) for each in (True, False))
        for name in FIELD.findall(template)
    }
    inner = st.builds(Message, st.just("exited"), st.fixed_dictionaries({"status": EVIL}))
    values: dict[str, Any] = data.draw(
        st.fixed_dictionaries(dict.fromkeys(fields, EVIL | inner | st.floats() | st.integers()))
    )

    text = Message(key, values).render(language, named=named)

    assert not UNSAFE.search(text)
    assert len(f".{text}.".splitlines()) == 1
    assert len(text) < 2_000 * (1 + len(fields))


@looking_at(200)
@given(st.floats(0, 1e8))
def test_seconds_are_told_without_an_exponent_and_close_to_what_they_are(value: float) -> None:
    told = seconds(value)

    assert re.fullmatch(r"\d+(\.\d{1,3})?", told)
    assert abs(float(told) - value) <= 0.000_5 + 1e-9 * value
