"""The texts are complete in two languages, and those that people rely on stay."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from remediation.messages.catalog import CATALOG, Level
from remediation.messages.message import Message
from remediation.messages.texts.probe import PROBE
from remediation.messages.texts.reason import REASON


def fields(template: str) -> set[str]:
    """Return the names of a template's fields."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


SAYS_SERVER = re.compile("server|сервер", re.IGNORECASE)
# Texts that speak of servers in general, or of another server than that of a service.
NOT_OF_A_SERVICE = REASON.keys() | PROBE.keys()


def test_a_text_says_the_same_in_both_languages() -> None:
    differing = [
        key
        for key, text in CATALOG.items()
        if not (text.en and text.ru)
        or fields(text.en) != fields(text.ru)
        or fields(text.en_named) != fields(text.ru_named)
        or bool(text.en_named) != bool(text.ru_named)
    ]

    assert differing == []


@pytest.mark.parametrize(
    "key",
    sorted(
        key for key, text in CATALOG.items() if key not in NOT_OF_A_SERVICE and SAYS_SERVER.search(text.en + text.ru)
    ),
)
def test_a_text_that_speaks_of_the_server_names_it_when_there_are_several(key: str) -> None:
    text = CATALOG[key]

    assert "{name}" in text.en_named
    assert "{name}" in text.ru_named
    assert fields(text.en_named) == fields(text.en) | {"name"}


@pytest.mark.parametrize(
    ("key", "values", "level", "en", "ru"),
    [
        ("checking", {"check": "/api/health"}, "INFO", "Checking /api/health...", "Проверяем /api/health..."),
        ("passed", {"check": "/api/health"}, "SUCCESS", "✅ /api/health OK", "✅ /api/health OK"),
        (
            "passed_showing", {"check": "/api/girls", "shown": "count: 6"}, "SUCCESS",
            "✅ /api/girls OK (count: 6)", "✅ /api/girls OK (count: 6)",
        ),
        (
            "retry", {"attempt": 1, "attempts": 3, "delay": 5.0}, "WARN",
            "Attempt 1/3 failed, retrying in 5s...", "Попытка 1/3 не удалась, повтор через 5s...",
        ),
        (
            "failed", {"check": "/api/health", "attempts": 3}, "ERROR",
            "❌ /api/health FAIL after 3 attempts", "❌ /api/health FAIL после 3 попыток",
        ),
        ("healthy", {}, "SUCCESS", "✅ All systems are healthy", "✅ Все системы работают нормально"),
        (
            "healing", {}, "WARN",
            "⚠️ Problems found, healing...", "⚠️ Обнаружены проблемы, выполняем автовосстановление...",
        ),
        ("restart", {}, "INFO", "🔄 Restarting the server...", "🔄 Перезапуск сервера..."),
        ("stopping", {}, "INFO", "Stopping the running server...", "Останавливаем существующий сервер..."),
        (
            "freeing", {"port": 8787, "pid": 12345}, "INFO",
            "Freeing port 8787 (PID: 12345)...", "Освобождаем порт 8787 (PID: 12345)...",
        ),
        ("stopped", {}, "INFO", "Server stopped", "Сервер остановлен"),
        ("starting", {}, "INFO", "Starting the API server...", "Запускаем API сервер..."),
        ("pid", {"pid": 12346}, "INFO", "Server started with PID: 12346", "Сервер запущен с PID: 12346"),
        ("started", {}, "SUCCESS", "Server is up", "Сервер успешно запущен"),
        ("restarted", {}, "SUCCESS", "✅ Server restarted", "✅ Сервер успешно перезапущен"),
        ("verifying", {}, "INFO", "Checking health after the heal...", "Проверяем здоровье после восстановления..."),
        ("healed", {}, "SUCCESS", "🎉 Healed!", "🎉 Автовосстановление успешно!"),
        ("not_started", {}, "ERROR", "❌ The server did not start", "❌ Сервер не запустился"),
    ],
)  # fmt: skip
def test_the_texts_that_people_rely_on_stay(
    *, key: str, values: dict[str, object], level: str, en: str, ru: str
) -> None:
    assert Message(key, values).render("en", named=False) == en
    assert Message(key, values).render("ru", named=False) == ru
    assert CATALOG[key].level is Level(level)


def test_with_several_services_the_text_names_the_one_meant() -> None:
    assert Message("stopped", {"name": "db"}).render("en", named=True) == "db stopped"
    assert Message("stopped", {"name": "db"}).render("ru", named=True) == "Сервис db остановлен"


@pytest.mark.parametrize(
    ("window", "shown"),
    [(600.0, "600s"), (0.5, "0.5s"), (2.25, "2.25s"), (2_592_000.0, "2592000s"), (1e8, "100000000s"), (1e-3, "0.001s")],
)
def test_seconds_are_shown_as_people_write_them(window: float, shown: str) -> None:
    assert f"in {shown})" in str(Message("budget", {"name": "api", "restarts": 5, "window": window}))
