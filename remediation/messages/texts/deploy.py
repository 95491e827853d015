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
        "Сбои были до развёртывания; продолжаем (--allow-sick)"
    ),
    # The wait.
    "waiting": Text(
        INFO, "Waiting for the new version ({problem})...", "Ждём новую версию ({problem})...",
        "Waiting for {name} ({problem})...", "Ждём новую версию {name} ({problem})...",
    ),
    "arrived": Text(
        SUCCESS, "New version ready after {seconds}s", "Новая версия готова через {seconds} с",
        "New version of {name} ready after {seconds}s", "Новая версия {name} готова через {seconds} с",
    ),
    "not_arrived": Text(
        WARN, "New version not ready after {seconds}s: {problem}",
        "Новая версия не готова через {seconds} с: {problem}",
        "New version of {name} not ready after {seconds}s: {problem}",
        "Новая версия {name} не готова через {seconds} с: {problem}",
    ),
    "no_arrival": Text(
        WARN, "Not waiting: nothing is starting the service: {problem}",
        "Не ждём: сервис никто не запускает: {problem}",
        "Not waiting for {name}: nothing is starting it: {problem}",
        "Не ждём {name}: сервис никто не запускает: {problem}",
    ),
    "wrong_version": Text(
        ERROR, "{name}: version {version} answers, expected {expected}",
        "{name}: отвечает версия {version}, ожидается {expected}",
    ),
    "no_version": Text(
        ERROR, "{name}: reports no version, expected {expected}: {problem}",
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
    "broken_by_heal": Text(ERROR, "broken by the heal of {others}", "сломалось после восстановления сервиса {others}"),
    "broken_by_deployment": Text(ERROR, "broken by the deployment", "сломалось после развёртывания"),
    "still_broken": Text(
        ERROR, "still broken, as before the deployment", "всё ещё сломано, как и до развёртывания"
    ),
    "fails_new": Text(
        ERROR, "fails, was not checked before the deployment", "не проходит, до развёртывания не проверялось"
    ),
    "too_slow": Text(ERROR, "slower than before the deployment", "медленнее, чем до развёртывания"),
    "repaired": Text(SUCCESS, "repaired, it failed before the deployment", "исправлено, до развёртывания не работало"),
    "slower": Text(WARN, "slower: {now}s, before {before}s", "медленнее: {now} с, прежде {before} с"),
    "not_run": Text(WARN, "passed before, did not run now", "раньше проходило, теперь не выполнялось"),
    # The way back.
    "no_rollback": Text(
        WARN, "{names}: not rolled back; the failing checks failed before the deployment, too",
        "{names}: без отката: эти проверки не проходили и до развёртывания",
    ),
    "verifying_rollback": Text(
        INFO, "Checking health after the rollback...", "Проверяем здоровье после отката..."
    ),
    "back_already": Text(
        WARN, "{names}: already rolled back, not again", "{names}: откат уже выполнен, повторять его нельзя"
    ),
    "back_unchecked": Text(
        ERROR, "❌ Rolled back, but the checks could not be run after it",
        "❌ Откат выполнен, но выполнить проверки после него не удалось",
    ),
    "back_interrupted": Text(
        ERROR,
        "❌ Interrupted while rolling back {names}; neither the new nor the old version may be complete",
        "❌ Прервано во время отката {names}; возможно, ни новая, ни прежняя версия не установлена целиком",
    ),
    "undone_version": Text(
        ERROR, "{name}: version {version} still answers although it was rolled back",
        "{name}: всё ещё отвечает версия {version}, хотя выполнен её откат",
    ),
    "rolled-back": Text(
        WARN, "⏪ Rolled back: the deployment failed, the service is up",
        "⏪ Откат выполнен: развёртывание не удалось, сервис работает",
    ),
}  # fmt: skip
