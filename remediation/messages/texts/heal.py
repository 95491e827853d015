"""What a heal does, and why it does not."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

HEAL: dict[str, Text] = {
    # The service.
    "restart": Text(
        INFO, "🔄 Restarting the server...", "🔄 Перезапуск сервера...",
        "🔄 Restarting {name}...", "🔄 Перезапуск сервиса {name}...",
    ),
    "reloading": Text(
        INFO, "🔄 Reloading the server...", "🔄 Сервер перечитывает конфигурацию...",
        "🔄 Reloading {name}...", "🔄 Сервис {name} перечитывает конфигурацию...",
    ),
    "reloaded": Text(
        SUCCESS, "✅ Server reloaded", "✅ Сервер перечитал конфигурацию",
        "✅ {name} reloaded", "✅ Сервис {name} перечитал конфигурацию",
    ),
    # Hooks of the project.
    "running_hook": Text(INFO, "Running the hook {hook}...", "Выполняем {hook}..."),
    "hook_objects": Text(
        WARN, "{name}: not healed, since auto_heal_before objects: {reason}",
        "{name}: не восстанавливаем, auto_heal_before возражает: {reason}",
    ),
    "hook_failed": Text(
        WARN, "{hook} failed, and is ignored: {problem}", "{hook}: ошибка, продолжаем без неё: {problem}"
    ),
    "hook_late": Text(
        WARN, "{hook} takes longer than {timeout}s, and is not waited for",
        "{hook} выполняется дольше {timeout} с, больше не ждём",
    ),
    "hook_unknown": Text(
        ERROR, "{name}: no auto_heal_step of the project knows `{hook}`",
        "{name}: ни одна auto_heal_step проекта не знает `{hook}`",
    ),
    "hook_dead": Text(
        ERROR, "{name}: the hook {hook} has not brought its process back",
        "{name}: {hook} не вернуло процесс сервиса",
    ),
    "hook_in_vain": Text(
        ERROR, "{name}: not ready within {timeout}s after the hook {hook}",
        "{name}: сервис не готов через {timeout} с после {hook}",
    ),
    "hook_step_failed": Text(
        ERROR, "{name}: the hook {hook} failed: {problem}", "{name}: {hook} завершилось ошибкой: {problem}"
    ),
    "hook_step_late": Text(
        ERROR, "{name}: the hook {hook} takes longer than {timeout}s",
        "{name}: {hook} выполняется дольше {timeout} с",
    ),
    "validating": Text(INFO, "Validating by `{command}`...", "Проверяем конфигурацию: `{command}`..."),
    "stopping": Text(
        INFO, "Stopping the running server...", "Останавливаем существующий сервер...",
        "Stopping the running {name}...", "Останавливаем работающий сервис {name}...",
    ),
    "freeing_socket": Text(
        INFO, "Freeing the socket {socket} (PID: {pid})...", "Освобождаем сокет {socket} (PID: {pid})..."
    ),
    "freeing": Text(INFO, "Freeing port {port} (PID: {pid})...", "Освобождаем порт {port} (PID: {pid})..."),
    "stopped": Text(INFO, "Server stopped", "Сервер остановлен", "{name} stopped", "Сервис {name} остановлен"),
    "starting": Text(
        INFO, "Starting the API server...", "Запускаем API сервер...", "Starting {name}...",
        "Запускаем сервис {name}...",
    ),
    "pid": Text(
        INFO, "Server started with PID: {pid}", "Сервер запущен с PID: {pid}",
        "{name} started with PID: {pid}", "Сервис {name} запущен с PID: {pid}",
    ),
    "started": Text(SUCCESS, "Server is up", "Сервер успешно запущен", "{name} is up", "Сервис {name} успешно запущен"),
    "restarted": Text(
        SUCCESS, "✅ Server restarted", "✅ Сервер успешно перезапущен",
        "✅ {name} restarted", "✅ Сервис {name} успешно перезапущен",
    ),
    "not_started": Text(
        ERROR, "❌ The server did not start", "❌ Сервер не запустился",
        "❌ {name} did not start", "❌ Сервис {name} не запустился",
    ),
    "already_up": Text(
        SUCCESS, "Server is already up (PID: {pid})", "Сервер уже работает (PID: {pid})",
        "{name} is already up (PID: {pid})", "Сервис {name} уже работает (PID: {pid})",
    ),
    "adopted": Text(
        INFO, "Found the server running without a PID file (PID: {pid})",
        "Найден работающий сервер без PID-файла (PID: {pid})",
        "Found {name} running without a PID file (PID: {pid})",
        "Найден работающий сервис {name} без PID-файла (PID: {pid})",
    ),
    "taken_over": Text(
        INFO, "Another process of the server has taken the place of its main one (PID: {pid})",
        "Место основного процесса сервера занял другой его процесс (PID: {pid})",
        "Another process of {name} has taken the place of its main one (PID: {pid})",
        "Место основного процесса сервиса {name} занял другой его процесс (PID: {pid})",
    ),
    "taken_by_hand": Text(
        INFO, "{name}: adopted {holder}, which was started by hand; auto-heal restarts and stops it from now on",
        "{name}: взят под управление процесс {holder}, запущенный вручную; теперь auto-heal его перезапускает и "
        "останавливает",
    ),
    "taken_by_title": Text(
        INFO, "{name}: its program writes a title over its arguments, so only the title was compared",
        "{name}: программа заменяет свои аргументы заголовком, поэтому сравнивался только заголовок",
    ),
    "lost_variables": Text(
        WARN, "{name}: a restart would lose these environment variables: {variables}",
        "{name}: при перезапуске пропадут переменные окружения: {variables}",
    ),
    "untrusted": Text(
        WARN, "{why}, and root runs what it says (strict = true refuses that)",
        "{why}, а root выполняет то, что там записано (strict = true запрещает это)",
    ),
    "orphan": Text(
        WARN,
        "{name}: is no longer in the configuration, but still runs: {holder}; `auto-heal stop --orphans` ends it",
        "{name}: сервиса больше нет в настройках, но он работает: {holder}; завершить его: `auto-heal stop --orphans`",
    ),
    "no_orphans": Text(
        INFO, "Nothing runs that is no longer in the configuration",
        "Нет работающих сервисов, которых больше нет в настройках",
    ),
    "already_known": Text(
        ERROR, "{name}: its process {pid} is already known", "{name}: его процесс {pid} уже известен"
    ),
    "not_adopted": Text(
        ERROR, "{name}: {holder} cannot be adopted, since it {why}",
        "{name}: процесс {holder} нельзя взять под управление: {why}",
    ),
    "nobody_listens": Text(
        ERROR, "{name}: nothing listens on {url}; start it by `auto-heal start {name}`",
        "{name}: адрес {url} никто не слушает; запустите сервис: `auto-heal start {name}`",
    ),
    "several_listen": Text(
        ERROR, "{name}: several processes listen on {url}: {holder}; choose one by --pid",
        "{name}: адрес {url} слушают несколько процессов: {holder}; выберите один: --pid",
    ),
    "adopt_needs_pid": Text(
        ERROR, "{name}: has no url to find it by; name its process by --pid",
        "{name}: не задан url, по которому его можно найти; укажите процесс: --pid",
    ),
    "no_command": Text(
        ERROR, "{name}: has no command, so auto-heal could not start it again; only a service with command is adopted",
        "{name}: не задана command, поэтому auto-heal не сможет его запустить; под управление берутся только сервисы "
        "с command",
    ),
    "differs": Text(
        WARN, "{name}: {holder} {why}; a restart would start `{command}` in its place",
        "{name}: {holder}: {why}; при перезапуске вместо него будет запущена команда `{command}`",
    ),
    "adopt_question": Text(
        INFO, "Adopt {holder} as {name}, to be ended and restarted by auto-heal, as root? [y/N] ",
        "Взять {holder} под управление как {name}, чтобы auto-heal от root завершал и перезапускал его? [y/N] ",
    ),
    "ending": Text(INFO, "Ending {holder}", "Завершаем: {holder}"),
    "spared": Text(
        WARN, "{name}: left alone, since it has a terminal and is only marked as part of it: {holder}",
        "{name}: не трогаем, так как у процесса есть терминал, а с сервисом его связывает только метка: {holder}",
    ),
    "spared_listener": Text(
        WARN, "{name}: what answers at {url} is not its own and was left alone",
        "{name}: по адресу {url} отвечает чужой процесс; его не трогаем",
    ),
    "still_served": Text(
        ERROR,
        "{name}: none of its processes is left, but {url} is still served by {holder}; if that is the service, "
        "`auto-heal adopt {name}` takes it over",
        "{name}: процессов сервиса не осталось, но адрес {url} по-прежнему обслуживает {holder}; если это и есть "
        "сервис, возьмите его под управление: `auto-heal adopt {name}`",
    ),
    "evidence": Text(
        INFO, "Evidence is in {folder}", "Диагностика сохранена в {folder}",
        "{name}: evidence is in {folder}", "{name}: диагностика сохранена в {folder}",
    ),
    "no_evidence": Text(
        WARN, "No evidence of this: {problem}", "Не удалось сохранить диагностику: {problem}",
        "{name}: no evidence of this: {problem}", "{name}: не удалось сохранить диагностику: {problem}",
    ),
    "running_command": Text(INFO, "Running `{command}`...", "Выполняем `{command}`..."),
    "rolling_back": Text(
        WARN, "⏪ Rolling back by `{command}`...", "⏪ Откат: `{command}`...",
        "⏪ Rolling {name} back by `{command}`...", "⏪ Откат сервиса {name}: `{command}`...",
    ),
    # A line of somebody else's output; what it means, another text says.
    "detail": Text(INFO, "{line}", "{line}"),
    # What a heal says of a service, always by name: these are also the reasons in a report.
    "recovered": Text(
        SUCCESS, "✅ {name} recovered by itself after {others}", "✅ Сервис {name} восстановился сам после {others}"
    ),
    "healed_elsewhere": Text(
        INFO, "{name} was just restarted by another auto-heal",
        "Сервис {name} только что перезапущен другим процессом auto-heal"
    ),
    "failed_elsewhere": Text(
        ERROR,
        "{name}: another auto-heal just tried and failed: {reason}",
        "{name}: попытка другого процесса auto-heal только что не удалась: {reason}",
    ),
    "by_hand": Text(
        ERROR,
        "{name}: stopped by hand; run `auto-heal start {name}` to resume healing",
        "{name}: сервис остановлен вручную; чтобы возобновить восстановление, выполните `auto-heal start {name}`",
    ),
    "never_healed": Text(
        ERROR,
        "{name}: has neither command nor restart, so it is checked but never healed",
        "{name}: не заданы ни command, ни restart, поэтому сервис проверяется, но не восстанавливается",
    ),
    "not_here": Text(
        ERROR,
        "{name}: {url} is not on this machine, so no local process can heal it; give the service restart = [...]",
        "{name}: {url} находится на другой машине, здесь сервис не восстановить; задайте ему restart = [...]",
    ),
    "budget": Text(
        ERROR,
        "{name}: restart budget spent ({restarts} in {window}s), giving up; raise budget, or mend the cause and run "
        "`auto-heal restart {name}`",
        "{name}: лимит перезапусков исчерпан ({restarts} за {window} с), прекращаем; увеличьте budget или устраните "
        "причину и выполните `auto-heal restart {name}`",
    ),
    "budget_wait": Text(
        ERROR,
        "{name}: restart budget was spent ({restarts} in {window}s); the next restart is tried after {until}, or "
        "now by `auto-heal restart {name}`",
        "{name}: лимит перезапусков был исчерпан ({restarts} за {window} с); следующая попытка после {until} или "
        "сейчас: `auto-heal restart {name}`",
    ),
    "next_try": Text(
        ERROR, "{name}: its last start failed; the next try is at {until}",
        "{name}: последний запуск не удался; следующая попытка в {until}",
    ),
    "next_try_in": Text(
        WARN, "{name}: the start is tried again in {delay}s", "{name}: повторная попытка запуска через {delay} с"
    ),
    "trying_again": Text(
        WARN, "{name}: trying the start again in {delay}s...", "{name}: пробуем запустить ещё раз через {delay} с..."
    ),
    "ready_after_all": Text(
        SUCCESS, "✅ {name} took longer than its start_timeout, and is ready now",
        "✅ Сервис {name} запускался дольше, чем start_timeout, и теперь готов",
    ),
    "busy": Text(
        ERROR,
        "{name}: another auto-heal has been at work on it for {seconds}s; not waiting longer",
        "{name}: другой процесс auto-heal занят этим сервисом уже {seconds} с; больше не ждём",
    ),
    "rollback_within": Text(
        ERROR,
        "{name}: not rolled back from within its own rollback",
        "{name}: откат из его собственного отката не выполняется",
    ),
    "dependency": Text(
        ERROR,
        "{name}: left alone, since {others} could not be healed (depends_on)",
        "{name}: не трогаем, так как не удалось восстановить {others} (depends_on)",
    ),
    "foreign_socket": Text(
        ERROR,
        "{name}: the socket {socket} is held by {holder}; auto-heal may not end it, since it {why}. "
        "Stop it, or change url or free_port",
        "{name}: сокет {socket} занят: {holder}; auto-heal не вправе завершить этот процесс: {why}. "
        "Остановите его или измените url или free_port",
    ),
    "foreign_port": Text(
        ERROR,
        "{name}: port {port} is held by {holder}; auto-heal may not end it, since it {why}. "
        "Stop it, take it over by `auto-heal adopt {name}`, or change url or free_port",
        "{name}: порт {port} занят: {holder}; auto-heal не вправе завершить этот процесс: {why}. "
        "Остановите его, возьмите под управление (`auto-heal adopt {name}`) или измените url или free_port",
    ),
    "out_of_bounds": Text(
        ERROR,
        "{name}: its process {holder} may not be ended, since it {why}; nothing was done",
        "{name}: процесс {holder} нельзя завершить: {why}; ничего не сделано",
    ),
    "still_answers": Text(
        ERROR,
        "{name}: `{command}` ended, but {url} still answers (stop_timeout)",
        "{name}: команда `{command}` завершилась, но {url} всё ещё отвечает (stop_timeout)",
    ),
    "survivors": Text(
        ERROR,
        "{name}: still alive after SIGKILL: {holder}",
        "{name}: не завершается и после SIGKILL: {holder}",
    ),
    "zombie": Text(
        WARN,
        "It may have taken the dead process {pid}, which is still listed, for a server that runs; trying again "
        "when that is gone",
        "Возможно, завершённый процесс {pid}, который ещё числится в системе, принят за работающий сервер; "
        "повторим, когда его не станет",
        "{name}: it may have taken the dead process {pid}, which is still listed, for a server that runs; trying again "
        "when that is gone",
        "{name}: возможно, завершённый процесс {pid}, который ещё числится в системе, принят за работающий сервер; "
        "повторим, когда его не станет",
    ),
    "lives_on": Text(
        ERROR,
        "{name}: {holder} is one of its processes and is still alive; nothing more was done",
        "{name}: процесс сервиса {holder} ещё жив; больше ничего не сделано",
    ),
    "lock_lost": Text(
        ERROR,
        "{name}: {lock} was removed or replaced while auto-heal was at work; nothing more was done, since another "
        "auto-heal may be at work by now. Look at `auto-heal status`, and try again",
        "{name}: файл {lock} удалён или заменён во время работы auto-heal; больше ничего не сделано, так как сервисом "
        "уже может заниматься другой процесс auto-heal. Посмотрите `auto-heal status` и повторите",
    ),
    "pid_file": Text(WARN, "{name}: {problem}", "{name}: {problem}"),
    "no_stop": Text(
        ERROR,
        "{name}: something else runs it, and there is no stop = [...] to ask it by",
        "{name}: сервисом управляет другая программа, а команда для остановки не задана: stop = [...]",
    ),
    "surroundings": Text(ERROR, "{name}: {where}: {problem}", "{name}: {where}: {problem}"),
    # Why a port's holder may not be ended; the keys are those of Protection, and two of our own.
    "why_init": Text(INFO, "is PID 1", "это PID 1"),
    "why_ourselves": Text(INFO, "is auto-heal itself", "это сам auto-heal"),
    "why_ancestor": Text(INFO, "is an ancestor of auto-heal", "это предок auto-heal"),
    "why_no_process": Text(INFO, "is not a process", "это не процесс"),
    "why_other_user": Text(INFO, "belongs to another user", "он принадлежит другому пользователю"),
    "why_unknown": Text(INFO, "cannot be examined", "сведения о нём недоступны"),
    "why_stranger": Text(
        INFO, 'is not its own, and free_port is "{free_port}"', 'он чужой, а free_port — "{free_port}"'
    ),
    "why_never": Text(INFO, 'listens there, and free_port is "never"', 'он слушает порт, а free_port — "never"'),
    "why_not_listening": Text(INFO, "does not listen on {url}", "он не слушает {url}"),
    "why_other_service": Text(INFO, "belongs to the service {mark}", "он принадлежит сервису {mark}"),
    "why_namespace": Text(INFO, "is in another PID namespace", "он в другом пространстве имён PID"),
    "why_unit": Text(INFO, "is run by the systemd unit {unit}", "им управляет юнит systemd {unit}"),
    "why_container": Text(INFO, "runs in the container {container}", "он работает в контейнере {container}"),
    "why_supervised": Text(INFO, "is run by {holder}", "им управляет {holder}"),
    "why_cwd": Text(INFO, "runs in {cwd}, not in {wanted}", "он работает в {cwd}, а не в {wanted}"),
    "why_program": Text(
        INFO, "runs {exe}, which is not what `{command}` starts", "это {exe}, а не то, что запускает `{command}`"
    ),
    "why_arguments": Text(
        INFO, "runs `{words}`, and `{command}` is configured", "он запущен как `{words}`, а в настройках `{command}`"
    ),
    "why_returns": Text(INFO, "comes back each time it is ended", "после завершения он появляется снова"),
    "somebody": Text(INFO, "a process of another user", "процесс другого пользователя"),
}  # fmt: skip
