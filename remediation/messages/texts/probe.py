"""What a probe found: what it measured, what the limit is, and why it could not measure."""

from __future__ import annotations

from remediation.messages.text import ERROR, Text

PROBE: dict[str, Text] = {
    # Name servers.
    "dns_no_name": Text(ERROR, "there is no such name", "такого имени нет"),
    "dns_no_records": Text(ERROR, "the name has no {kind} record", "у имени нет записи {kind}"),
    "dns_no_config": Text(
        ERROR, "this system has no name server (resolv.conf)", "в системе не задан сервер имён (resolv.conf)"
    ),
    "dns_late": Text(ERROR, "no name server answered in time", "сервер имён не ответил вовремя"),
    "dns_refused": Text(ERROR, "all name servers refused: {problem}", "серверы имён отказали в ответе: {problem}"),
    "dns_other": Text(ERROR, "resolves to {there}, not to {place}", "указывает на {there}, а не на {place}"),
    # Databases.
    "redis_error": Text(ERROR, "it answers {problem}", "ответ: {problem}"),
    "no_redis": Text(ERROR, "no Redis: its answer begins with {start}", "это не Redis: ответ начинается с {start}"),
    "sql_rows": Text(
        ERROR, "the answer has more than {count} rows, which is as much as a check takes in",
        "в ответе больше {count} строк, больше проверка не принимает",
    ),
    "sql_bytes": Text(
        ERROR, "the answer is longer than {size} MiB, which is as much as a query of a check takes in",
        "ответ длиннее {size} МиБ, больше запрос проверки не принимает",
    ),
    # Certificates.
    "cert_expires": Text(
        ERROR, "its certificate expires in {time}, on {until}, which is sooner than {limit}",
        "срок действия его сертификата истекает через {time}, {until}, раньше чем через {limit}",
    ),
    "cert_expired_on": Text(
        ERROR, "its certificate expired on {until}", "срок действия его сертификата истёк {until}"
    ),
    # Processes.
    "memory_above": Text(
        ERROR, "{name}: memory {size}, above {limit} ({count} {count:process|processes})",
        "{name}: память {size}, больше {limit} ({count} {count:процесс|процесса|процессов})",
    ),
    "memory_above_rss": Text(
        ERROR,
        "{name}: memory {size}, above {limit} ({count} {count:process|processes}; what they share is counted for each)",
        "{name}: память {size}, больше {limit} ({count} {count:процесс|процесса|процессов}; общая память посчитана "
        "для каждого)",
    ),
    "cpu_above": Text(
        ERROR, "{name}: CPU {share} of one core, above {limit} ({count} {count:process|processes})",
        "{name}: процессор занят на {share} одного ядра, больше {limit} ({count} "
        "{count:процесс|процесса|процессов})",
    ),
    "files_above": Text(
        ERROR,
        "{name}: process {pid} has {count} open {count:file|files}, {share} of its limit of {most}; above {limit}",
        "{name}: у процесса {pid} {count} {count:открытый файл|открытых файла|открытых файлов}, это {share} от его "
        "предела {most}; больше {limit}",
    ),
    "files_above_unlimited": Text(
        ERROR,
        "{name}: process {pid} has {count} open {count:file|files}, above {limit}",
        "{name}: у процесса {pid} {count} {count:открытый файл|открытых файла|открытых файлов}, больше {limit}",
    ),
    "usage_late": Text(
        ERROR, "{name}: what its processes use could not be read in time",
        "{name}: не удалось вовремя узнать, что используют его процессы",
    ),
    "usage_denied": Text(
        ERROR, "{name}: what its processes use may be read only by their user or by root",
        "{name}: узнать, что используют его процессы, могут только их пользователь и root",
    ),
    # The disk.
    "disk_full": Text(
        ERROR, "{file}: {size} free ({share}), less than {limit}", "{file}: свободно {size} ({share}), меньше {limit}"
    ),
    "disk_unknown": Text(
        ERROR, "{file}: its free space cannot be read: {problem}",
        "{file}: не удалось узнать свободное место: {problem}"
    ),
    # Logs.
    "log_has": Text(
        ERROR, "{file} has {pattern} in {count} new {count:line|lines}, first: {line_found}",
        "в {file} {pattern} встречается в {count} {count:новой строке|новых строках|новых строках}, первая: "
        "{line_found}",
    ),
    "log_unreadable": Text(
        ERROR, "{file} cannot be read: {problem}", "не удалось прочитать {file}: {problem}"
    ),
    # Commands.
    "probe_command": Text(ERROR, "`{command}` {how}", "команда `{command}` {how}"),
    "probe_command_said": Text(ERROR, "`{command}` {how}; it said: {last}", "команда `{command}` {how}; вывод: {last}"),
    # What is missing.
    "no_extra": Text(
        ERROR, "{what} needs {package}; pip install '{extra}'", "для {what} нужен {package}; pip install '{extra}'"
    ),
}  # fmt: skip
