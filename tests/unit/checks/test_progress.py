"""The log of a round: what a check shows stands beside its outcome."""

from __future__ import annotations

from typing import Any, cast

import pytest

from remediation.checks import REDIRECTED
from remediation.checks.progress import ProgressReporter
from remediation.messages.message import Message
from remediation.state.event_log import EventLog


class Lines:
    """A log that keeps the messages."""

    def __init__(self) -> None:
        """Keep none yet."""
        self.messages: list[Message] = []

    def log(self, key: str, **values: object) -> None:
        """Keep a message."""
        self.messages.append(Message(key, values))


@pytest.mark.parametrize(
    ("shown", "en", "ru"),
    [
        ([], "✅ items OK", "✅ items OK"),
        ([("count", 6), ("of", "girls")], "✅ items OK (count: 6, of: girls)", "✅ items OK (count: 6, of: girls)"),
        ([(REDIRECTED, "/login")], "✅ items OK (redirected to /login)", "✅ items OK (перенаправление на /login)"),
        ([("count", 6), (REDIRECTED, "/a\x1b")], r"✅ items OK (count: 6, redirected to /a\x1b)", None),
    ],
)
def test_a_check_that_passed_shows_its_values_and_where_a_redirect_led(shown: Any, en: str, ru: str | None) -> None:
    lines = Lines()
    report = pytest.TestReport(
        nodeid="test_a.py::test_items", location=("test_a.py", 1, "test_items"), keywords={}, outcome="passed",
        longrepr=None, when="call", user_properties=shown,
    )  # fmt: skip

    ProgressReporter(cast("EventLog", lines)).reports(report)

    (message,) = lines.messages
    assert message.render("en", named=False) == en.replace("items", "test_a.py::test_items")
    assert ru is None or message.render("ru", named=False) == ru.replace("items", "test_a.py::test_items")
