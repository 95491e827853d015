"""The exact texts of `auto-heal check` and of the log, in both languages."""

from __future__ import annotations

import re
import sys

import pytest
from sandbox import REPOSITORY, Sandbox, free_port

HEALTHY_EN = """\
Checking /api/health...
✅ /api/health OK
Checking /api/girls...
✅ /api/girls OK (count: 6)
Checking process...
✅ process OK
✅ All systems are healthy
"""


HEALTHY_RU = """\
Проверяем /api/health...
✅ /api/health OK
Проверяем /api/girls...
✅ /api/girls OK (count: 6)
Проверяем process...
✅ process OK
✅ Все системы работают нормально
"""


HEALED_EN = """\
Checking /api/health...
✅ /api/health OK
Checking /api/girls...
Attempt 1/3 failed, retrying in 0.1s...
Attempt 2/3 failed, retrying in 0.1s...
❌ /api/girls FAIL after 3 attempts
/api/girls: the list is empty
Checking process...
✅ process OK
⚠️ Problems found, healing...
Evidence is in <FOLDER>
🔄 Restarting the server...
Ending <HOLDER>
Stopping the running server...
Server stopped
Starting the API server...
Server started with PID: <PID>
Server is up
✅ Server restarted
Checking health after the heal...
Checking /api/health...
✅ /api/health OK
Checking /api/girls...
✅ /api/girls OK (count: 6)
Checking process...
✅ process OK
🎉 Healed!
"""


HEALED_RU = """\
Проверяем /api/health...
✅ /api/health OK
Проверяем /api/girls...
Попытка 1/3 не удалась, повтор через 0.1s...
Попытка 2/3 не удалась, повтор через 0.1s...
❌ /api/girls FAIL после 3 попыток
/api/girls: the list is empty
Проверяем process...
✅ process OK
⚠️ Обнаружены проблемы, выполняем автовосстановление...
Диагностика сохранена в <FOLDER>
🔄 Перезапуск сервера...
Завершаем: <HOLDER>
Останавливаем существующий сервер...
Сервер остановлен
Запускаем API сервер...
Сервер запущен с PID: <PID>
Сервер успешно запущен
✅ Сервер успешно перезапущен
Проверяем здоровье после восстановления...
Проверяем /api/health...
✅ /api/health OK
Проверяем /api/girls...
✅ /api/girls OK (count: 6)
Проверяем process...
✅ process OK
🎉 Автовосстановление успешно!
"""


HOPELESS_EN = """\
Checking /api/health...
❌ /api/health FAIL after 1 attempt
/api/health: api: its process is not running
Checking /api/girls...
❌ /api/girls FAIL after 1 attempt
/api/girls: api: its process is not running
Checking process...
❌ process FAIL after 1 attempt
process: api: its process is not running
⚠️ Problems found, healing...
Evidence is in <FOLDER>
🔄 Restarting the server...
Starting the API server...
Server started with PID: <PID>
❌ The server did not start
no database at all
api: `<COMMAND>` exited with status 3 before it was ready: no database at all
❌ Still sick: /api/health, /api/girls, process
"""


HOPELESS_RU = """\
Проверяем /api/health...
❌ /api/health FAIL после 1 попытки
/api/health: api: процесс сервиса не запущен
Проверяем /api/girls...
❌ /api/girls FAIL после 1 попытки
/api/girls: api: процесс сервиса не запущен
Проверяем process...
❌ process FAIL после 1 попытки
process: api: процесс сервиса не запущен
⚠️ Обнаружены проблемы, выполняем автовосстановление...
Диагностика сохранена в <FOLDER>
🔄 Перезапуск сервера...
Запускаем API сервер...
Сервер запущен с PID: <PID>
❌ Сервер не запустился
no database at all
api: процесс `<COMMAND>` завершился с кодом 3, не успев заработать: no database at all
❌ Не проходят: /api/health, /api/girls, process
"""


def plain(output: str) -> str:
    """Return output with names in place of the parts that differ from run to run."""
    output = re.sub(r"(Ending|Завершаем:) .+", r"\1 <HOLDER>", output)
    output = re.sub(r"\.auto-heal/evidence/\S+-api$", "<FOLDER>", output, flags=re.MULTILINE)
    return re.sub(r"`[^`]*patient\.py`", "`<COMMAND>`", re.sub(r"PID: \d+", "PID: <PID>", output))


@pytest.mark.parametrize(("language", "text"), [("en", HEALTHY_EN), ("ru", HEALTHY_RU)])
def test_a_healthy_check_says_this(project: Sandbox, language: str, text: str) -> None:
    project.auto_heal("start")

    result = project.auto_heal("check", AUTO_HEAL_LANG=language)

    assert result.output == text
    assert result.code == 0


