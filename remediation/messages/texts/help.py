"""The help of the commands in Russian, by the English text, and what is said of wrong use."""

from __future__ import annotations

# Words of the usage line.
METAVARS = {
    "COMMAND": "КОМАНДА",
    "SERVICE": "СЕРВИС",
    "PORT": "ПОРТ",
    "TIME": "СРОК",
    "FILE": "ФАЙЛ",
    "DIR": "ПАПКА",
    "NAME": "ИМЯ",
    "PATH": "ПУТЬ",
    "V": "ВЕРСИЯ",
    "N": "N",
    "S": "S",
    "URL": "URL",
    "RUN": "КОМАНДА",
}

HEADINGS = {
    "usage: ": "использование: ",
    "options": "параметры",
    "optional arguments": "параметры",
    "positional arguments": "аргументы",
    "example:": "пример:",
    "faults:": "сбои:",
}

HELP = {
    "show this help message and exit": "показать эту справку и выйти",
    "show program's version number and exit": "показать версию программы и выйти",
    "Check services, heal what is sick, check again.":
        "Проверить сервисы, восстановить неработающие, проверить снова.",
    "run the checks, heal on failure, run them again":
        "выполнить проверки, при сбое восстановить сервис и проверить снова",
    "run the checks, and tell what a heal would do now, touching no service":
        "выполнить проверки и показать, что сделало бы восстановление; сервисы не затрагиваются",
    "check at every interval, and at once when a process dies, until Ctrl+C":
        "проверять через заданный интервал и сразу, когда завершится процесс, до Ctrl+C",
    "run the checks before a deployment, heal nothing, and keep the results as the baseline":
        "выполнить проверки до развёртывания, ничего не восстанавливая, и сохранить результат для сравнения",
    "wait for what was deployed, run the checks, compare with the baseline, and heal or roll back":
        "дождаться новой версии, выполнить проверки, сравнить с исходным состоянием, восстановить или откатить",
    "start services, their dependencies first": "запустить сервисы, сначала те, от которых они зависят",
    "stop services; nothing heals them until they are started":
        "остановить сервисы; до запуска они не восстанавливаются",
    "stop and start services": "остановить и запустить сервисы",
    "let services read their own configuration again, by the key reload":
        "дать сервисам перечитать свою конфигурацию",
    "stop what still runs, but is no longer in the configuration":
        "остановить то, что работает, но чего больше нет в конфигурации",
    "take over a server that was started by hand, without a restart":
        "взять под управление сервер, запущенный вручную, без перезапуска",
    "the service that it is from now on": "сервис, которым он становится",
    "its process (default: the one that listens on the url)":
        "его процесс (по умолчанию: тот, что слушает url)",
    "do not ask, as root": "не спрашивать, если запущено от root",
    "show state, process and last heal of services":
        "показать состояние, процесс и последнее восстановление сервисов",
    "make real faults on your own services, one after another, and see whether they are healed":
        "вызвать настоящие сбои своих сервисов, один за другим, и проверить, восстанавливаются ли они",
    "allow no healing, while a deployment is under way; checks still run and report":
        "приостановить восстановление на время развёртывания; проверки и отчёты продолжаются",
    "end a pause": "завершить паузу",
    "store the heartbeat of a cron job, for a check that fails when it is late":
        "записать сигнал задания cron; проверка не пройдёт, если его долго нет",
    "what the check calls it": "имя, под которым его знает проверка",
    "how the work ended; the check fails if that is not 0 (default: 0)":
        "с каким кодом завершилось задание; если не 0, проверка не пройдёт (по умолчанию: 0)",
    "the same as --exit-code 1": "то же, что --exit-code 1",
    "say whether the configuration is valid": "проверить конфигурацию",
    "collect the checks as well": "также собрать проверки",
    "print the JSON Schema of the configuration, for editors":
        "вывести JSON Schema конфигурации, для редакторов",
    "that of a pyproject.toml with [tool.auto-heal]": "для pyproject.toml с [tool.auto-heal]",
    "explain a command, as its --help does": "объяснить команду, как её --help",
    "the command (default: all of them in a few words)": "команда (по умолчанию: все, в нескольких словах)",
    "pause only these; the others are healed (default: all)":
        "приостановить только эти; остальные восстанавливаются (по умолчанию: все)",
    "end the pause of these (default: that of all services)":
        "завершить паузу этих (по умолчанию: общую паузу всех сервисов)",
    "tell of the past: uptime, failures, heals, latency":
        "показать прошлое: доступность, сбои, восстановления, задержку",
    "look at what answers at a url, and write checks that fit it":
        "посмотреть, что отвечает по url, и записать подходящие проверки",
    "show pytest's own output as well": "показать и вывод самого pytest",
    "serve Prometheus metrics on 127.0.0.1:PORT": "отдавать метрики Prometheus на 127.0.0.1:ПОРТ",
    "all configured services if none is named": "если не указан ни один, все сервисы из конфигурации",
    "print JSON, for programs": "вывести JSON, для программ",
    "end by itself, as 10m, 90s or 1h30m (default: never)":
        "завершить паузу через 10m, 90s или 1h30m (по умолчанию: никогда)",
    "how far to look back (default: 7d)": "за какой срок показать (по умолчанию: 7d)",
    "the project (default: here)": "проект (по умолчанию: текущий каталог)",
    "the service's name (default: api)": "имя сервиса (по умолчанию: api)",
    "where it answers: http, https, tcp, or unix:PATH": "где он отвечает: http, https, tcp или unix:ПУТЬ",
    "the command that starts it (default: none)": "команда, которая его запускает (по умолчанию: нет)",
    "the path that answers 2xx when it is up (default: a usual one)":
        "путь, который отвечает 2xx, когда сервис работает (по умолчанию: один из обычных)",
    "add to .gitignore what auto-heal writes": "добавить в .gitignore то, что пишет auto-heal",
    "add doctor:auto and doctor:monitor to package.json": "добавить doctor:auto и doctor:monitor в package.json",
    "only print a systemd unit for the monitor": "только вывести юнит systemd для монитора",
    "only print a line for crontab": "только вывести строку для crontab",
    "exit with 0 also if something is sick": "завершиться с кодом 0, даже если есть сбои",
    "how long to wait until the services are ready (default: the start_timeout of each)":
        "сколько ждать готовности сервисов (по умолчанию: start_timeout каждого)",
    "wait until this version answers, and fail if it does not; api=V for one of several services":
        "ждать, пока не ответит эта версия; если её нет, это ошибка; api=ВЕРСИЯ для одного из сервисов",
    "fail a check that is slower than the key latency allows":
        "считать ошибкой и проверку, которая медленнее, чем допускает ключ latency",
    "where it is kept (default: .auto-heal/baseline.json)": "где его хранить (по умолчанию: .auto-heal/baseline.json)",
    "all that auto-heal starts if none is named": "если не указан ни один, все сервисы, которые запускает auto-heal",
    "only this one; may be repeated": "только этот сбой; можно повторить",
    "make each fault N times (default: 1)": "вызвать каждый сбой N раз (по умолчанию: 1)",
    "repeat the order and moments of an earlier drill": "повторить порядок и моменты прежних учений",
    "do not ask before it starts; without a terminal it is needed":
        "не спрашивать перед началом; без терминала обязательно",
    "the JUnit report (default: drill.xml beside that of the checks)":
        "отчёт JUnit (по умолчанию: drill.xml рядом с отчётом проверок)",
    # What follows the options, as it is laid out.
    "All further options go to pytest.": "Все остальные параметры передаются pytest.",
    """options of the run, which go to pytest:
  --heal=auto|plan|off  heal, only tell what a heal would do, or do neither
  --no-heal             the same as --heal=off
  --heal-rounds=N       heal at most N times (default: as often as the ladders
                        of the sick services have steps)
  --fail-on-heal        exit with 10 when all is well only after a heal
  --rollback            run the rollback of a service that no heal has helped;
                        postdeploy always does
All further options go to pytest as well, such as -k or --junitxml.""":
    """параметры запуска, которые передаются pytest:
  --heal=auto|plan|off  восстанавливать, только показать план или ничего
  --no-heal             то же, что --heal=off
  --heal-rounds=N       восстанавливать не больше N раз (по умолчанию: столько,
                        сколько шагов в ladder неработающих сервисов)
  --fail-on-heal        код 10, если всё работает только после восстановления
  --rollback            выполнить rollback сервиса, которому не помогло
                        восстановление; postdeploy делает это всегда
Все остальные параметры тоже передаются pytest, например -k или --junitxml.""",
    """exit codes:
  0   every check passes at the end, healed or not
  1   a check still fails at the end
  2   interrupted
  3   no verdict: the report is missing or incomplete
  4   wrong use or configuration
  5   no check was collected
  10  only with --fail-on-heal: every check passes, but only after a heal
  11  every check passes, but only since the service was rolled back""":
    """коды завершения:
  0   в конце все проверки проходят, с восстановлением или без
  1   в конце какая-то проверка не проходит
  2   прервано
  3   результата нет: отчёт отсутствует или неполон
  4   неверный вызов или неверная конфигурация
  5   не собрано ни одной проверки
  10  только с --fail-on-heal: все проверки проходят после восстановления
  11  все проверки проходят после отката сервиса""",
    "exit codes: 0 if it was done, 1 if it failed, 4 if the configuration is wrong":
        "коды завершения: 0, если выполнено; 1, если нет; 4, если неверна конфигурация",
    "exit codes: 0 if all are up, 1 if one is not, 4 if the configuration is wrong":
        "коды завершения: 0, если все работают; 1, если не все; 4, если неверна\nконфигурация",
    """exit codes: 0 if every check passes, 1 if something is sick, and those of
`auto-heal check` if there is no verdict""":
    """коды завершения: 0, если все проверки проходят; 1, если есть сбои; как у
`auto-heal check`, если результата нет""",
    """exit codes: 0 if it was stored, 1 if it cannot be written, 4 if the name is
wrong or there is no configuration""":
    """коды завершения: 0, если сигнал записан; 1, если записать не удалось; 4, если
имя неверно или нет конфигурации""",
    "exit codes: 0 if it is, 4 if not": "коды завершения: 0, если ошибок нет; 4, если есть",
    """exit codes: 0 after Ctrl+C or SIGTERM, 1 if another monitor watches the project,
2 after a second Ctrl+C, 3 after a fault of its own, pytest's if no check can
be collected at the start""":
    """коды завершения: 0 после Ctrl+C или SIGTERM; 1, если за проектом следит другой
монитор; 2 после второго Ctrl+C; 3 после собственной ошибки; как у pytest, если
в начале не удалось собрать проверки""",
    """exit codes: 0 if every fault was healed and nobody harmed, 1 if not, 2 if it
was interrupted or not agreed to, 3 if there is no verdict, 4 if it cannot ask
(without a terminal it needs --yes) or the configuration is wrong""":
    """коды завершения: 0, если все сбои устранены и никто не пострадал; 1, если нет;
2, если учения прерваны или нет согласия; 3, если результата нет; 4, если нельзя
спросить (без терминала нужен --yes) или неверна конфигурация""",
    """exit codes: 0 if it was adopted, 1 if it must not be, 2 if it was not agreed to,
4 if it cannot ask (as root, without a terminal, it needs --yes) or the
configuration is wrong""":
    """коды завершения: 0, если сервер взят под управление; 1, если его брать нельзя;
2, если нет согласия; 4, если нельзя спросить (от root без терминала нужен
--yes) или неверна конфигурация""",
}  # fmt: skip

