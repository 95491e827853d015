"""What a notification says. These texts stand apart: no log line and no report has them."""

from __future__ import annotations

from remediation.messages.text import ERROR, INFO, SUCCESS, Text

NOTIFICATION: dict[str, Text] = {
    "sick": Text(ERROR, "auto-heal: {name} is sick ({where})", "auto-heal: {name} не работает ({where})"),
    "healed": Text(SUCCESS, "auto-heal: {name} is healed ({where})", "auto-heal: {name} снова работает ({where})"),
    "gave-up": Text(
        ERROR,
        "auto-heal: gave up on {name} ({where})",
        "auto-heal: {name}: восстановить не удаётся, прекращаем ({where})",
    ),
    "where": Text(INFO, "{folder} on {host}", "{folder} на {host}"),
    "cause": Text(INFO, "Cause: {value}", "Причина: {value}"),
    "action": Text(INFO, "Action: {value}", "Действие: {value}"),
    "no_action": Text(INFO, "Action: none by this monitor", "Действие: монитор ничего не предпринимал"),
    "since": Text(INFO, "Since: {value}", "Начало: {value}"),
    "downtime": Text(INFO, "Downtime: {value}s", "Простой: {value} с"),
}
