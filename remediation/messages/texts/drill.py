"""What a drill says."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

DRILL: dict[str, Text] = {
    "drill_warning": Text(
        WARN,
        "This kills and suspends processes of {names} ({count} {count:fault|faults} in all); "
        "whoever uses them will notice.",
        "Процессы {names} будут убиты и приостановлены (сбоев: {count}); пользователи это заметят.",
    ),
    "drill_go_on": Text(INFO, "Go on? [y/N] ", "Продолжить? [y/N] "),
    "drill_not_begun": Text(INFO, "Nothing was touched", "Ничего не тронуто"),
    "drill_seed": Text(INFO, "Seed: {seed}", "Зерно: {seed}"),
    "drill_left_out": Text(
        INFO,
        "{name} is left out: auto-heal does not start it on this machine",
        "{name} пропускается: auto-heal не запускает его на этой машине",
    ),
    "drill_looks": Text(INFO, "Checking that all is well before...", "Проверяем, что до начала всё в порядке..."),
    "drill_trial": Text(
        INFO, "Drill {number}/{total}: {fault} ({service})...", "Учение {number}/{total}: {fault} ({service})..."
    ),
    "drill_healed": Text(
        SUCCESS, "✅ {fault}: healed, down for {downtime}s", "✅ {fault}: восстановлено, простой {downtime}s"
    ),
    "drill_refused": Text(
        SUCCESS,
        "✅ {fault}: refused as configured, and healed once the port was free; down for {downtime}s",
        "✅ {fault}: отказано по настройке, восстановлено после освобождения порта; простой {downtime}s",
    ),
    "drill_skipped": Text(WARN, "{fault}: skipped, {reason}", "{fault}: пропущено, {reason}"),
    "drill_problem": Text(ERROR, "❌ {fault}: {problem}", "❌ {fault}: {problem}"),
    "drill_interrupted": Text(
        WARN, "Interrupted, putting everything back...", "Прервано, возвращаем всё как было..."
    ),
    # The verdict.
    "drill_passed": Text(
        SUCCESS,
        "✅ Every fault was healed ({count}), nobody was harmed, nothing is left over",
        "✅ Все сбои устранены ({count}), никто не пострадал, ничего не осталось",
    ),
    "drill_failed": Text(
        ERROR, "❌ Did not end well: {failed} of {count} {count:fault|faults}", "❌ Неудачно: {failed} из {count}"
    ),
    "drill_some_skipped": Text(
        WARN, "Skipped, and so not proven: {count}", "Пропущено, а значит, не доказано: {count}"
    ),
    "drill_no_verdict": Text(ERROR, "❌ No fault could be tried", "❌ Ни один сбой не удалось испытать"),
    "drill_report": Text(INFO, "Report: {path}", "Отчёт: {path}"),
    "drill_no_report": Text(
        ERROR, "The report {path} cannot be written: {problem}", "Отчёт {path} не записать: {problem}"
    ),
    # Who comes while there is one.
    "drill_runs": Text(
        ERROR,
        "❌ A drill runs in this project (PID {pid}, since {since})",
        "❌ В этом проекте идёт учение (PID {pid}, с {since})",
    ),
    # Why there is no drill.
    "drill_paused": Text(ERROR, "No drill: {pause}", "Учения не будет: {pause}"),
    "drill_by_hand": Text(
        ERROR,
        "No drill: {name} was stopped by hand; `auto-heal start {name}` ends that",
        "Учения не будет: {name} остановлен вручную; это отменит `auto-heal start {name}`",
    ),
    "drill_suspended_before": Text(
        ERROR,
        "No drill: the process of {name} is suspended; `auto-heal restart {name}` ends that",
        "Учения не будет: процесс {name} приостановлен; это отменит `auto-heal restart {name}`",
    ),
    "drill_foreign": Text(
        ERROR,
        "No drill: somebody whom auto-heal did not start answers for {name} at {url}",
        "Учения не будет: за {name} по адресу {url} отвечает процесс, который auto-heal не запускал",
    ),
    "drill_no_start": Text(ERROR, "No drill: {problem}", "Учения не будет: {problem}"),
    "drill_sick": Text(
        ERROR,
        "No drill: the checks do not pass before it (exit code {code}: {last})",
        "Учения не будет: проверки не проходят и до него (код {code}: {last})",
    ),
    "drill_not_back": Text(
        ERROR, "The drill ends here, it could not be brought back: {problem}", "Конец учения, не поднять: {problem}"
    ),
    # Why a fault is skipped.
    "drill_no_process": Text(WARN, "{name} has no process of its own now", "у {name} сейчас нет своего процесса"),
    "drill_no_port": Text(WARN, "{name} has no url, and so no port", "у {name} нет url, а значит, и порта"),
    "drill_immortal": Text(
        WARN, "a process of {name} cannot be killed", "процесс {name} не удаётся убить"
    ),
    "drill_port_kept": Text(
        WARN, "port {port} of {name} could not be taken", "порт {port} сервиса {name} занять не удалось"
    ),
    "drill_no_mount": Text(
        WARN, "no disk can be made full here: {problem}", "переполнить диск здесь нельзя: {problem}"
    ),
    "drill_helper": Text(WARN, "a helper of the drill failed: {problem}", "сбой помощника учения: {problem}"),
    # What was not well.
    "drill_unnoticed": Text(
        ERROR,
        "the checks did not notice it: none that heals {name} failed",
        "проверки этого не заметили: ни одна из тех, что лечат {name}, не упала",
    ),
    "drill_unhealed": Text(
        ERROR, "not healed (exit code {code}): {reason}", "не восстановлено (код {code}): {reason}"
    ),
    "drill_late": Text(INFO, "none within its time", "не дождались"),
    "drill_not_up": Text(
        ERROR,
        "the checks pass, but {name} does not answer by a process of its own",
        "проверки проходят, но {name} не отвечает собственным процессом",
    ),
    "drill_pid_file": Text(ERROR, "healed, but {problem}", "восстановлено, но {problem}"),
    "drill_not_refused": Text(
        ERROR,
        "the heal was not refused because of {holder}, or did not say so",
        "в восстановлении не отказано из-за {holder}, или об этом не сказано",
    ),
    "drill_signalled": Text(ERROR, "a bystander ({who}) got {signals}", "посторонний ({who}) получил {signals}"),
    "drill_killed": Text(ERROR, "a bystander ({who}) was killed", "посторонний ({who}) убит"),
    "drill_suspended": Text(ERROR, "a bystander ({who}) was suspended", "посторонний ({who}) приостановлен"),
    "drill_left": Text(ERROR, "{holder} is left over", "остался {holder}"),
    # Who the bystanders are.
    "decoy_name": Text(INFO, "of the same name", "с тем же именем"),
    "decoy_pid": Text(INFO, "with a PID that was the service's", "с прежним PID сервиса"),
    "decoy_port": Text(INFO, "on the port next door", "на соседнем порту"),
    # What was done besides.
    "drill_taken": Text(INFO, "the orphan holds the socket of the dead", "сирота держит сокет умершего"),
    "drill_bound": Text(INFO, "the orphan bound the port anew", "сирота занял порт заново"),
    "drill_kill": Text(INFO, "the healer was killed {after}s after its heal began", "лекарь убит через {after}s"),
    "drill_no_kill": Text(
        INFO, "every healer of {name} ended before it could be killed", "лекари {name} успевали закончить до смерти"
    ),
}  # fmt: skip
