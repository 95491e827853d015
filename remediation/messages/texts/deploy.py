"""What is said beside a deployment: the wait, the comparison, the way back."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

DEPLOY: dict[str, Text] = {
    # Before.
    "baseline_kept": Text(
        INFO, "The baseline of {checks} {checks:check|checks} is in {file}",
        "Исходное состояние проверок ({checks}) записано в {file}",
    ),
    "baseline_not_kept": Text(
        ERROR, "❌ The baseline {file} cannot be written: {problem}",
        "❌ Не удалось записать исходное состояние {file}: {problem}",
    ),
    "sick_allowed": Text(
        WARN, "Sick before the deployment, as --allow-sick allows",
        "Больны до развёртывания, --allow-sick это допускает"
    ),
    # The wait.
    "waiting": Text(
        INFO, "Waiting for what was deployed ({problem})...", "Ждём развёрнутое ({problem})...",
        "Waiting for {name} ({problem})...", "Ждём {name} ({problem})...",
    ),
    "arrived": Text(
        SUCCESS, "It is there after {seconds}s", "Готово через {seconds}s",
        "{name} is there after {seconds}s", "{name}: готовность через {seconds}s",
    ),
    "not_arrived": Text(
        WARN, "Not there within {seconds}s: {problem}", "Не готово за {seconds}s: {problem}",
        "{name} is not there within {seconds}s: {problem}", "{name}: нет готовности за {seconds}s: {problem}",
    ),
    "no_arrival": Text(
        WARN, "Not waited for, since nobody starts it now: {problem}",
        "Не ждём, его никто сейчас не запускает: {problem}",
        "{name} is not waited for, since nobody starts it now: {problem}",
        "{name} не ждём, его никто сейчас не запускает: {problem}",
    ),
    "wrong_version": Text(
        ERROR, "{name}: version {version} answers, where {expected} is expected",
        "{name}: отвечает версия {version}, ожидается {expected}",
    ),
    "no_version": Text(
        ERROR, "{name}: tells no version, where {expected} is expected: {problem}",
        "{name}: не сообщает версию, ожидается {expected}: {problem}",
    ),
    # The comparison.
    "no_baseline": Text(
        WARN, "There is no baseline {file}, so nothing is compared; `auto-heal predeploy` makes one",
        "Исходного состояния {file} нет, сравнивать не с чем; его записывает `auto-heal predeploy`",
    ),
    "compared": Text(
        INFO, "Compared with the baseline of {moment}:", "В сравнении с исходным состоянием от {moment}:"
    ),
    "unchanged": Text(
        INFO, "Compared with the baseline of {moment}: nothing changed",
        "В сравнении с исходным состоянием от {moment}: без изменений",
    ),
    "changed_bad": Text(ERROR, "❌ {check}: {what}", "❌ {check}: {what}"),
    "changed_good": Text(SUCCESS, "🎉 {check}: {what}", "🎉 {check}: {what}"),
    "changed_doubtful": Text(WARN, "⚠️ {check}: {what}", "⚠️ {check}: {what}"),
    "broken_by_heal": Text(ERROR, "broken by the heal of {others}", "сломалось после восстановления {others}"),
    "broken_by_deployment": Text(ERROR, "broken by the deployment", "сломалось после развёртывания"),
    "still_broken": Text(
        ERROR, "still broken, as before the deployment", "всё ещё сломано, как и до развёртывания"
    ),
    "fails_new": Text(
        ERROR, "fails, was not checked before the deployment", "не проходит, до развёртывания не проверялось"
    ),
    "too_slow": Text(ERROR, "slower than before the deployment", "медленнее, чем до развёртывания"),
    "repaired": Text(SUCCESS, "repaired, it failed before the deployment", "исправлено, до развёртывания не работало"),
    "slower": Text(WARN, "slower: {now}s, before {before}s", "медленнее: {now}s, прежде {before}s"),
    "not_run": Text(WARN, "passed before, did not run now", "раньше проходило, теперь не выполнялось"),
    # The way back.
    "no_rollback": Text(
        WARN, "{names}: not rolled back, since what fails was broken before the deployment",
        "{names}: без отката, так как сломанное было сломано до развёртывания",
    ),
    "verifying_rollback": Text(
        INFO, "Checking health after the rollback...", "Проверяем здоровье после отката..."
    ),
    "back_already": Text(
        WARN, "{names}: rolled back already, so not once more", "{names}: откат уже был, второго не будет"
    ),
    "back_unchecked": Text(
        ERROR, "❌ Rolled back, but the checks could not be run after it",
        "❌ Откат выполнен, но проверки после него не выполнить",
    ),
    "back_interrupted": Text(
        ERROR,
        "❌ Interrupted in the middle of the rollback of {names}; what is there may be neither the new nor the old",
        "❌ Прервано во время отката {names}; возможно, там ни новая, ни прежняя версия",
    ),
    "undone_version": Text(
        ERROR, "{name}: version {version} still answers, which was rolled back",
        "{name}: всё ещё отвечает версия {version}, для которой выполнен откат",
    ),
    "rolled-back": Text(
        WARN, "⏪ Rolled back: the deployment failed, the service is up",
        "⏪ Откат выполнен: развёртывание не удалось, сервис работает",
    ),
}  # fmt: skip
