"""The monitor from cycle to cycle: its texts, its statistics, and the faults that it heals."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable

import pytest
from sandbox import DEADLINE, IMPATIENT, Sandbox, wait_for
from terminals import CTRL_C, on_terminal
from watching import Statistics, Watching, kill, only_check, rows, starts, watching

from remediation.config.load import load_project
from remediation.state.service_state import Store
from remediation.system.process import Identity

HEALED_AND_HEALTHY = {
    "en": """\
Check #1 (T)
Checking /api/health...
❌ /api/health FAIL after 1 attempt
/api/health: api: its process is not running
⚠️ Problems found, healing...
Evidence is in F
🔄 Restarting the server...
Starting the API server...
Server started with PID: N
Server is up
✅ Server restarted
Checking health after the heal...
Checking /api/health...
✅ /api/health OK
🎉 Healed!
Status: healthy ✅
Statistics: Checks: 1 | Errors: 1 | Heals: 1
Uptime: 0.0% (0/1 successful checks)
Next check in Ns...
Check #2 (T)
Checking /api/health...
✅ /api/health OK
✅ All systems are healthy
Status: healthy ✅
Statistics: Checks: 2 | Errors: 1 | Heals: 1
Uptime: 50.0% (1/2 successful checks)
Next check in Ns...
""",
    "ru": """\
