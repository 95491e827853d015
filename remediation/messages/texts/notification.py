"""What a notification says. These texts stand apart: no log line and no report has them."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, WARN, Text

NOTIFICATION: dict[str, Text] = {
    "sick": Text(ERROR, "auto-heal: {name} is sick ({where})", "auto-heal: {name} не работает ({where})"),
    "healed": Text(SUCCESS, "auto-heal: {name} is healed ({where})", "auto-heal: {name} снова работает ({where})"),
    "gave-up": Text(
        ERROR,
        "auto-heal: gave up on {name} ({where})",
        "auto-heal: {name}: восстановить не удаётся, прекращаем ({where})",
    ),
    "flapping": Text(
        WARN, "auto-heal: {name} is flapping ({where})", "auto-heal: {name} то работает, то не работает ({where})"
    ),
    "steady-well": Text(
        SUCCESS,
        "auto-heal: {name} is steady again: healthy ({where})",
        "auto-heal: {name}: состояние устойчиво, работает ({where})",
    ),
    "steady-sick": Text(
        ERROR,
        "auto-heal: {name} is steady again: sick ({where})",
        "auto-heal: {name}: состояние устойчиво, не работает ({where})",
    ),
    "where": Text(INFO, "{folder} on {host}", "{folder} на {host}"),
    "cause": Text(INFO, "Cause: {value}", "Причина: {value}"),
    "checks": Text(INFO, "Failing checks: {value}", "Не проходят проверки: {value}"),
    "dependents": Text(INFO, "Dependents: {value}", "Зависимые сервисы: {value}"),
    "and_more": Text(INFO, "{value} and {count} more", "{value} и ещё {count}"),
    "tried": Text(INFO, "Tried: {value}", "Предпринято: {value}"),
    "not_tried": Text(INFO, "Tried: nothing by this monitor", "Предпринято: монитор ничего не предпринимал"),
    "next_try": Text(INFO, "Next try: after {value}", "Следующая попытка: после {value}"),
    "no_next_try": Text(INFO, "Next try: never (restarts = 0)", "Следующей попытки не будет (restarts = 0)"),
    "action": Text(INFO, "Action: {value}", "Действие: {value}"),
    "no_action": Text(INFO, "Action: none by this monitor", "Действие: монитор ничего не предпринимал"),
    "since": Text(INFO, "Since: {value}", "Начало: {value}"),
    "incident": Text(INFO, "Incident: {value}", "Инцидент: {value}"),
    "window": Text(
        INFO,
        "No more messages of it until nothing has changed for {value}s",
        "Новых сообщений не будет, пока состояние не продержится {value} с",
    ),
    "downtime": Text(INFO, "Downtime: {value}s", "Простой: {value} с"),
}
