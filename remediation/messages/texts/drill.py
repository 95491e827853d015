"""What a drill says."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

DRILL: dict[str, Text] = {
    "drill_warning": Text(
        WARN,
        "This kills and suspends processes of {names} ({count} {count:fault|faults} in all); "
        "their users will notice.",
        "Процессы {names} будут убиты и приостановлены (сбоев: {count}); пользователи это заметят.",
    ),
    "drill_go_on": Text(INFO, "Go on? [y/N] ", "Продолжить? [y/N] "),
    "drill_not_begun": Text(INFO, "Nothing was touched", "Ничего не тронуто"),
    "drill_seed": Text(INFO, "Seed: {seed}", "Начальное число (seed): {seed}"),
    "drill_left_out": Text(
        INFO,
        "{name} is left out: auto-heal does not start it on this machine",
        "{name}: пропускаем, auto-heal не запускает этот сервис на этой машине",
    ),
    "drill_looks": Text(
        INFO, "Checking that everything is healthy first...", "Проверяем, что до начала всё в порядке..."
    ),
    "drill_trial": Text(
        INFO, "Drill {number}/{total}: {fault} ({service})...",
        "Учебный сбой {number} из {total}: {fault} ({service})..."
    ),
    "drill_healed": Text(
        SUCCESS, "✅ {fault}: healed, down for {downtime}s", "✅ {fault}: восстановлено, простой {downtime} с"
    ),
    "drill_refused": Text(
        SUCCESS,
        "✅ {fault}: refused as configured, and healed once the port was free; down for {downtime}s",
        "✅ {fault}: отклонено согласно настройке, восстановлено после освобождения порта; простой {downtime} с",
    ),
    "drill_skipped": Text(WARN, "{fault}: skipped, {reason}", "{fault}: пропущено — {reason}"),
    "drill_problem": Text(ERROR, "❌ {fault}: {problem}", "❌ {fault}: {problem}"),
    "drill_interrupted": Text(
        WARN, "Interrupted, putting everything back...", "Прервано, возвращаем всё как было..."
    ),
    # The verdict.
    "drill_passed": Text(
        SUCCESS,
        "✅ Every fault was healed ({count}), no other process was harmed, nothing is left over",
        "✅ Все сбои устранены ({count}), другие процессы не пострадали, ничего лишнего не осталось",
    ),
    "drill_failed": Text(
        ERROR, "❌ Did not end well: {failed} of {count} {count:fault|faults}", "❌ Неудачно: {failed} из {count}"
    ),
    "drill_some_skipped": Text(
        WARN, "Skipped, so not proven: {count}", "Пропущено и потому не проверено: {count}"
    ),
    "drill_no_verdict": Text(ERROR, "❌ No fault could be tried", "❌ Ни один сбой не удалось испытать"),
    "drill_report": Text(INFO, "Report: {path}", "Отчёт: {path}"),
    "drill_no_report": Text(
        ERROR, "The report {path} cannot be written: {problem}", "Не удалось записать отчёт {path}: {problem}"
    ),
    # Who comes while there is one.
    "drill_runs": Text(
        ERROR,
        "❌ A drill runs in this project (PID {pid}, since {since})",
        "❌ В этом проекте уже идут учения (PID {pid}, с {since})",
    ),
    # Why there is no drill.
    "drill_paused": Text(ERROR, "No drill: {pause}", "Учений не будет: {pause}"),
    "drill_by_hand": Text(
        ERROR,
        "No drill: {name} was stopped by hand; start it with `auto-heal start {name}`",
        "Учений не будет: сервис {name} остановлен вручную; запустите его: `auto-heal start {name}`",
    ),
    "drill_suspended_before": Text(
        ERROR,
        "No drill: the process of {name} is suspended; restart it with `auto-heal restart {name}`",
        "Учений не будет: процесс {name} приостановлен; перезапустите его: `auto-heal restart {name}`",
    ),
    "drill_foreign": Text(
        ERROR,
        "No drill: a process that auto-heal did not start answers for {name} at {url}",
        "Учений не будет: за {name} по адресу {url} отвечает процесс, который auto-heal не запускал",
    ),
    "drill_no_start": Text(ERROR, "No drill: {problem}", "Учений не будет: {problem}"),
    "drill_sick": Text(
        ERROR,
        "No drill: the checks do not pass before it (exit code {code}: {last})",
        "Учений не будет: проверки не проходят и до них (код {code}: {last})",
    ),
    "drill_not_back": Text(
        ERROR, "The drill ends here, the service could not be started: {problem}",
        "Учения прекращены: не удалось запустить сервис: {problem}"
    ),
    # Why a fault is skipped.
    "drill_no_process": Text(WARN, "{name} has no process of its own now", "у {name} сейчас нет своего процесса"),
    "drill_no_port": Text(WARN, "{name} has no url with a port", "у {name} нет url с портом"),
    "drill_immortal": Text(
        WARN, "a process of {name} cannot be killed", "процесс {name} не удаётся убить"
    ),
    "drill_port_kept": Text(
        WARN, "port {port} of {name} could not be taken", "порт {port} сервиса {name} занять не удалось"
    ),
    "drill_no_mount": Text(
        WARN, "no disk can be made full here: {problem}", "заполнить диск здесь нельзя: {problem}"
    ),
    "drill_helper": Text(
        WARN, "a helper of the drill failed: {problem}", "сбой вспомогательного процесса учений: {problem}"
    ),
    # What was not well.
    "drill_unnoticed": Text(
        ERROR,
        "the checks did not notice it: none that heals {name} failed",
        "проверки этого не заметили: ни одна проверка сервиса {name} не провалилась",
    ),
    "drill_unhealed": Text(
        ERROR, "not healed (exit code {code}): {reason}", "не восстановлено (код {code}): {reason}"
    ),
    "drill_late": Text(INFO, "none in time", "не дождались"),
    "drill_not_up": Text(
        ERROR,
        "the checks pass, but none of the processes of {name} answers",
        "проверки проходят, но ни один процесс {name} не отвечает",
    ),
    "drill_pid_file": Text(ERROR, "healed, but {problem}", "восстановлено, но {problem}"),
    "drill_not_refused": Text(
        ERROR,
        "the heal was not refused because of {holder}, or did not say so",
        "восстановление не отклонено из-за {holder}, или об этом не сообщено",
    ),
    "drill_signalled": Text(
        ERROR, "a bystander ({who}) got {signals}", "посторонний процесс ({who}) получил {signals}"
    ),
    "drill_killed": Text(ERROR, "a bystander ({who}) was killed", "посторонний процесс ({who}) убит"),
    "drill_suspended": Text(ERROR, "a bystander ({who}) was suspended", "посторонний процесс ({who}) приостановлен"),
    "drill_left": Text(ERROR, "{holder} is left over", "остался {holder}"),
    # Who the bystanders are.
    "decoy_name": Text(INFO, "of the same name", "с тем же именем"),
    "decoy_pid": Text(INFO, "with a PID that was the service's", "с прежним PID сервиса"),
    "decoy_port": Text(INFO, "on the port next door", "на соседнем порту"),
    # What was done besides.
    "drill_taken": Text(INFO, "the orphan holds the socket of the dead process",
        "осиротевший процесс удерживает сокет завершённого"),
    "drill_bound": Text(INFO, "the orphan bound the port again", "осиротевший процесс заново занял порт"),
    "drill_kill": Text(INFO, "the healer was killed {after}s after its heal began",
        "процесс восстановления убит через {after} с после начала"),
    "drill_no_kill": Text(
        INFO, "every healer of {name} ended before it could be killed",
        "процесс восстановления {name} каждый раз завершался раньше, чем его удавалось убить"
    ),
}  # fmt: skip
