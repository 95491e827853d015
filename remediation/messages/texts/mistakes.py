"""In Russian, what is wrong with a configuration, or with how a command was called."""

from __future__ import annotations

MISTAKES = {
    # The files.
    "no configuration: neither {own} nor [tool.auto-heal] in {shared} in {folder} or above it; "
    "`auto-heal init` writes one":
        "нет конфигурации: ни {own}, ни [tool.auto-heal] в {shared} нет в {folder} и выше; её создаёт `auto-heal init`",
    "begins with a byte order mark, which TOML does not allow; save it as UTF-8 without one":
        "начинается с метки порядка байтов (BOM), недопустимой в TOML; сохраните файл в UTF-8 без неё",
    "not UTF-8, as TOML must be: byte {byte}": "файл не в UTF-8, как того требует TOML: байт {byte}",
    "not UTF-8, as TOML must be": "не в UTF-8, как того требует TOML",
    "not UTF-8: byte {byte}": "файл не в UTF-8: байт {byte}",
    "not valid TOML: {error}; a table in braces is one line, without a comma at its end":
        "неверный TOML: {error}; таблица в фигурных скобках пишется в одну строку, без запятой в конце",
    "not valid TOML: {error}": "неверный TOML: {error}",
    "not valid JSON: {error}": "неверный JSON: {error}",
    "is not an object": "это не объект",
    "finds no place for {names}; add them by hand": "для {names} не нашлось места; добавьте вручную",
    "cannot be added to: {problem}; add the table above by hand":
        "дополнить не удалось: {problem}; добавьте показанную таблицу вручную",
    "cannot be read: {problem}": "не удалось прочитать: {problem}",
    "cannot be written: {problem}": "не удалось записать: {problem}",
    "there is none in {folder} any more": "в {folder} её больше нет",
    "no service has checks, and there is no folder {name} in {folder}; "
    "add checks = [...] to a service, or tests to {at}":
        "ни у одного сервиса нет checks, и в {folder} нет папки {name}; "
        "добавьте сервису checks = [...] или тесты в {at}",
    "{folder} is not a folder; auto-heal keeps there what it remembers, so remove it":
        "{folder} — не папка; auto-heal хранит там свои данные, удалите этот файл",
    "{folder} is a symbolic link, which is not followed; auto-heal keeps there what it remembers, so remove it":
        "{folder} — символическая ссылка, auto-heal по ней не переходит; там хранятся его данные, удалите её",
    "{folder}: is not a folder": "{folder}: это не папка",
    "the checks cannot be collected within {limit}s": "не удалось собрать проверки за {limit} с",
    "the checks cannot be collected: {problem}": "не удалось собрать проверки: {problem}",
    "there is no check in {folder}": "в {folder} нет проверок",
    # The keys.
    "unknown key {key}; did you mean {near}?": "неизвестный ключ {key}; возможно, имелся в виду {near}",
    "unknown key {key}; known keys: {keys}": "неизвестный ключ {key}; есть такие: {keys}",
    "unknown value {value}; known values: {values}": "неизвестное значение {value}; допустимы: {values}",
    "expected {wanted}, got {given}": "ожидается {wanted}, а задано другое: {given}",
    "expected {wanted} of length >= {least}": "ожидается {wanted} длиной не меньше {least}",
    "expected {wanted} >= {least}": "ожидается {wanted} не меньше {least}",
    "expected {wanted} > {least}": "ожидается {wanted} больше {least}",
    "expected {wanted} <= {most}": "ожидается {wanted} не больше {most}",
    "missing": "не задано",
    "holds a NUL character, which no path and no command can": "содержит символ NUL, недопустимый в путях и командах",
    "a service's name has up to 64 letters, digits, - and _ only":
        "имя сервиса может содержать только буквы, цифры, - и _, не больше 64",
    "has both command and restart, start or stop; keep one way to run it":
        "заданы и command, и restart, start или stop; оставьте один способ запуска",
    "start and stop need restart beside them": "start и stop задаются только вместе с restart",
    "cannot be split as a shell would: {error}": "не удалось разбить на слова, как в оболочке: {error}",
    '{sign} is for a shell, and no shell runs this; set cwd and env beside it, or start one: ["sh", "-c", "..."]':
        '{sign} — для оболочки, а команда выполняется без неё; рядом можно задать cwd и env '
        'или запустить оболочку: ["sh", "-c", "..."]',
    '{path} looks like a page to log in by, which answers well while all behind it fails; '
    'name a path that needs no login, such as "/health", or use "tcp"':
        '{path} похож на страницу входа: она отвечает, даже когда за ней ничего не работает; '
        'укажите путь без входа, например "/health", или "tcp"',
    # Declared checks.
    "says nothing to check; give one of {keys}": "не сказано, что проверять; задайте одно из: {keys}",
    "has {keys}; make it one check each": "заданы {keys}; сделайте из этого отдельные проверки",
    "does not go with {key}, only with {keys}": "не сочетается с {key}, только с {keys}",
    '{path} is no path such as "/health" (other characters percent-encoded)':
        '{path} — не путь вида "/health" (прочие символы в виде %XX)',
    "needs within beside it: it says for how long that may be exceeded":
        "нужен и within: for задаёт, как долго он может быть превышен",
    "must be less than timeout, {limit}, which ends an attempt":
        "должно быть меньше timeout ({limit}), который завершает попытку",
    "needs an http or https url, to which the path belongs": "нужен url с http или https, к которому относится путь",
    "needs an https url, whose certificate is looked at": "нужен url с https: проверяется его сертификат",
    "needs command beside it: only then is the process known": "нужна и command: только тогда известен процесс",
    'needs a url; or give host and port, as in "localhost:5432"':
        'нужен url или хост с портом, например "localhost:5432"',
    "{word} is neither host:port nor the name of a service; known services: {names}":
        "{word} — не host:port и не имя сервиса; есть сервисы: {names}",
    "the service {name} has no url": "у сервиса {name} нет url",
    "JSON has no {word}; write it in quotes": "в JSON нет {word}; заключите значение в кавычки",
    "{word}: must be more than 0": "{word}: должно быть больше 0",
    "{word} is more than 100%": "{word} — больше 100%",
    "{expression} is no regular expression: {error}": "{expression} — не регулярное выражение: {error}",
    "{word}: up to 64 letters, digits, - and _ only": "{word}: допустимы только буквы, цифры, - и _, не больше 64",
    "{word} is no size such as 500 MiB or 2 GB; the units are {units}":
        "{word} — не размер вида 500 MiB или 2 GB; единицы: {units}",
    "{word} is no duration such as 7d, 12h, 30m, 90s, 1d12h, or a number of seconds":
        "{word} — не срок вида 7d, 12h, 30m, 90s, 1d12h и не число секунд",
    "{word} is no duration: it must be more than 0 and at most 100 years":
        "{word} — не срок: он должен быть больше 0 и не больше 100 лет",
    "{word} is no share such as 80%": "{word} — не доля вида 80%",
    "{word} is neither a size such as 500 MiB nor a share such as 80%":
        "{word} — не размер вида 500 MiB и не доля вида 80%",
    "needs run, a command, or hook, the name of a step of the project's own":
        "нужно run — команда, или hook — имя действия из проекта",
    "has both run and hook; make them two steps": "заданы и run, и hook; сделайте из них два шага",
    "{hook} has no argument {argument}; it has {arguments}":
        "у {hook} нет аргумента {argument}; есть такие: {arguments}",
    "{hook}: pluggy gives no argument with a default or after *, as {argument} is":
        "{hook}: pluggy не передаёт аргументы со значением по умолчанию или после *, как здесь {argument}",
    "{hook} is async, and nobody would await it; define it with def":
        "{hook} — async, а ждать её некому; определите её через def",
    "a signal needs command beside it: only then is the main process known":
        "для сигнала нужна и command: только с ней известен главный процесс",
    '"reload" needs the key reload: a command, or the name of a signal':
        'для "reload" нужен ключ reload: команда или имя сигнала',
    'is empty; give a program and its arguments, such as ["node", "index.js"]':
        'пусто; задайте программу и её аргументы, например ["node", "index.js"]',
    "{url} is no URL: {error}": "{url} — не URL: {error}",
    "{url} is no URL such as http://localhost:8787": "{url} — не URL вида http://localhost:8787",
    "is no URL; in user and password, percent-encode special characters, such as %23 for #":
        "не URL; специальные символы в имени пользователя и пароле задайте в виде %23 (это #)",
    "{url} has a query or a fragment; paths are put after it, so it has to end before":
        "в {url} есть запрос или фрагмент, а после него добавляются пути; уберите их",
    "{url} has no port": "в {url} нет порта",
    "{url} is no socket such as unix:/run/app.sock": "{url} — не сокет вида unix:/run/app.sock",
    "{url}: only the path of a socket file can be given here, without @ or ~":
        "{url}: здесь можно указать только путь к файлу сокета, без @ и ~",
    "{path} is longer than the {limit} bytes that a socket's path may have":
        "{path} длиннее {limit} байт, допустимых для пути сокета",
    '{ready} is neither a path such as "/health" (other characters percent-encoded) nor "tcp" nor "none"':
        '{ready} — не путь вида "/health" (прочие символы в виде %XX), не "tcp" и не "none"',
    'missing; ready = "{ready}" has to ask somewhere': 'не задано; для ready = "{ready}" нужен адрес',
    'a path needs an http or https url; with {address} use "tcp"':
        'для пути нужен url http или https; для {address} задайте "tcp"',
    "has neither command nor url; there is nothing to check or to start":
        "не заданы ни command, ни url: нечего проверять и нечего запускать",
    "{user} is not a user of this machine": "{user}: на этой машине нет такого пользователя",
    "needs command beside it: auto-heal gives a user only to what it starts":
        "нужна и command: пользователь задаётся только тому, что запускает auto-heal",
    "strict: {why}, and root would run what it says; give it to root, or chmod go-w it":
        "strict: {why}, а root выполнил бы то, что там записано; отдайте файл root или выполните chmod go-w",
    "{path} can be written by the user {user}": "{path} может изменить пользователь {user}",
    "{path} can be written by the group {group}": "{path} может изменить группа {group}",
    "{path} can be written by everyone": "{path} может изменить кто угодно",
    "is no name of an environment variable": "это не имя переменной окружения",
    "{signal} is no signal of this system; SIGTERM and SIGINT are usual":
        "{signal} — не сигнал этой системы; обычные — SIGTERM и SIGINT",
    '{path} is no path such as "/api/health"': '{path} — не путь вида "/api/health"',
    "needs an http or https url, where the version is asked for": "нужен url http или https, чтобы узнать версию",
    "is of no use with verify = false; leave one of them out":
        "не действует вместе с verify = false; уберите одно из двух",
    "there is no file {path}": "нет файла {path}",
    "{path} cannot be read: {problem}": "не удалось прочитать {path}: {problem}",
    "{path} holds no certificate, which in PEM begins with BEGIN CERTIFICATE":
        "в {path} нет сертификата; в PEM он начинается с BEGIN CERTIFICATE",
    # Variables and headers.
    "{file}, line {line}: {problem}": "{file}, строка {line}: {problem}",
    "is not UTF-8": "не в UTF-8",
    "has no name, or one with a space; write NAME=value, as for docker, without `export`":
        "нет имени, или в нём пробел; формат — NAME=value, как для docker, без `export`",
    "holds a NUL character, which no variable can": "содержит символ NUL, недопустимый в переменных",
    "{path} is longer than {limit} bytes, which is too much for an environment":
        "{path} длиннее {limit} байт, это слишком много для переменных окружения",
    "needs ${{{variable}}}, which is set neither in the environment nor in env_file":
        "нужна переменная ${{{variable}}}, но её нет ни в окружении, ни в env_file",
    "is no URL such as https://hc-ping.com/UUID": "не URL вида https://hc-ping.com/UUID",
    "needs at least {least} characters, all of them letters, digits or one of -._~+/=; "
    "`openssl rand -hex 16` makes one":
        "нужно не меньше {least} символов: буквы, цифры и -._~+/=; её создаёт `openssl rand -hex 16`",
    "{name} needs ${{{variable}}}, which is set neither in the environment nor in env_file":
        "для {name} нужна переменная ${{{variable}}}, но её нет ни в окружении, ни в env_file",
    "has a ${{ that begins no ${{NAME}}; for a $ of its own, write $$":
        "есть ${{, с которого не начинается ${{NAME}}; сам знак $ пишется как $$",
    "{name} has a ${{ that begins no ${{NAME}}; for a $ of its own, write $$":
        "в {name} есть ${{, с которого не начинается ${{NAME}}; сам знак $ пишется как $$",
    "needs an http or https url, to which the headers are sent":
        "нужен url http или https: заголовки отправляются туда",
    "{name} is no name of a header": "{name} — не имя заголовка",
    "the value of {name} begins or ends with a space, or has a character other than printable ASCII":
        "значение {name} начинается или кончается пробелом, или в нём не только печатные символы ASCII",
    "{name} is set by auto-heal itself": "{name} задаёт сам auto-heal",
    "{name} is there twice; in names of headers, case does not matter":
        "{name} задан дважды; регистр букв в именах заголовков не важен",
    "has Authorization, and the url has a user or password; keep one":
        "задан Authorization, а в url есть имя или пароль; оставьте одно",
    "there is none; add [{table}] with command and url": "нет ни одного; добавьте [{table}] с command и url",
    "depends_on goes round in a circle: {circle}": "depends_on замкнуто в круг: {circle}",
    "is that of {other} too; each needs its own": "то же, что у {other}; у каждого должно быть своё",
    # The environment.
    "AUTO_HEAL_LANG is {value}; known languages: en, ru": "AUTO_HEAL_LANG равно {value}; допустимы: en, ru",
    "{variable} is {value}; it must be a whole number, {least} or more":
        "{variable} равно {value}; нужно целое число не меньше {least}",
    "{variable} is {value}; it must be a number of seconds, {least} or more":
        "{variable} равно {value}; нужно число секунд не меньше {least}",
    "API_URL is set, but no service is called 'api'; known services: {services}":
        "API_URL задан, но сервиса 'api' нет; есть такие: {services}",
    "AUTO_HEAL is {value}; known values: {values}": "AUTO_HEAL равно {value}; допустимы: {values}",
    "AUTO_HEAL is {value}; with it no check heals, and a drill proves nothing":
        "AUTO_HEAL равно {value}; с этим значением восстановления нет, и учения ничего не покажут",
    "{variable} is set by auto-heal alone; unset it ({error})":
        "{variable} задаёт только сам auto-heal; уберите её ({error})",
    # The probes.
    "needs a text, not {kind}": "нужна строка, а здесь {kind}",
    "{text} is no address such as localhost:8787, [::1]:8787 or /run/app.sock":
        "{text} — не адрес вида localhost:8787, [::1]:8787 или /run/app.sock",
    "needs a list or a text, not {kind}": "нужен список или строка, а здесь {kind}",
    "has a NUL character": "содержит символ NUL",
    "is empty": "пусто",
    "is empty; give a program and its arguments": "пусто; задайте программу и её аргументы",
    "{value} is no finite number": "{value} — не конечное число",
    "{value} is neither a number nor a text": "{value} — не число и не строка",
    "{value} is no limit; give {least} or more": "{value} — не предел; нужно {least} или больше",
    "{value} is no limit; give from {least} to {most}": "{value} — не предел; нужно от {least} до {most}",
    "{folder} is no folder": "{folder} — не папка",
    "{file} does not exist": "файла {file} нет",
    "{name} is no name to ask for: {error}": "{name} — не имя, о котором можно спросить: {error}",
    "{kind} is no kind of record such as A, AAAA, MX or TXT": "{kind} — не вид записи, такой как A, AAAA, MX или TXT",
    "{server} is no name server such as 127.0.0.1 or 127.0.0.1:5353":
        "{server} — не сервер имён вида 127.0.0.1 или 127.0.0.1:5353",
    "is no URL such as redis://localhost:6379/0": "не URL вида redis://localhost:6379/0",
    "is no URL such as redis://localhost:6379/0, rediss://localhost or unix:///run/redis.sock":
        "не URL вида redis://localhost:6379/0, rediss://localhost или unix:///run/redis.sock",
    "is no URL: in user and password, percent-encode special characters, such as %2F for /":
        "не URL: особые знаки в имени и пароле кодируются процентами, например / — как %2F",
    "is no DSN such as postgresql://localhost:5432/app": "не DSN вида postgresql://localhost:5432/app",
    "is no DSN: in user and password, percent-encode special characters, such as %40 for @":
        "не DSN: особые знаки в имени и пароле кодируются процентами, например @ — как %40",
    "has a port that is no number up to 65535": "порт — не число до 65535",
    "has neither one port nor one for each host": "порт должен быть один на всех или у каждого узла свой",
    # The services.
    "no service is called {name}; known services: {services}": "нет сервиса {name}; есть такие: {services}",
    "no service is called {word} in {file}; known services: {services}":
        "в {file} нет сервиса {word}; есть такие: {services}",
    "no service is called {word} in {file}; did you mean {near}?":
        "в {file} нет сервиса {word}; возможно, имелся в виду {near}",
    "no service can be drilled; it needs a command, and a url on this machine":
        "учения проводить не на чем: сервису нужны command и url на этой машине",
    "notify needs a package: pip install apprise": "для notify нужен пакет: pip install apprise",
    # The commands.
    "{options}: runs no check, so there is nothing to {what}":
        "{options}: проверки не выполняются, команде нечего делать",
    "pytest ran without auto-heal's plugin; remove -p no:auto-heal and PYTEST_DISABLE_PLUGIN_AUTOLOAD, "
    "or install it into this environment once more":
        "pytest выполнен без плагина auto-heal; уберите -p no:auto-heal и PYTEST_DISABLE_PLUGIN_AUTOLOAD "
        "или установите его в это окружение ещё раз",
    "a monitor never rolls back, only postdeploy and a single check do":
        "монитор не выполняет откат, его выполняют postdeploy и отдельная проверка",
    "needs --url, where the service answers, such as http://localhost:3000":
        "нужен --url, где отвечает сервис, например http://localhost:3000",
    "{path} is no path such as /health": "{path} — не путь вида /health",
    "{path}: {problem}; name a path that answers 2xx, or leave it out":
        "{path}: {problem}; укажите путь, который отвечает 2xx, или не указывайте его",
    "the path is too long for a crontab; cron takes {limit} bytes a command":
        "путь слишком длинный для crontab: cron принимает команды до {limit} байт",
    "neither a unit nor a crontab can name a path with such characters; rename it":
        "ни юнит, ни crontab не допускают таких символов в пути; переименуйте его",
    "the report {path} is no regular file; it is not replaced": "отчёт {path} — не обычный файл; заменять его нельзя",
    "root can adopt any process; without a terminal to ask on, adopt needs --yes":
        "root может взять под управление любой процесс; без терминала нужен --yes",
    "a drill kills and suspends processes; without a terminal to ask on, it needs --yes":
        "учения убивают и приостанавливают процессы; без терминала нужен --yes",
    "--metrics needs a package: pip install prometheus-client":
        "для --metrics нужен пакет: pip install prometheus-client",
    "{port} is no port; choose one from 1024 to {most}": "{port} — не порт; выберите порт от 1024 до {most}",
    "port {port} of {address} is held by {holder}; stop it, or choose another port":
        "порт {port} на {address} занят: {holder}; остановите этот процесс или выберите другой порт",
    "port {port} of {address} is not open to this user (ID {user}); choose one from 1024 on":
        "порт {port} на {address} недоступен этому пользователю (ID {user}); выберите порт от 1024",
    "port {port} of {address} cannot be listened on: {problem}":
        "порт {port} на {address} занять не удалось: {problem}",
    "port {port} is that of the service {name}; choose another one":
        "порт {port} занят сервисом {name}; выберите другой",
    # The deployment.
    "is no version, which has 1 to {most} printable characters":
        "это не версия: нужно от 1 до {most} печатных символов",
    "{version} is expected already; name the services, as in api={other}":
        "уже ожидается {version}; укажите сервисы, например api={other}",
    "is a symbolic link, which is not followed": "это символическая ссылка, по ней auto-heal не переходит",
    "baseline {file}: cannot be read: {why}": "исходное состояние {file}: не удалось прочитать: {why}",
    "baseline {file}: is none: {error}; `auto-heal predeploy` makes one":
        "исходное состояние {file}: неверный формат: {error}; его записывает `auto-heal predeploy`",
    "baseline {file}: is of another version of auto-heal; `auto-heal predeploy` makes a new one":
        "исходное состояние {file}: записано другой версией auto-heal; новое записывает `auto-heal predeploy`",
    "baseline {file}: is something else, which is not replaced; name another file":
        "исходное состояние {file}: это другой файл, заменять его нельзя; укажите другой",
    "baseline {file}: cannot be written: {problem}": "исходное состояние {file}: не удалось записать: {problem}",
    "baseline {file}: cannot be written, since its folder cannot":
        "исходное состояние {file}: нет права писать в его папку",
}  # fmt: skip

# What a value is, in the sentences above that say what is expected and given; "or" joins several.
KINDS = {
    "a list of strings": "список строк", "a list": "список", "a string": "строка", "one string": "одна строка",
    "a number": "число", "a whole number": "целое число", "a table": "таблица", "a date": "дата", "a time": "время",
    "a list of strings, one string": "список строк, одна строка",
}  # fmt: skip