FAULTS = {
    "crash": "процесс убит сигналом SIGKILL",
    "hang": "процессы приостановлены сигналом SIGSTOP и никому не отвечают",
    "deaf-child": "сбой, после которого остаётся дочерний процесс, не замечающий SIGTERM",
    "orphan-on-port": "сбой, после которого осиротевший процесс удерживает слушающий сокет",
    "stranger": "сбой, после которого порт занимает чужой процесс",
    "stale-pid": "сбой, после которого в PID-файле номер, которого ни у кого нет",
    "reused-pid": "сбой, после которого PID-файл указывает на чужой живой процесс; он не должен пострадать",
    "full-log": "сбой, когда диск с журналами сервиса и auto-heal заполнен (нужно право монтировать)",
    "healer-killed": "сбой, после которого процесс восстановления убит на полпути",
}

# Of wrong use; the first ones are argparse's.
USAGE = {
    "{problem}; see {command} --help": "{problem}; справка: {command} --help",
    "argument COMMAND: {problem}": "КОМАНДА: {problem}",
    "argument {argument}: {problem}": "аргумент {argument}: {problem}",
    "the following arguments are required: COMMAND": "не указана КОМАНДА",
    "the following arguments are required: {arguments}": "не хватает аргументов: {arguments}",
    "expected one argument": "нужно значение",
    "expected at least one argument": "нужно хотя бы одно значение",
    "expected at most one argument": "допустимо не больше одного значения",
    "not allowed with argument {argument}": "нельзя вместе с {argument}",
    "invalid choice: {value} (choose from {choices})": "недопустимое значение {value} (возможны: {choices})",
    "invalid int value: {value}": "{value} — не целое число",
    "ambiguous option: {option} could match {matches}": "неоднозначный параметр {option}: возможны {matches}",
    "ignored explicit argument {value}": "лишнее значение {value}",
    "unrecognized arguments: {arguments}": "неизвестные аргументы: {arguments}",
    "unknown arguments: {arguments}": "неизвестные аргументы: {arguments}",
    "{value} is no duration such as 7d, 12h, 30m, 90s, 1d12h, or a number of seconds":
        "{value} — не срок вида 7d, 12h, 30m, 90s, 1d12h и не число секунд",
    "{value} is no duration: it must be more than 0 and at most 100 years":
        "{value} — не срок: он должен быть больше 0 и не больше 100 лет",
    "no command is called {value}; did you mean {near}?": "нет команды {value}; возможно, имелась в виду {near}",
    "no command is called {value}; known commands: {choices}": "нет команды {value}; есть такие: {choices}",
    "no fault is called {value}; did you mean {near}?": "нет сбоя {value}; возможно, имелся в виду {near}",
    "no fault is called {value}; known faults: {choices}": "нет сбоя {value}; есть такие: {choices}",
    "{value} is no whole number from 1 to {most}": "{value} — не целое число от 1 до {most}",
    "{value} is no exit code, which is a number up to {most}": "{value} — не код завершения: это число до {most}",
    "{value} is no PID": "{value} — не PID",
    "{value} is no port, which is a number up to {most}": "{value} — не порт: это число до {most}",
}  # fmt: skip
