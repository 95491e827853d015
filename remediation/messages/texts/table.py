"""The words of the tables that `status`, `report` and `drill` print; a check needs none of them."""

from __future__ import annotations

from remediation.messages.text import INFO, WARN, Text

TABLE: dict[str, Text] = {
    # The columns of `status`.
    "SERVICE": Text(INFO, "SERVICE", "СЕРВИС"),
    "STATE": Text(INFO, "STATE", "СОСТОЯНИЕ"),
    "PID": Text(INFO, "PID", "PID"),
    "UPTIME": Text(INFO, "UPTIME", "РАБОТАЕТ"),
    "MEMORY": Text(INFO, "MEMORY", "ПАМЯТЬ"),
    "PORT": Text(INFO, "PORT", "ПОРТ"),
    "LAST HEAL": Text(INFO, "LAST HEAL", "ПОСЛЕДНЕЕ ВОССТАНОВЛЕНИЕ"),
    # Its states, as its JSON has them.
    "up": Text(INFO, "up", "работает"),
    "not answering": Text(INFO, "not answering", "не отвечает"),
    "suspended": Text(INFO, "suspended", "приостановлен"),
    "down": Text(INFO, "down", "не запущен"),
    "stopped by hand": Text(INFO, "stopped by hand", "остановлен вручную"),
    "foreign": Text(INFO, "foreign", "чужой процесс"),
    "contested": Text(INFO, "contested", "два сервера"),
    "orphan": Text(INFO, "orphan", "нет в настройках"),
    "mebibytes": Text(INFO, "{size} MiB", "{size} МиБ"),
    "never": Text(INFO, "never", "не было"),
    "last_heal": Text(INFO, "{ago} ago, {action}, {effect}", "{ago} назад, {action}, {effect}"),
    "in_vain": Text(INFO, "in vain", "безуспешно"),
    "answered_again": Text(INFO, "answered again", "снова отвечает"),
    "helped": Text(INFO, "helped", "помогло"),
    "did_not_help": Text(INFO, "did not help", "не помогло"),
    # The report.
    "period": Text(INFO, "{start} to {end} ({length})", "{start} — {end} ({length})"),
    "from": Text(INFO, "From {period}", "Период: {period}"),
    "nothing": Text(INFO, "Nothing was checked from {period}.", "За период {period} проверок не было."),
    "UPTIME OF TIME WATCHED": Text(INFO, "UPTIME OF TIME WATCHED", "ДОСТУПНОСТЬ ПО ВРЕМЕНИ"),
    "UPTIME OF CHECKS": Text(INFO, "UPTIME OF CHECKS", "ДОСТУПНОСТЬ ПО ПРОВЕРКАМ"),
    "FAILURES": Text(INFO, "FAILURES", "СБОИ"),
    "HEALS": Text(INFO, "HEALS", "ВОССТАНОВЛЕНИЯ"),
    "MTTR": Text(INFO, "MTTR", "ВРЕМЯ ПОЧИНКИ"),
    "MTBF": Text(INFO, "MTBF", "МЕЖДУ СБОЯМИ"),
    "LATENCY": Text(INFO, "LATENCY", "ЗАДЕРЖКА"),
    "percent": Text(INFO, "{percent}%", "{percent} %"),
    "of_time": Text(INFO, "{share} of {time}", "{share} за {time}"),
    "of_checks": Text(INFO, "{share} of checks ({passed}/{runs})", "{share} проверок ({passed} из {runs})"),
    "down_for": Text(INFO, "{failures}, down for {time}", "{failures}, не работает {time}"),
    "heals": Text(INFO, "{total}, {ok} ok, {helped} helped", "{total}, удалось: {ok}, помогло: {helped}"),
    "STEP": Text(INFO, "STEP", "ШАГ"),
    "HELPED": Text(INFO, "HELPED", "ПОМОГ"),
    "MEDIAN DOWNTIME": Text(INFO, "MEDIAN DOWNTIME", "ПРОСТОЙ (МЕДИАНА)"),
    "of_all": Text(INFO, "{count} of {total}", "{count} из {total}"),
    "no_service": Text(INFO, "(no service)", "(без сервиса)"),
    "each": Text(INFO, "each {time}", "один знак — {time}"),
    "well": Text(INFO, "well", "работает"),
    "partly": Text(INFO, "partly down", "сбои"),
    "all_down": Text(INFO, "down", "не работает"),
    "nobody": Text(INFO, "not watched", "без наблюдения"),
    "percentiles": Text(
        INFO, "MTTR and latency: median (95th percentile), nearest rank.",
        "Время починки и задержка: медиана (95-й перцентиль), ближайший ранг.",
    ),
    "LAST HEALS": Text(INFO, "LAST HEALS", "ПОСЛЕДНИЕ ВОССТАНОВЛЕНИЯ"),
    "answered_after": Text(INFO, "answered after {time}", "ответ через {time}"),
    "done": Text(INFO, "done", "выполнено"),
    "in_vain_because": Text(INFO, "in vain: {reason}", "безуспешно: {reason}"),
    "evidence_in": Text(INFO, "evidence in {folder}", "диагностика в {folder}"),
    # The drill.
    "FAULT": Text(INFO, "FAULT", "СБОЙ"),
    "ROUNDS": Text(INFO, "ROUNDS", "ПОВТОРЫ"),
    "DETECTED": Text(INFO, "DETECTED", "ЗАМЕЧЕНО"),
    "HEALED": Text(INFO, "HEALED", "УСТРАНЕНО"),
    "DOWNTIME (MAX)": Text(INFO, "DOWNTIME (MAX)", "ПРОСТОЙ (МАКС.)"),
    "HARMED": Text(INFO, "HARMED", "ПОСТРАДАЛО"),
    "LEFT OVER": Text(INFO, "LEFT OVER", "ОСТАЛОСЬ"),
    "skipped": Text(INFO, "skipped", "пропущено"),
    "some_skipped": Text(INFO, "{count} ({skipped} skipped)", "{count} (пропущено: {skipped})"),
    "refused_first": Text(INFO, "{healed} (refused at first)", "{healed} (сначала отклонено)"),
    "downtimes": Text(INFO, "{median}s ({most}s)", "{median} с ({most} с)"),
    # The header of pytest, and its last line.
    "header": Text(
        INFO, "auto-heal: {names} ({source}), healing {heal}{debugged}",
        "auto-heal: {names} ({source}), восстановление: {heal}{debugged}",
    ),
    "heal_auto": Text(INFO, "auto", "включено"),
    "heal_plan": Text(INFO, "plan", "только план"),
    "heal_off": Text(INFO, "off", "выключено"),
    "debugged": Text(
        INFO, ", checks run in place since a debugger is attached",
        ", проверки идут в этом процессе: подключён отладчик",
    ),
    "over": Text(
        INFO, "auto-heal: {verdict} after {rounds} {rounds:round|rounds}",
        "auto-heal: {verdict} ({rounds} {rounds:раунд|раунда|раундов})",
    ),
    "over_report": Text(
        INFO, "auto-heal: {verdict} after {rounds} {rounds:round|rounds}, report in {report}",
        "auto-heal: {verdict} ({rounds} {rounds:раунд|раунда|раундов}), отчёт в {report}",
    ),
    "verdict_healthy": Text(INFO, "healthy", "всё работает"),
    "verdict_healed": Text(INFO, "healed", "работа восстановлена"),
    "verdict_rolled-back": Text(INFO, "rolled-back", "выполнен откат"),
    "verdict_sick": Text(INFO, "sick", "есть сбои"),
    "verdict_unproven": Text(INFO, "unproven", "не подтверждено"),
    "no_verdict": Text(INFO, "no verdict", "результата нет"),
    # The summary and the annotations on GitHub.
    "compared": Text(
        INFO, "Compared with the baseline of {moment}.", "В сравнении с исходным состоянием от {moment}."
    ),
    "not_compared": Text(
        INFO, "There was no baseline, so nothing is compared.", "Исходного состояния нет, сравнивать не с чем."
    ),
    "check": Text(INFO, "check", "проверка"),
    "before": Text(INFO, "before", "до"),
    "after": Text(INFO, "after", "после"),
    "attempts": Text(INFO, "attempts", "попытки"),
    "latency": Text(INFO, "latency", "задержка"),
    "service": Text(INFO, "service", "сервис"),
    "cause": Text(INFO, "cause", "причина"),
    "what was done": Text(INFO, "what was done", "что сделано"),
    "downtime": Text(INFO, "downtime", "простой"),
    "evidence": Text(INFO, "evidence", "диагностика"),
    "version before": Text(INFO, "version before", "версия до"),
    "version now": Text(INFO, "version now", "версия сейчас"),
    "new": Text(INFO, "new", "новая"),
    "passed": Text(INFO, "✅ passed", "✅ пройдена"),
    "failed": Text(INFO, "❌ failed", "❌ не пройдена"),
    "now_and_before": Text(INFO, "{now} (before {before})", "{now} (прежде {before})"),
    "latency_before": Text(INFO, "before {before}", "прежде {before}"),
    "still_failing": Text(INFO, "still failing", "всё ещё не работает"),
    "seconds": Text(INFO, "{number} s", "{number} с"),
    "more": Text(
        INFO, "and {count} more; the report has all of them", "и ещё {count}; полный список — в отчёте"
    ),
    "title_sick": Text(INFO, "auto-heal: sick", "auto-heal: сбой"),
    "title_undone": Text(INFO, "auto-heal: rolled back", "auto-heal: откат"),
    "title_healed": Text(INFO, "auto-heal: healed", "auto-heal: восстановлено"),
    "title_slower": Text(INFO, "auto-heal: slower", "auto-heal: медленнее"),
    "title_gone": Text(INFO, "auto-heal: did not run", "auto-heal: не выполнялась"),
    "in_attempts": Text(
        INFO, " ({count} {count:attempt|attempts})", " ({count} {count:попытка|попытки|попыток})"
    ),
    # `init`: what it saw.
    "init_listens": Text(INFO, "{holder} listens on {url}", "{url} слушает {holder}"),
    "init_silent": Text(
        INFO, "Nothing answers at {url} now: {problem}", "По адресу {url} сейчас никто не отвечает: {problem}"
    ),
    "init_answers": Text(
        INFO, "GET {path}: status {status}, {kind}: {start}", "GET {path}: код ответа {status}, {kind}: {start}"
    ),
    "init_answers_untyped": Text(
        INFO, "GET {path}: status {status}: {start}", "GET {path}: код ответа {status}: {start}"
    ),
    "init_answers_empty": Text(
        INFO, "GET {path}: status {status}, without a body", "GET {path}: код ответа {status}, без тела"
    ),
    "init_unanswered": Text(INFO, "GET {path}: no answer: {problem}", "GET {path}: ответа нет: {problem}"),
    # What that means.
    "init_sick": Text(
        WARN, "So the service is not well; the check passes once it is",
        "Значит, сервис не в порядке; проверка пройдёт, когда он заработает",
    ),
    "init_doubtful": Text(
        WARN, "So it is not quite well, by its own words; the check looks at the status only",
        "Значит, сам сервис считает, что не вполне исправен; проверяется только код ответа",
    ),
    "init_login": Text(
        WARN, "A login page answers whatever is behind it; add a check of a path that needs no login",
        "Страница входа отвечает, даже когда за ней ничего не работает; добавьте проверку пути без входа",
    ),
    "init_guarded": Text(
        WARN, "Only the connection is checked: it asks for credentials; with headers, a get check can do more",
        "Проверяется только соединение: нужны учётные данные; если задать headers, можно проверить и ответ",
    ),
    "init_redirect": Text(
        WARN, "Only the connection is checked: checks do not follow to {place}; if that is the service, use that url",
        "Проверяется только соединение: проверки не переходят на {place}; если сервис там, укажите этот url",
    ),
    "init_no_path": Text(
        WARN, "Only the connection is checked: no usual health path answers with success; add a check of one that does",
        "Проверяется только соединение: ни один из обычных путей не отвечает успешно; добавьте проверку своего пути",
    ),
    "init_no_http": Text(
        WARN, "Only the connection is checked: {problem}", "Проверяется только соединение: {problem}"
    ),
    "init_tls": Text(
        WARN, "Only the connection is checked: {problem}; verify = false would accept any certificate",
        "Проверяется только соединение: {problem}; с verify = false подойдёт любой сертификат",
    ),
    "init_stranger": Text(
        WARN, "The command is left out: {holder} serves {url}, and {why}",
        "Команда не записана: {url} обслуживает {holder}: {why}",
    ),
    "init_strangers": Text(
        WARN, "The command is left out: several processes serve {url} that could be what it starts: {holder}",
        "Команда не записана: {url} обслуживают несколько подходящих процессов: {holder}",
    ),
    # What it wrote, and what comes next.
    "wrote": Text(INFO, "wrote    {path}", "записан   {path}"),
    "kept": Text(
        INFO, "kept     {path}: nothing is missing there", "оставлен  {path}: добавлять туда нечего"
    ),
    "kept_table": Text(
        INFO, "kept     {path}: it has [{table}]; --name adds a further service",
        "оставлен  {path}: в нём уже есть [{table}]; ещё один сервис добавит --name",
    ),
    "added": Text(INFO, "added    [{table}] to {path}", "добавлено [{table}] в {path}"),
    "gitignore": Text(INFO, "For .gitignore: {files}", "Для .gitignore: {files}"),
    "npm_scripts": Text(INFO, "For package.json: {scripts}", "Для package.json: {scripts}"),
    "init_secret": Text(
        WARN, "The password in the url stands there in clear; ${{NAME}} takes it from the environment or env_file",
        "Пароль из url записан туда открытым текстом; укажите вместо него ${{NAME}} из окружения или env_file",
    ),
    "init_no_command": Text(
        INFO, 'To have it healed, add command = ["..."], or restart = ["..."], to its table',
        'Чтобы сервис восстанавливался, добавьте в его таблицу command = ["..."] или restart = ["..."]',
    ),
    "init_plan": Text(
        INFO, "A heal of {name} now (see `auto-heal plan`):", "Восстановление {name} сейчас (см. `auto-heal plan`):"
    ),
    "next_step": Text(INFO, "Next: {command}", "Дальше: {command}"),
}  # fmt: skip
