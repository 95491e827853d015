"""What a heal would do, told instead of done."""

from __future__ import annotations

from remediation.messages.text import INFO, WARN, Text

PLAN: dict[str, Text] = {
    "plan": Text(WARN, "{name} is sick: {cause}", "Сервис {name} не работает: {cause}"),
    "plan_nothing": Text(WARN, "  would do nothing: {why}", "  действий не будет: {why}"),
    "plan_at_work": Text(
        INFO, "another auto-heal is at work on it now", "сейчас этим сервисом занят другой процесс auto-heal",
    ),
    "plan_adopt": Text(
        INFO, "  would take over its process {holder} again, without a restart",
        "  процесс {holder} будет снова взят под управление, без перезапуска",
    ),
    "plan_adopt_by_hand": Text(
        INFO, "  would adopt {holder}, which was started by hand, without a restart",
        "  процесс {holder}, запущенный вручную, будет взят под управление без перезапуска",
    ),
    "plan_command": Text(
        INFO, "  would run `{command}`, for up to {timeout}s",
        "  будет выполнена команда `{command}`, не дольше {timeout} с",
    ),
    "plan_hook": Text(
        INFO, "  would call auto_heal_step for `{hook}`, for up to {timeout}s",
        "  будет вызвана auto_heal_step для `{hook}`, не дольше {timeout} с",
    ),
    "plan_validate": Text(
        INFO, "  would validate by `{command}`, for up to {timeout}s, and do nothing if that fails",
        "  сначала проверка конфигурации: `{command}`, не дольше {timeout} с; при ошибке действий не будет",
    ),
    "plan_reload": Text(INFO, "  would reload it by {command}", "  сервис перечитает конфигурацию: {command}"),
    "plan_end": Text(
        INFO, "  would end {holder}: {signal}, and SIGKILL after {timeout}s",
        "  будет завершён процесс {holder}: {signal}, через {timeout} с — SIGKILL",
    ),
    "plan_free_socket": Text(
        INFO, "  would free the socket {socket} from {holder}",
        "  будет освобождён сокет {socket}: его занимает {holder}",
    ),
    "plan_free": Text(
        INFO, "  would free port {port} from {holder}", "  будет освобождён порт {port}: его занимает {holder}"
    ),
    "plan_start": Text(
        INFO, "  would start `{command}` in {cwd}", "  будет запущена команда `{command}` в {cwd}",
    ),
    "plan_ready": Text(
        INFO, "  would wait up to {timeout}s for {asked}",
        "  затем ожидание ответа: {asked}, не дольше {timeout} с",
    ),
    "plan_fails": Text(WARN, "  that would fail: {why}", "  но это не удастся: {why}"),
    "plan_next": Text(
        INFO, "  if that does not help, in further rounds: {actions}",
        "  если не поможет, в следующих раундах: {actions}",
    ),
    "plan_helped": Text(
        INFO, "  so far `{step}` helped {count} of {total} times",
        "  до сих пор `{step}` помогало {count} из {total} раз",
    ),
    "plan_helped_within": Text(
        INFO, "  so far `{step}` helped {count} of {total} times, median downtime {downtime}s",
        "  до сих пор `{step}` помогало {count} из {total} раз, медиана простоя {downtime} с",
    ),
    "plan_rollback": Text(
        WARN, "  if nothing helps, would roll back by `{command}`, for up to {timeout}s",
        "  если ничего не поможет, будет выполнен откат: `{command}`, не дольше {timeout} с",
    ),
}  # fmt: skip
