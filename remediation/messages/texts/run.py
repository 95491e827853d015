"""What a run of the suite says, and a monitor."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

RUN: dict[str, Text] = {
    # The checks.
    "checking": Text(INFO, "Checking {check}...", "Проверяем {check}..."),
    "passed": Text(SUCCESS, "✅ {check} OK", "✅ {check} OK"),
    "passed_showing": Text(SUCCESS, "✅ {check} OK ({shown})", "✅ {check} OK ({shown})"),
    "redirected_to": Text(INFO, "redirected to {place}", "перенаправление на {place}"),
    "checked_before": Text(INFO, "checked {ago} ago", "проверено {ago} назад"),
    "exceeded": Text(INFO, "{problem}", "{problem}"),
    "skipped": Text(INFO, "{check} skipped: {reason}", "{check}: пропущено — {reason}"),
    "retry": Text(
        WARN,
        "Attempt {attempt}/{attempts} failed, retrying in {delay}s...",
        "Попытка {attempt}/{attempts} не удалась, повтор через {delay}s...",
        "{check}: attempt {attempt}/{attempts} failed, retrying in {delay}s...",
        "{check}: попытка {attempt}/{attempts} не удалась, повтор через {delay}s...",
    ),
    "failed": Text(ERROR, "❌ {check} FAIL after {attempts} attempts",
        "❌ {check} FAIL после {attempts} {attempts:попытки|попыток|попыток}",
    ),
    "failed_once": Text(ERROR, "❌ {check} FAIL after 1 attempt", "❌ {check} FAIL после 1 попытки"),
    "because": Text(ERROR, "{check}: {reason}", "{check}: {reason}"),
    "because_of": Text(ERROR, "{reason}", "{reason}"),
    "not_collected": Text(ERROR, "❌ Not collected: {reason}", "❌ Не удалось собрать: {reason}"),
    # The verdict.
    "healthy": Text(SUCCESS, "✅ All systems are healthy", "✅ Все системы работают нормально"),
    "one_healthy": Text(SUCCESS, "✅ {names} is healthy", "✅ {names} работает нормально"),
    "some_healthy": Text(SUCCESS, "✅ {names} are healthy", "✅ {names} работают нормально"),
    "healing": Text(
        WARN, "⚠️ Problems found, healing...", "⚠️ Обнаружены проблемы, выполняем автовосстановление..."
    ),
    "incident": Text(
        INFO, "Incident {id} begins", "Начало инцидента {id}",
        "{name}: incident {id} begins", "{name}: начало инцидента {id}",
    ),
    "incident_healed": Text(
        INFO, "This heal belongs to incident {id}, since {since}",
        "Это восстановление относится к инциденту {id}, начало {since}",
        "{name}: this heal belongs to incident {id}, since {since}",
        "{name}: это восстановление относится к инциденту {id}, начало {since}",
    ),
    "verifying": Text(INFO, "Checking health after the heal...", "Проверяем здоровье после восстановления..."),
    "healed": Text(SUCCESS, "🎉 Healed!", "🎉 Автовосстановление успешно!"),
    "sick": Text(ERROR, "❌ Still sick: {checks}", "❌ Не проходят: {checks}"),
    "unproven": Text(
        ERROR, "❌ Unproven: {names}; no check of it passed or failed (--allow-unproven accepts that)",
        "❌ Не подтверждено: {names}; ни одна проверка не прошла и не провалилась (--allow-unproven это допускает)",
    ),
    "starting_still": Text(
        INFO, "{names} {names:is|are} still starting; failing checks start no heal until {until}",
        "{names:Сервис|Сервисы|Сервисы} {names} ещё {names:запускается|запускаются|запускаются}; до {until} неудачные "
        "проверки не ведут к восстановлению",
    ),
    "healing_off": Text(WARN, "Healing is off", "Автовосстановление выключено"),
    "paused": Text(WARN, "Healing is paused until {until}", "Автовосстановление приостановлено до {until}"),
    "paused_openly": Text(
        WARN,
        "Healing is paused; run `auto-heal resume` to resume it",
        "Автовосстановление приостановлено; чтобы возобновить, выполните `auto-heal resume`",
    ),
    "paused_one": Text(
        WARN, "{name}: healing is paused until {until}", "{name}: восстановление приостановлено до {until}"
    ),
    "paused_one_openly": Text(
        WARN,
        "{name}: healing is paused; run `auto-heal resume {name}` to resume it",
        "{name}: восстановление приостановлено; чтобы возобновить, выполните `auto-heal resume {name}`",
    ),
    "resumed_one": Text(INFO, "{name}: healing is on", "{name}: восстановление включено"),
    "resumed": Text(INFO, "Healing is on", "Автовосстановление включено"),
    "no_history": Text(WARN, "Not recorded: {problem}", "Не записано в историю: {problem}"),
    "no_summary": Text(WARN, "No summary for GitHub: {problem}", "Нет сводки для GitHub: {problem}"),
    "no_outputs": Text(WARN, "No outputs for GitHub: {problem}", "Нет выходных данных для GitHub: {problem}"),
    "incomplete": Text(ERROR, "❌ No verdict: {reason}", "❌ Результата нет: {reason}"),
    "valid": Text(SUCCESS, "{file}: valid; services: {names}", "{file}: ошибок нет; сервисы: {names}"),
    # The monitor.
    "monitor": Text(INFO, "Check #{number} ({time})", "Проверка #{number} ({time})"),
    "status_healthy": Text(SUCCESS, "Status: healthy ✅", "Статус: Здоров ✅"),
    "status_starting": Text(INFO, "Status: starting", "Статус: Запускается"),
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
        WARN,
        "The {names:process|processes} of {names} died, checking now",
        "{names:Процесс|Процессы|Процессы} {names} {names:завершился|завершились|завершились}, проверяем сейчас",
    ),
    "next_try_now": Text(
        INFO, "Trying the start of {names} again", "Ещё раз запускаем {names}",
    ),
    "cycle_broken": Text(
        ERROR, "❌ The check came to no verdict: {problem}", "❌ Проверка не дала результата: {problem}"
    ),
    "lock_gone": Text(
        ERROR,
        "❌ {lock} was removed or replaced, so another monitor may be running; this one ends",
        "❌ Файл {lock} удалён или заменён, возможно, уже работает другой монитор; этот завершается",
    ),
    "project_gone": Text(
        ERROR,
        "❌ The project's folder {folder} was renamed or removed; the monitor ends",
        "❌ Папка проекта {folder} переименована или удалена; монитор завершается",
    ),
    "edited": Text(
        INFO, "Checks or configuration were edited; reading them again",
        "Проверки или конфигурация изменены, читаем их заново",
    ),
    "checks_broken": Text(
        ERROR, "❌ The checks cannot be collected, going on with the earlier ones: {problem}",
        "❌ Не удалось собрать проверки, продолжаем с прежними: {problem}",
    ),
    "checks_missing": Text(
        ERROR, "❌ The checks cannot be collected; trying again later: {problem}",
        "❌ Не удалось собрать проверки; попробуем позже: {problem}",
    ),
    "config_broken": Text(
        ERROR, "❌ The configuration cannot be used, going on with the earlier one: {problem}",
        "❌ Конфигурация непригодна, продолжаем с прежней: {problem}",
    ),
    "session_hangs": Text(
        ERROR, "❌ The process that runs the checks hangs; restarting it",
        "❌ Процесс проверок завис; перезапускаем его",
    ),
    "finishing": Text(
        WARN, "Finishing the heal of {names}; Ctrl+C again ends at once",
        "Завершаем восстановление {names}; повторный Ctrl+C прервёт сразу",
    ),
    "left": Text(
        ERROR, "Interrupted while healing {names}; the next check will continue",
        "Прервано во время восстановления {names}; следующая проверка продолжит",
    ),
    "monitor_ended": Text(INFO, "The monitor has ended", "Мониторинг остановлен"),
    "watched": Text(
        ERROR, "❌ This project is already watched by a monitor (PID {pid}, since {since})",
        "❌ За этим проектом уже следит монитор (PID {pid}, с {since})",
    ),
    "not_notified": Text(WARN, "A notification may be lost: {problem}", "Уведомление могло не дойти: {problem}"),
}  # fmt: skip
