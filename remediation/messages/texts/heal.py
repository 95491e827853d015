"""What a heal does, and why it does not."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

HEAL: dict[str, Text] = {
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
    "evidence": Text(
        INFO, "Evidence is in {folder}", "Улики в {folder}",
        "{name}: evidence is in {folder}", "{name}: улики в {folder}",
    ),
    "no_evidence": Text(
        WARN, "No evidence of this: {problem}", "Улики не сохранены: {problem}",
        "{name}: no evidence of this: {problem}", "{name}: улики не сохранены: {problem}",
    ),
    "running_command": Text(INFO, "Running `{command}`...", "Выполняем `{command}`..."),
    "rolling_back": Text(
        WARN, "⏪ Rolling back by `{command}`...", "⏪ Откат: `{command}`...",
        "⏪ Rolling {name} back by `{command}`...", "⏪ Откат {name}: `{command}`...",
    ),
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
    "rollback_within": Text(
        ERROR,
        "{name}: not rolled back from within its own rollback",
        "{name}: откат из его собственного отката не выполняется",
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
    "zombie": Text(
        WARN,
        "It may have taken the dead process {pid}, which is still listed, for a server that runs; trying again "
        "when that is gone",
        "Возможно, он принял мёртвый процесс {pid}, который ещё числится, за работающий сервер; повторим, "
        "когда его не станет",
        "{name}: it may have taken the dead process {pid}, which is still listed, for a server that runs; trying again "
        "when that is gone",
        "{name}: возможно, он принял мёртвый процесс {pid}, который ещё числится, за работающий сервер; повторим, "
        "когда его не станет",
    ),
    "lives_on": Text(
        ERROR,
        "{name}: {holder} is one of its processes and is still alive; nothing more was done",
        "{name}: {holder} — его процесс, и он ещё жив; больше ничего не сделано",
    ),
    "lock_lost": Text(
        ERROR,
        "{name}: {lock} was removed or replaced while auto-heal was at work; nothing more was done, since another "
        "auto-heal may be at work by now. Look at `auto-heal status`, and try again",
        "{name}: {lock} удалён или заменён, пока auto-heal работал; больше ничего не сделано, так как сервисом уже "
        "может заниматься другой auto-heal. Посмотрите `auto-heal status` и повторите",
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
}  # fmt: skip
