"""What a heal would do, told instead of done."""

from __future__ import annotations

from remediation.messages.text import INFO, WARN, Text

PLAN: dict[str, Text] = {
    "plan": Text(WARN, "{name} is sick: {cause}", "{name} болен: {cause}"),
    "plan_nothing": Text(WARN, "  nothing would be done: {why}", "  ничего не было бы сделано: {why}"),
    "plan_at_work": Text(
        INFO, "another auto-heal is at work on it now", "другой auto-heal сейчас занят им",
    ),
    "plan_adopt": Text(
        INFO, "  its process {holder} would be remembered again, and nothing restarted",
        "  его процесс {holder} был бы снова записан, без перезапуска",
    ),
    "plan_command": Text(
        INFO, "  `{command}` would be run, for at most {timeout}s",
        "  была бы выполнена `{command}`, не дольше {timeout}s",
    ),
    "plan_end": Text(
        INFO, "  {holder} would be ended: {signal}, and SIGKILL after {timeout}s",
        "  был бы завершён {holder}: {signal}, через {timeout}s SIGKILL",
    ),
    "plan_free": Text(
        INFO, "  port {port} would be freed from {holder}", "  порт {port} был бы освобождён от {holder}"
    ),
    "plan_start": Text(
        INFO, "  `{command}` would be started in {cwd}", "  была бы запущена `{command}` в {cwd}",
    ),
    "plan_ready": Text(
        INFO, "  then {asked} would be waited for, for at most {timeout}s",
        "  затем ожидалось бы {asked}, не дольше {timeout}s",
    ),
    "plan_fails": Text(WARN, "  that would fail: {why}", "  это не удалось бы: {why}"),
    "plan_next": Text(
        INFO, "  if that does not help, in further rounds: {actions}",
        "  если не поможет, в следующих раундах: {actions}",
    ),
    "plan_rollback": Text(
        WARN, "  if nothing helps, it would be rolled back by `{command}`, which may take {timeout}s",
        "  если ничего не поможет, был бы выполнен откат: `{command}`, не дольше {timeout}s",
    ),
}  # fmt: skip
