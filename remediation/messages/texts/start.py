"""Why a start or a command failed."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, WARN, Text

START: dict[str, Text] = {
    # Why a start failed.
    "exited": Text(INFO, "exited with status {status}", "завершился с кодом {status}"),
    "exited_0": Text(
        INFO,
        "exited with status 0 (a command has to stay in the foreground)",
        "завершился с кодом 0 (команда должна оставаться на переднем плане)",
    ),
    "killed": Text(INFO, "was killed by {signal}", "убит сигналом {signal}"),
    "died": Text(
        ERROR, "{name}: `{command}` {how} before it was ready", "{name}: процесс `{command}` {how}, не успев заработать"
    ),
    "died_saying": Text(
        ERROR,
        "{name}: `{command}` {how} before it was ready: {last}",
        "{name}: процесс `{command}` {how}, не успев заработать: {last}",
    ),
    "no_answer": Text(
        ERROR,
        "{name}: no answer ({asked}) within {timeout}s of its start (start_timeout); last: {last}",
        "{name}: нет ответа ({asked}) в течение {timeout} с после запуска (start_timeout); последняя попытка: {last}",
    ),
    "no_answer_saying": Text(
        ERROR,
        "{name}: no answer ({asked}) within {timeout}s of its start (start_timeout); last: {last}; {log} says: {said}",
        "{name}: нет ответа ({asked}) в течение {timeout} с после запуска (start_timeout); последняя попытка: {last}; "
        "в {log}: {said}",
    ),
    "asks_credentials": Text(
        WARN,
        "{name}: answers with status 401 at {path}, so it is up; set headers, or user and password in url, for an "
        "answer that proves more",
        "{name}: отвечает кодом 401 на {path}, то есть работает; чтобы ответ доказывал больше, задайте headers или "
        "имя и пароль в url",
    ),
    "left_running": Text(
        WARN, "{name}: it was left running; raise start_timeout if it needs longer to start",
        "{name}: процесс оставлен работать; увеличьте start_timeout, если запуск длится дольше",
    ),
    "slow_before": Text(
        WARN,
        "{name}: was not ready within its start_timeout {times} {times:time|times} in a row, so this start may take "
        "{timeout}s",
        "{name}: не успел запуститься за start_timeout {times} {times:раз|раза|раз} подряд, поэтому этот запуск может "
        "занять {timeout} с",
    ),
    "not_valid": Text(
        ERROR,
        "{name}: `{command}` {how}, so nothing was stopped or started: {last}",
        "{name}: `{command}`: {how}, поэтому ничего не остановлено и не запущено: {last}",
    ),
    "no_reload": Text(
        ERROR,
        '{name}: has no key reload, such as reload = ["nginx", "-s", "reload"] or "SIGHUP"',
        '{name}: не задан ключ reload, например reload = ["nginx", "-s", "reload"] или "SIGHUP"',
    ),
    "reload_dead": Text(
        ERROR, "{name}: has no running process that could reload", "{name}: нет работающего процесса для перезагрузки"
    ),
    "reload_uncaught": Text(
        ERROR,
        "{name}: its process {pid} has no handler for {signal}, which would end it; nothing was sent",
        "{name}: процесс {pid} не обрабатывает {signal}, и сигнал завершил бы его; ничего не отправлено",
    ),
    "ended_by_reload": Text(INFO, "ended the main process", "завершил основной процесс"),
    "no_answer_elsewhere": Text(
        ERROR,
        "{name}: no answer ({asked}) within {timeout}s of its start (start_timeout); last: {last}; it listens on "
        "{there}, not on {place}; change url, or where it listens",
        "{name}: нет ответа ({asked}) в течение {timeout} с после запуска (start_timeout); последняя попытка: {last}; "
        "сервис слушает {there}, а не {place}; измените url или адрес, который он слушает",
    ),
    "asked_path": Text(INFO, "2xx at {path}", "2xx от {path}"),
    "asked_tcp": Text(INFO, "a TCP connection", "TCP-соединение"),
    "command_failed": Text(
        ERROR, "{name}: `{command}` {how}; it left nothing in its log",
        "{name}: процесс `{command}` {how}; в журнале от него ничего нет",
    ),
    "command_said": Text(
        ERROR, "{name}: `{command}` {how}; {log} says: {last}", "{name}: процесс `{command}` {how}; в {log}: {last}"
    ),
    "command_late": Text(
        ERROR,
        "{name}: `{command}` did not end within {timeout}s ({limit}) and was killed",
        "{name}: процесс `{command}` не завершился за {timeout} с ({limit}) и был убит",
    ),
    "command_late_said": Text(
        ERROR,
        "{name}: `{command}` did not end within {timeout}s ({limit}) and was killed; {log} says: {last}",
        "{name}: процесс `{command}` не завершился за {timeout} с ({limit}) и был убит; в {log}: {last}",
    ),
    "log_full": Text(
        WARN, "{name}: the disk under its log {log} is full; what it prints is lost until its next start",
        "{name}: диск с журналом {log} заполнен; вывод сервиса теряется до следующего запуска",
    ),
    "no_log": Text(
        ERROR, "{name}: its log_file {log} cannot be written: {problem}",
        "{name}: не удалось записать log_file {log}: {problem}"
    ),
    "no_folder": Text(
        ERROR,
        "{name}: its working directory {cwd} (cwd) does not exist",
        "{name}: рабочий каталог {cwd} (cwd) не существует",
    ),
    "not_a_folder": Text(
        ERROR,
        "{name}: its working directory {cwd} (cwd) is not a directory",
        "{name}: рабочий каталог {cwd} (cwd) — это не каталог",
    ),
    "not_found": Text(
        ERROR,
        "{name}: {program} was not found; check its name, PATH and cwd",
        "{name}: программа {program} не найдена; проверьте имя, PATH и cwd",
    ),
    "no_interpreter": Text(
        ERROR,
        "{name}: {program} needs an interpreter that was not found; look at its first line",
        "{name}: для {program} не найден интерпретатор; проверьте первую строку файла",
    ),
    "not_executable": Text(
        ERROR,
        "{name}: {program} is not executable; check its permissions (chmod +x)",
        "{name}: {program} нельзя выполнить; проверьте права (chmod +x)",
    ),
    "needs_root": Text(
        ERROR, "{name}: only root can start it as the user {user}; run auto-heal as root, or take out user",
        "{name}: запустить сервис от имени пользователя {user} может только root; запустите auto-heal от root или "
        "уберите user",
    ),
    "unstoppable": Text(
        ERROR,
        "{name}: {program} would run as the user {user}, and auto-heal could not stop it again; run auto-heal as root",
        "{name}: {program} будет работать от имени пользователя {user}, и auto-heal не сможет его остановить; "
        "запустите auto-heal от root",
    ),
    "no_folder_access": Text(
        ERROR, "{name}: the user {user} may not enter its working directory {cwd} (cwd)",
        "{name}: у пользователя {user} нет доступа к рабочему каталогу {cwd} (cwd)",
    ),
    "not_runnable": Text(
        ERROR, "{name}: {program} cannot be executed: {problem}", "{name}: {program} нельзя выполнить: {problem}"
    ),
}  # fmt: skip
