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
    "incomplete": Text(ERROR, "❌ No verdict: {reason}", "❌ Вердикта нет: {reason}"),
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
    "refused": Text(ERROR, "{reason}", "{reason}"),
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
    "survivors": Text(
        ERROR,
        "{name}: still alive after SIGKILL: {holder}",
        "{name}: пережил SIGKILL: {holder}",
    ),
    "pid_file": Text(WARN, "{name}: {problem}", "{name}: {problem}"),
}  # fmt: skip