Проверка #1 (T)
Проверяем /api/health...
❌ /api/health FAIL после 1 попытки
/api/health: api: процесс сервиса не запущен
⚠️ Обнаружены проблемы, выполняем автовосстановление...
Диагностика сохранена в F
🔄 Перезапуск сервера...
Запускаем API сервер...
Сервер запущен с PID: N
Сервер успешно запущен
✅ Сервер успешно перезапущен
Проверяем здоровье после восстановления...
Проверяем /api/health...
✅ /api/health OK
🎉 Автовосстановление успешно!
Статус: Здоров ✅
Статистика: Проверок: 1 | Ошибок: 1 | Восстановлений: 1
Uptime: 0.0% (0/1 successful checks)
Следующая проверка через Ns...
Проверка #2 (T)
Проверяем /api/health...
✅ /api/health OK
✅ Все системы работают нормально
Статус: Здоров ✅
Статистика: Проверок: 2 | Ошибок: 1 | Восстановлений: 1
Uptime: 50.0% (1/2 successful checks)
Следующая проверка через Ns...
""",
}


def timeless(lines: list[str]) -> list[str]:
    """Return lines without the parts that differ from run to run."""
    text = re.sub(r"\.auto-heal/evidence/\S+", "F", "\n".join(lines))
    text = re.sub(r"\d\d:\d\d:\d\d", "T", text)
    return re.sub(r"(?<=PID: )\d+|(?<=in )[\d.]+(?=s)|(?<=через )[\d.]+(?=s)", "N", text).splitlines()


# Texts and numbers.


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_healed_and_a_healthy_cycle_are_told_step_by_step(project: Sandbox, language: str) -> None:
    for name in ("test_items.py", "test_process.py"):
        (project.root / "healthtests" / name).unlink()
    expected = HEALED_AND_HEALTHY[language].splitlines()

    with watching(project, AUTO_HEAL_LANG=language, CHECK_INTERVAL="0.3") as monitor:
        monitor.ends_check(2)
        told = timeless(monitor.lines[: len(expected)])

    assert told == expected
    logged = [line.partition("] ")[2] for line in project.log.splitlines()]
    assert timeless(logged)[: len(expected)] == expected


def test_on_a_terminal_a_line_sets_the_cycles_apart_and_the_log_has_none(healthy: Sandbox) -> None:
    only_check(healthy, "pass")
    environ = healthy.environment(CHECK_INTERVAL="0.2", NO_COLOR="1", PYTHONIOENCODING="utf-8")

    with on_terminal(
        sys.executable, "-m", "remediation", "monitor", cwd=healthy.root, env=environ, columns=40
    ) as screen:
        screen.shows("Check #3")
        screen.types(CTRL_C)
        code = screen.wait()

    assert code == 0, screen.text
    lines = screen.text.splitlines()
    above = [lines[index - 1] for index, line in enumerate(lines) if line.startswith("Check #") and index]
    assert above[:2] == ["━" * 40] * 2, screen.text
    assert screen.text.count("━" * 40) == len(above)
    assert "\x1b" not in screen.text
    assert "━" not in healthy.log


def test_statistics_history_and_report_agree_over_healed_healthy_and_sick_cycles(project: Sandbox) -> None:
    # Fails in the third cycle, for it is asked twice in the first.
    project.write(
        "healthtests/test_fourth.py",
        "import pathlib\n\ndef test_fourth():\n    ran = pathlib.Path('ran')\n"
        "    ran.write_text(ran.read_text() + 'x' if ran.exists() else 'x')\n    assert ran.read_text() != 'xxxx'\n",
    )
    project.configure(top="interval = 0.1\nretries = 1")

    with watching(project) as monitor:
        counted = [monitor.ends_check(number) for number in (1, 2, 3, 4)]
        monitor.stop()
        ended = monitor.statistics

    assert counted == [Statistics(1, 1, 1), Statistics(2, 1, 1), Statistics(3, 2, 1), Statistics(4, 2, 1)], monitor
    runs = rows(project, "SELECT verdict, origin FROM runs ORDER BY id")
    assert runs[:4] == [(verdict, "monitor") for verdict in ("healed", "healthy", "sick", "healthy")]
    assert len(runs) == ended.checks
    assert rows(project, "SELECT service, ok, origin FROM heals") == [("api", 1, "monitor")]
    report = json.loads(project.auto_heal("report", "--json").output)
    api = next(one for one in report["services"] if one["key"] == "api")
    # The first start is no failure.
    assert (api["runs"], api["passed"], api["heals"]["helped"]) == (ended.checks, ended.checks, 1)


def test_the_interval_counts_from_start_to_start(project: Sandbox) -> None:
    project.configure(top="interval = 0.9")
    only_check(project, "time.sleep(0.4)")

    with watching(project) as monitor:
        monitor.ends_check(2)

    left = [float(found) for found in re.findall(r"Next check in ([\d.]+)s", "\n".join(monitor.lines))]
    assert max(left) < 0.5, monitor


def test_a_cycle_slower_than_the_interval_is_waited_for(project: Sandbox) -> None:
    project.configure(top="interval = 0.01")
    only_check(project, "open('notes', 'a').write('in '); time.sleep(0.1); open('notes', 'a').write('out ')")

    with watching(project) as monitor:
        monitor.ends_check(4)

    notes = (project.root / "notes").read_text().split()
    assert notes[:8] == ["in", "out"] * 4


# Faults.


def stop(project: Sandbox) -> None:
    os.kill(project.pid, signal.SIGSTOP)


def answer_500(project: Sandbox) -> None:
    project.get("/fall-ill/errors")


def hang(project: Sandbox) -> None:
    project.get("/fall-ill/hang")


def answer_nothing(project: Sandbox) -> None:
    project.get("/fall-ill/empty")


def die(project: Sandbox) -> None:
    kill(project)


def lose_the_port(project: Sandbox) -> None:
    loaded = load_project(project.root, {})
    # Or it would be healed before the stranger is there.
    with Store(loaded).lock(loaded.services["api"], timeout=DEADLINE):
        kill(project)
        project.stranger_on_port()


FAULTS = [die, stop, answer_500, lose_the_port]


def is_healed_by(monitor: Watching, project: Sandbox, fault: Callable[[Sandbox], None], heals: int) -> None:
    """Inject a fault, and assert that it is healed."""
    pid = project.pid

    fault(project)

    wait_for(lambda: monitor.statistics.heals == heals or monitor.process.poll() is not None)
    assert monitor.statistics.heals == heals, monitor
    assert project.pid != pid
    assert project.servers() == [project.pid]
    assert project.answers()


@pytest.mark.parametrize("fault", [hang, answer_nothing])
def test_a_fault_is_healed_at_the_next_cycle(healthy: Sandbox, fault: Callable[[Sandbox], None]) -> None:
    healthy.configure(top=f"interval = 0.3\n{IMPATIENT}")

    with watching(healthy) as monitor:
        monitor.ends_check(1)

        is_healed_by(monitor, healthy, fault, 1)


@pytest.mark.soak
def test_eight_faults_in_turn_are_healed_counted_and_leave_nothing_but_the_server(healthy: Sandbox) -> None:
    healthy.configure(
        'free_port = "user"\nbudget = { restarts = 100, window = 600 }', top=f"interval = 0.3\n{IMPATIENT}"
    )

    with watching(healthy) as monitor:
        monitor.ends_check(1)
        for number, fault in enumerate(FAULTS * 2, 1):
            is_healed_by(monitor, healthy, fault, number)
        code = monitor.stop()
        left = monitor.crew

    assert code == 0
    assert left == []
    assert not list((healthy.root / ".auto-heal").glob("run-*"))
    assert healthy.servers() == [healthy.pid]
    assert healthy.answers()
    checks, errors, heals = monitor.statistics
    assert heals == 8, monitor
    assert rows(healthy, "SELECT count(*), sum(ok) FROM heals WHERE origin = 'monitor'") == [(8, 8)]
    # Two cycles may have seen one fault.
    assert rows(healthy, "SELECT count(*), sum(verdict <> 'healthy') FROM runs") == [(checks, errors)]
    assert starts(healthy) == 1 + 8


def test_what_a_check_leaves_running_ends_with_its_cycle(project: Sandbox) -> None:
    project.configure(top="interval = 0.2\nretries = 1")
    left = "pathlib.Path('left').open('a').write(f\"{__import__('subprocess').Popen(['sleep', '600']).pid}\\n\")"
    only_check(project, left)

    with watching(project) as monitor:
        monitor.ends_check(2)
        pids = [int(line) for line in (project.root / "left").read_text().split()[:2]]

        wait_for(lambda: not any(Identity.of(pid) for pid in pids))
