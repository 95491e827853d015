"""Every text that the log and the terminal show, in every language, with its level."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

Language = Literal["en", "ru"]


class Level(Enum):
    """How the log marks a line."""

    INFO = "INFO"
    SUCCESS = "SUCCESS"
    WARN = "WARN"
    ERROR = "ERROR"


class Text(NamedTuple):
    """A text in each language; with several services `named` takes its place and says which one is meant."""

    level: Level
    en: str
    ru: str
    en_named: str = ""
    ru_named: str = ""

    def template(self, language: Language, *, named: bool) -> str:
        """Return the template of this text."""
        if named and self.en_named:
            return self.ru_named if language == "ru" else self.en_named
        return self.ru if language == "ru" else self.en


INFO, SUCCESS, WARN, ERROR = Level.INFO, Level.SUCCESS, Level.WARN, Level.ERROR

CATALOGUE: dict[str, Text] = {
    # The checks.
    "checking": Text(INFO, "Checking {check}...", "Проверяем {check}..."),
    "passed": Text(SUCCESS, "✅ {check} OK", "✅ {check} OK"),
    "passed_showing": Text(SUCCESS, "✅ {check} OK ({shown})", "✅ {check} OK ({shown})"),
    "skipped": Text(INFO, "{check} skipped: {reason}", "{check} пропущено: {reason}"),
    "retry": Text(
        WARN,
        "Attempt {attempt}/{attempts} failed, retrying in {delay}s...",
        "Попытка {attempt}/{attempts} не удалась, повтор через {delay}s...",
        "{check}: attempt {attempt}/{attempts} failed, retrying in {delay}s...",
        "{check}: попытка {attempt}/{attempts} не удалась, повтор через {delay}s...",
    ),
    "failed": Text(ERROR, "❌ {check} FAIL after {attempts} attempts", "❌ {check} FAIL после {attempts} попыток"),
    "failed_once": Text(ERROR, "❌ {check} FAIL after 1 attempt", "❌ {check} FAIL после 1 попытки"),
    "because": Text(ERROR, "{check}: {reason}", "{check}: {reason}"),
    # The verdict.
    "healthy": Text(SUCCESS, "✅ All systems are healthy", "✅ Все системы работают нормально"),
    "healing": Text(
        WARN, "⚠️ Problems found, healing...", "⚠️ Обнаружены проблемы, выполняем автовосстановление..."
    ),
    "verifying": Text(INFO, "Checking health after the heal...", "Проверяем здоровье после восстановления..."),
    "healed": Text(SUCCESS, "🎉 Healed!", "🎉 Автовосстановление успешно!"),
    "sick": Text(ERROR, "❌ Still sick: {checks}", "❌ Всё ещё больны: {checks}"),
    "healing_off": Text(WARN, "Healing is off", "Автовосстановление выключено"),
    "paused": Text(WARN, "Healing is paused until {until}", "Автовосстановление приостановлено до {until}"),
    "paused_openly": Text(
        WARN,
        "Healing is paused; `auto-heal resume` ends that",
        "Автовосстановление приостановлено; `auto-heal resume` отменяет это",
    ),
    "resumed": Text(INFO, "Healing is on", "Автовосстановление включено"),
    "no_history": Text(WARN, "Not recorded: {problem}", "Не записано в историю: {problem}"),
    "incomplete": Text(ERROR, "❌ No verdict: {reason}", "❌ Вердикта нет: {reason}"),
    # The monitor.
    "monitor": Text(INFO, "Check #{number} ({time})", "Проверка #{number} ({time})"),
    "status_healthy": Text(SUCCESS, "Status: healthy ✅", "Статус: Здоров ✅"),
    "status_sick": Text(ERROR, "Status: sick ❌", "Статус: Болен ❌"),
    "statistics": Text(
        INFO,
        "Statistics: Checks: {checks} | Errors: {errors} | Heals: {heals}",
        "Статистика: Проверок: {checks} | Ошибок: {errors} | Восстановлений: {heals}",
    ),
    "uptime": Text(
        INFO,
        "Uptime: {percent}% ({successful}/{checks} successful checks)",
        "Uptime: {percent}% ({successful}/{checks} successful checks)",
    ),
    "next": Text(INFO, "Next check in {seconds}s...", "Следующая проверка через {seconds}s..."),
    "process_died": Text(
        WARN, "The process of {names} died, checking now", "Процесс {names} завершился, проверяем сейчас"
    ),
    "cycle_broken": Text(
        ERROR, "❌ The check came to no verdict: {problem}", "❌ Проверка не дала вердикта: {problem}"
    ),
    "edited": Text(
        INFO, "Checks or configuration were edited, reading them again",
        "Проверки или конфигурация изменены, читаем их заново",
    ),
    "checks_broken": Text(
        ERROR, "❌ The checks cannot be collected, going on with the earlier ones: {problem}",
        "❌ Проверки не собрать, продолжаем с прежними: {problem}",
    ),
    "checks_missing": Text(
        ERROR, "❌ The checks cannot be collected; trying again later: {problem}",
        "❌ Проверки не собрать; попробуем позже: {problem}",
    ),
    "config_broken": Text(
        ERROR, "❌ The configuration cannot be used, going on with the earlier one: {problem}",
        "❌ Конфигурация непригодна, продолжаем с прежней: {problem}",
    ),
    "session_hangs": Text(
        ERROR, "❌ The process that runs the checks hangs; it is ended and started again",
        "❌ Процесс проверок завис; завершаем и запускаем заново",
    ),
    "finishing": Text(
        WARN, "Finishing the heal of {names}; Ctrl+C again ends at once",
        "Завершаем восстановление {names}; повторный Ctrl+C прервёт сразу",
    ),
    "left": Text(
        ERROR, "Ended in the middle of the heal of {names}; the next check goes on with it",
        "Прервано во время восстановления {names}; следующая проверка продолжит",
    ),
    "monitor_ended": Text(INFO, "The monitor has ended", "Монитор завершён"),
    "watched": Text(
        ERROR, "❌ This project is already watched by a monitor (PID {pid}, since {since})",
        "❌ За этим проектом уже следит монитор (PID {pid}, с {since})",
    ),
    "not_notified": Text(WARN, "Nobody was notified: {problem}", "Уведомление не отправлено: {problem}"),
    # The service.
    "restart": Text(
        INFO, "🔄 Restarting the server...", "🔄 Перезапуск сервера...",
        "🔄 Restarting {name}...", "🔄 Перезапуск {name}...",
    ),
    "stopping": Text(
        INFO, "Stopping the running server...", "Останавливаем существующий сервер...",
        "Stopping the running {name}...", "Останавливаем существующий {name}...",
    ),
    "freeing": Text(INFO, "Freeing port {port} (PID: {pid})...", "Освобождаем порт {port} (PID: {pid})..."),
    "stopped": Text(INFO, "Server stopped", "Сервер остановлен", "{name} stopped", "{name} остановлен"),
    "starting": Text(
        INFO, "Starting the API server...", "Запускаем API сервер...", "Starting {name}...", "Запускаем {name}...",
    ),
    "pid": Text(
        INFO, "Server started with PID: {pid}", "Сервер запущен с PID: {pid}",
        "{name} started with PID: {pid}", "{name} запущен с PID: {pid}",
    ),
    "started": Text(SUCCESS, "Server is up", "Сервер успешно запущен", "{name} is up", "{name} успешно запущен"),
    "restarted": Text(
        SUCCESS, "✅ Server restarted", "✅ Сервер успешно перезапущен",
        "✅ {name} restarted", "✅ {name} успешно перезапущен",
    ),
    "not_started": Text(
        ERROR, "❌ The server did not start", "❌ Сервер не запустился",
        "❌ {name} did not start", "❌ {name} не запустился",
    ),
    "already_up": Text(
        SUCCESS, "Server is already up (PID: {pid})", "Сервер уже работает (PID: {pid})",
        "{name} is already up (PID: {pid})", "{name} уже работает (PID: {pid})",
    ),
    "adopted": Text(
        INFO, "Found the server running without a PID file (PID: {pid})",
        "Найден работающий сервер без PID-файла (PID: {pid})",
        "Found {name} running without a PID file (PID: {pid})", "Найден работающий {name} без PID-файла (PID: {pid})",
    ),
    "running_command": Text(INFO, "Running {command}...", "Выполняем {command}..."),
    "detail": Text(ERROR, "{line}", "{line}"),
    # What a heal says of a service, always by name: these are also the reasons in a report.
    "recovered": Text(
        SUCCESS, "✅ {name} recovered by itself after {others}", "✅ {name} восстановился сам после {others}"
    ),
    "healed_elsewhere": Text(
        INFO, "{name} was just restarted by another auto-heal", "{name} только что перезапущен другим auto-heal"
    ),
    "failed_elsewhere": Text(
        ERROR,
        "{name}: another auto-heal just tried and failed: {reason}",
        "{name}: другой auto-heal только что пытался, безуспешно: {reason}",
    ),
    "by_hand": Text(
        ERROR,
        "{name}: stopped by hand; `auto-heal start {name}` ends that",
        "{name}: остановлен вручную; `auto-heal start {name}` отменяет это",
    ),
    "never_healed": Text(
        ERROR,
        "{name}: has neither command nor restart, so it is checked but never healed",
        "{name}: нет ни command, ни restart, поэтому он проверяется, но не восстанавливается",
    ),
    "not_here": Text(
        ERROR,
        "{name}: {url} is not on this machine, so no local process can heal it; give the service restart = [...]",
        "{name}: {url} не на этой машине, локальный процесс его не восстановит; задайте сервису restart = [...]",
    ),
    "budget": Text(
        ERROR,
        "{name}: restart budget spent ({restarts} in {window}s), giving up",
        "{name}: бюджет перезапусков исчерпан ({restarts} за {window}s), прекращаем",
    ),
    "budget_wait": Text(
        ERROR,
        "{name}: restart budget was spent ({restarts} in {window}s); the next restart is tried after {until}",
        "{name}: бюджет перезапусков был исчерпан ({restarts} за {window}s); следующая попытка после {until}",
    ),
    "busy": Text(
        ERROR,
        "{name}: another auto-heal has been at work on it for {seconds}s; not waiting longer",
        "{name}: другой auto-heal занят им уже {seconds}s; больше не ждём",
    ),
    "dependency": Text(
        ERROR,
        "{name}: left alone, since {others} could not be healed",
        "{name}: не трогаем, так как {others} не удалось восстановить",
    ),
    "foreign_port": Text(
        ERROR,
        "{name}: port {port} is held by {holder}; auto-heal may not end it, since it {why}. "
        "Stop it, or change url or free_port",
        "{name}: порт {port} занят: {holder}; auto-heal не вправе завершить его: {why}. "
        "Остановите его или измените url или free_port",
    ),
    "out_of_bounds": Text(
        ERROR,
        "{name}: its process {holder} may not be ended, since it {why}; nothing was done",
        "{name}: его процесс {holder} нельзя завершить: {why}; ничего не сделано",
    ),
    "still_answers": Text(
        ERROR,
        "{name}: `{command}` ended, but {url} still answers",
        "{name}: `{command}` завершился, но {url} всё ещё отвечает",
    ),
    "survivors": Text(
        ERROR,
        "{name}: still alive after SIGKILL: {holder}",
        "{name}: пережил SIGKILL: {holder}",
    ),
    "pid_file": Text(WARN, "{name}: {problem}", "{name}: {problem}"),
    "no_stop": Text(
        ERROR,
        "{name}: something else runs it, and there is no stop = [...] to ask it by",
        "{name}: им управляет кто-то другой, и нет stop = [...], чтобы его остановить",
    ),
    "surroundings": Text(ERROR, "{name}: {where}: {problem}", "{name}: {where}: {problem}"),
    # Why a port's holder may not be ended; the keys are those of Protection, and two of our own.
    "why_init": Text(INFO, "is PID 1", "это PID 1"),
    "why_ourselves": Text(INFO, "is auto-heal itself", "это сам auto-heal"),
    "why_ancestor": Text(INFO, "is an ancestor of auto-heal", "это предок auto-heal"),
    "why_no_process": Text(INFO, "is no process", "это не процесс"),
    "why_other_user": Text(INFO, "belongs to another user", "он принадлежит другому пользователю"),
    "why_unknown": Text(INFO, "cannot be examined", "о нём ничего нельзя узнать"),
    "why_stranger": Text(
        INFO, 'is not its own, and free_port is "{free_port}"', 'он чужой, а free_port — "{free_port}"'
    ),
    "why_returns": Text(INFO, "comes back whenever it is ended", "он возвращается, сколько его ни завершай"),
    "somebody": Text(INFO, "a process of another user", "процесс другого пользователя"),
    # Why a start failed.
    "exited": Text(INFO, "exited with status {status}", "завершился с кодом {status}"),
    "exited_0": Text(
        INFO,
        "exited with status 0 (a command has to stay in the foreground)",
        "завершился с кодом 0 (команда должна оставаться на переднем плане)",
    ),
    "killed": Text(INFO, "was killed by {signal}", "убит сигналом {signal}"),
    "died": Text(
        ERROR, "{name}: `{command}` {how} before it was ready", "{name}: `{command}` {how}, не успев заработать"
    ),
    "died_saying": Text(
        ERROR,
        "{name}: `{command}` {how} before it was ready: {last}",
        "{name}: `{command}` {how}, не успев заработать: {last}",
    ),
    "no_answer": Text(
        ERROR,
        "{name}: no answer ({asked}) within {timeout}s of its start; last: {last}",
        "{name}: нет ответа ({asked}) в течение {timeout}s после запуска; последнее: {last}",
    ),
    "asked_path": Text(INFO, "2xx at {path}", "2xx от {path}"),
    "asked_tcp": Text(INFO, "a TCP connection", "TCP-соединение"),
    "command_failed": Text(
        ERROR, "{name}: `{command}` {how}; its output is in {log}", "{name}: `{command}` {how}; его вывод в {log}"
    ),
    "command_late": Text(
        ERROR,
        "{name}: `{command}` did not end within {timeout}s and was killed",
        "{name}: `{command}` не завершился за {timeout}s и был убит",
    ),
    "no_log": Text(
        ERROR, "{name}: its log {log} cannot be written: {problem}", "{name}: не записать его журнал {log}: {problem}"
    ),
    "no_folder": Text(
        ERROR,
        "{name}: its working directory {cwd} does not exist",
        "{name}: его рабочий каталог {cwd} не существует",
    ),
    "not_a_folder": Text(
        ERROR,
        "{name}: its working directory {cwd} is not a directory",
        "{name}: его рабочий каталог {cwd} — не каталог",
    ),
    "not_found": Text(
        ERROR,
        "{name}: {program} was not found; check its name and PATH",
        "{name}: программа {program} не найдена; проверьте имя и PATH",
    ),
    "no_interpreter": Text(
        ERROR,
        "{name}: {program} needs an interpreter that was not found; look at its first line",
        "{name}: для {program} не найден интерпретатор; посмотрите на первую строку",
    ),
    "not_executable": Text(
        ERROR,
        "{name}: {program} is not executable; check its permissions (chmod +x)",
        "{name}: {program} нельзя выполнить; проверьте права (chmod +x)",
    ),
    "not_runnable": Text(
        ERROR, "{name}: {program} cannot be executed: {problem}", "{name}: {program} нельзя выполнить: {problem}"
    ),
}  # fmt: skip
