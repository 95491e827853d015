"""In Russian, what reports, the history and other processes say in English; only a Russian text needs it."""

from __future__ import annotations

# What was done for a service, as the history and the report have it; what is made of others comes first.
ACTIONS = {
    "none: {reason}": "ничего не сделано: {reason}",
    "{action}, then {more}": "{action}, затем {more}",
    "{action} in vain ({reason})": "{action}: безуспешно ({reason})",
    "{action}, restart": "{action}, перезапуск",
    "{action} by another auto-heal": "{action} (другой процесс auto-heal)",
    "{action} (by another auto-heal)": "{action} (другой процесс auto-heal)",
    "{action} (failed: {problem})": "{action} (не удалось: {problem})",
    "{action} by hand": "{action} вручную",
    "rollback by {command}": "откат: {command}",
    "start": "запуск",
    "restart": "перезапуск",
    "by hand": "вручную",
    "found its process again": "процесс найден снова",
}

# What the system says of a failed call, and Python of text that is no JSON; some of it is written small.
SYSTEM = {
    "connection refused": "в соединении отказано",
    "connection reset by peer": "соединение сброшено другой стороной",
    "connection timed out": "время ожидания соединения истекло",
    "broken pipe": "соединение закрыто другой стороной",
    "network is unreachable": "сеть недоступна",
    "no route to host": "нет маршрута до хоста",
    "name or service not known": "имя неизвестно",
    "temporary failure in name resolution": "временный сбой при поиске имени",
    "no address associated with hostname": "у имени нет адреса",
    "no name of a host": "это не имя хоста",
    "no name server answered in time": "сервер имён не ответил вовремя",
    "permission denied": "нет прав доступа",
    "operation not permitted": "операция не разрешена",
    "no such file or directory": "нет такого файла или каталога",
    "not a directory": "это не каталог",
    "is a directory": "это каталог",
    "file exists": "файл уже существует",
    "no space left on device": "на диске нет места",
    "disk quota exceeded": "превышена квота диска",
    "read-only file system": "файловая система только для чтения",
    "too many open files": "открыто слишком много файлов",
    "too many levels of symbolic links": "слишком много уровней символических ссылок",
    "cannot allocate memory": "не хватает памяти",
    "resource temporarily unavailable": "ресурс временно недоступен",
    "device or resource busy": "устройство или ресурс заняты",
    "input/output error": "ошибка ввода-вывода",
    "exec format error": "неверный формат программы",
    "argument list too long": "слишком длинный список аргументов",
    "text file busy": "файл программы занят",
    "expecting value": "ожидается значение",
    "extra data": "лишние данные",
    "expecting property name enclosed in double quotes": "ожидается имя поля в двойных кавычках",
    "expecting ',' delimiter": "ожидается разделитель ','",
    "expecting ':' delimiter": "ожидается разделитель ':'",
    "unterminated string starting": "незакрытая строка",
    "invalid control character": "недопустимый управляющий символ",
}

# What is said of a process, a round, a report or the history where no key of the catalogue goes with it.
SENTENCES = {
    "{program} (PID {pid}, user {user})": "{program} (PID {pid}, пользователь {user})",
    "its process ended": "его процесс завершился",
    "its process ended with {code}": "процесс завершился с кодом {code}",
    "{reason}: skipped, after an attempt that failed: {problem}":
        "{reason}: пропущено после неудачной попытки: {problem}",
    "another auto-heal just tried and failed: {reason}":
        "попытка другого процесса auto-heal только что не удалась: {reason}",
    "hung: no end within {seconds}s": "зависание: не закончилось за {seconds} с",
    "hung in set-up: no end within {seconds}s": "зависание при подготовке: не закончилось за {seconds} с",
    "hung in teardown: no end within {seconds}s": "зависание при завершении: не закончилось за {seconds} с",
    "{problem}, and no signal interrupts it": "{problem}, и сигналы её не прерывают",
    "ended its process with exit code {code}": "проверка завершила свой процесс с кодом {code}",
    "crashed: its process was killed by {signal}": "сбой: процесс проверки убит сигналом {signal}",
    "crashed: its process was killed by {signal}, as the system does when it is out of memory":
        "сбой: процесс проверки убит сигналом {signal}; так делает система, когда не хватает памяти",
    "{place}: the session {problem}": "{place}: сеанс проверок: {problem}",
    "the session {problem}": "сеанс проверок: {problem}",
    "{place}: a worker {problem}": "{place}: рабочий процесс: {problem}",
    "a worker {problem}": "рабочий процесс: {problem}",
    "killed by {signal}": "убит сигналом {signal}",
    "a heal or the report hangs for good": "восстановление или отчёт зависли",
    "it told nothing": "результата нет",
    "round {number} broke off": "раунд {number} оборвался",
    "round {number} cannot begin: {problem}": "раунд {number} не удалось начать: {problem}",
    "the run broke off before the end of {checks}": "запуск оборвался до конца проверок: {checks}",
    "the run ended before its end: the report has a case without a name":
        "запуск оборвался: в отчёте есть проверка без имени",
    "the report has no case": "в отчёте нет ни одной проверки",
    "the report has no case of {checks}": "в отчёте нет проверок: {checks}",
    "there is no report {file}": "нет отчёта {file}",
    "the report {file} cannot be read: {problem}": "не удалось прочитать отчёт {file}: {problem}",
    "the report {file} has no test suite": "в отчёте {file} нет набора проверок",
    "the report {file} was removed before the run had ended": "отчёт {file} удалён до конца запуска",
    "the round's own report was not written: {problem}": "отчёт раунда не записан: {problem}",
    "no check failed, but something else ended the session with exit code {code}":
        "ни одна проверка не провалилась, но сеанс завершён с кодом {code}",
    "no check failed, but something else ended the session with exit code {code}, as may be the doing of {others}":
        "ни одна проверка не провалилась, но сеанс завершён с кодом {code}; возможно, причина — {others}",
    "{place}: the import of {what} takes longer than {limit}": "{place}: импорт {what} занимает больше, чем {limit}",
    "there is no history yet; `auto-heal check` and `auto-heal monitor` write it":
        "истории пока нет; её записывают `auto-heal check` и `auto-heal monitor`",
    "the history {file} cannot be read: {problem}": "не удалось прочитать историю {file}: {problem}",
    "the history {file} cannot be written: {problem}": "не удалось записать историю {file}: {problem}",
}  # fmt: skip