@pytest.mark.parametrize(("language", "text"), [("en", HEALED_EN), ("ru", HEALED_RU)])
def test_a_healed_check_says_this(project: Sandbox, language: str, text: str) -> None:
    project.auto_heal("start")
    project.get("/fall-ill/empty")

    result = project.auto_heal("check", AUTO_HEAL_LANG=language)

    assert plain(result.output) == text
    assert result.code == 0


@pytest.mark.soak
@pytest.mark.parametrize(("language", "text"), [("en", HOPELESS_EN), ("ru", HOPELESS_RU)])
def test_a_hopeless_check_says_this(project: Sandbox, language: str, text: str) -> None:
    project.configure('env = { CRASH = "3" }\nrestart_delay = 60')

    result = project.auto_heal("check", AUTO_HEAL_LANG=language)

    assert plain(result.output) == text
    assert result.code == 1


@pytest.mark.soak
def test_the_log_has_the_same_texts_with_time_and_level(project: Sandbox) -> None:
    result = project.auto_heal("check")

    stamp = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(INFO|SUCCESS|WARN|ERROR)\] ")
    assert all(stamp.match(line) for line in project.log.splitlines())
    assert [stamp.sub("", line) for line in project.log.splitlines()] == result.lines
    assert "[SUCCESS] 🎉 Healed!" in project.log
    assert "[WARN] ⚠️ Problems found, healing..." in project.log
    assert "[INFO] Checking /api/health..." in project.log


@pytest.mark.soak
def test_check_with_workers_says_the_same_in_another_order(project: Sandbox) -> None:
    project.auto_heal("start")

    result = project.auto_heal("check", "-n", "2")

    assert result.code == 0, result
    assert sorted(result.lines) == sorted(HEALTHY_EN.splitlines())


def test_check_hands_options_to_pytest(project: Sandbox) -> None:
    project.auto_heal("start")

    result = project.auto_heal("check", "-k", "girls")

    assert result.lines == ["Checking /api/girls...", "✅ /api/girls OK (count: 6)", "✅ All systems are healthy"]


@pytest.mark.soak
def test_a_verbose_check_shows_what_pytest_shows(project: Sandbox) -> None:
    result = project.auto_heal("check", "-v")

    assert "healthtests/test_health.py::test_health PASSED" in result.output
    assert "🎉 Healed!" in result.output


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["-k", "nothing"]])
def test_a_check_that_comes_to_no_verdict_shows_what_pytest_said(project: Sandbox, arguments: list[str]) -> None:
    result = project.auto_heal("check", *arguments)

    assert result.code in (4, 5), result
    assert "no-such-option" in result.output or "no tests ran" in result.output or "deselected" in result.output


@pytest.mark.soak
def test_colours_are_for_terminals_unless_forced(project: Sandbox) -> None:
    project.auto_heal("start")

    piped = project.auto_heal("check")
    forced = project.auto_heal("check", FORCE_COLOR="1")
    refused = project.auto_heal("check", FORCE_COLOR="1", NO_COLOR="1")

    assert "\033[" not in piped.output
    assert "\033[32m✅ All systems are healthy\033[0m" in forced.output
    assert "\033[" not in refused.output


@pytest.mark.skipif(not f"{REPOSITORY}{sys.prefix}".isascii(), reason="in a plain locale Python cannot read its paths")
def test_a_plain_locale_gets_escapes_and_no_traceback(project: Sandbox) -> None:
    result = project.auto_heal("check", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert result.code == 0, result
    assert "\\u2705 /api/health OK" in result.output


def test_start_stop_and_restart_say_what_they_do(project: Sandbox) -> None:
    started = project.auto_heal("start")
    again = project.auto_heal("start")
    restarted = project.auto_heal("restart")
    stopped = project.auto_heal("stop")

    starting = ["Starting the API server...", "Server started with PID: <PID>", "Server is up"]
    stopping = ["Ending <HOLDER>", "Stopping the running server...", "Server stopped"]
    assert plain(started.output).splitlines() == starting
    assert plain(again.output).splitlines() == ["Server is already up (PID: <PID>)"]
    assert plain(restarted.output).splitlines() == [
        "🔄 Restarting the server...",
        *stopping,
        *starting,
        "✅ Server restarted",
    ]
    assert plain(stopped.output).splitlines() == stopping
    assert [result.code for result in (started, again, restarted, stopped)] == [0, 0, 0, 0]


def test_with_several_services_their_names_take_the_place_of_the_server(project: Sandbox) -> None:
    project.configure(
        more=f'[services.db]\ncommand = ["sleep", "600"]\nurl = "tcp://127.0.0.1:{free_port()}"\nready = "none"'
    )

    result = project.auto_heal("restart", "db")

    assert plain(result.output).splitlines() == [
        "🔄 Restarting db...",
        "Starting db...",
        "db started with PID: <PID>",
        "db is up",
        "✅ db restarted",
    ]


def test_stop_of_what_does_not_run_only_says_that_it_is_stopped(project: Sandbox) -> None:
    assert project.auto_heal("stop").lines == ["Server stopped"]
