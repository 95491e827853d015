"""Why a check failed: what its service did instead of answering."""

from __future__ import annotations

from remediation.messages.text import ERROR, Text

REASON: dict[str, Text] = {
    # The process.
    "not_running": Text(ERROR, "{name}: its process is not running", "{name}: процесс сервиса не запущен"),
    "replaced": Text(
        ERROR,
        "{name}: its process is not running, and the process that listens on its port does not answer for it",
        "{name}: процесс сервиса не запущен, а процесс, занявший его порт, за него не отвечает",
    ),
    "suspended": Text(
        ERROR, "{name}: its process {pid} is stopped (SIGSTOP)", "{name}: процесс {pid} приостановлен (SIGSTOP)"
    ),
    "stranger": Text(
        ERROR,
        "{name}: {url} is served by {holder}, which is not its own, since it {why}; `auto-heal adopt {name}` takes it "
        "over",
        "{name}: адрес {url} обслуживает чужой процесс {holder}: {why}; взять его под управление: "
        "`auto-heal adopt {name}`",
    ),
    "strangers": Text(
        ERROR,
        "{name}: {url} is served by several processes that could be it: {holder}; "
        "`auto-heal adopt {name} --pid N` takes one over",
        "{name}: адрес {url} обслуживают несколько подходящих процессов: {holder}; взять один из них под управление: "
        "`auto-heal adopt {name} --pid N`",
    ),
    "rivals": Text(
        ERROR,
        "{name}: two servers listen on {url}, so either may answer: {holder}, and beside it {others}",
        "{name}: адрес {url} слушают два сервера, и ответить может любой из них: {holder}, а кроме него {others}",
    ),
    "process_gone": Text(ERROR, "{name}: its process is gone", "{name}: процесс сервиса исчез"),
    "not_listening": Text(
        ERROR,
        "{name}: its process {pid} does not listen on port {port} (url)",
        "{name}: процесс {pid} не слушает порт {port} (url)",
    ),
    "listens_elsewhere": Text(
        ERROR,
        "{name}: its process {pid} listens on {there}, not on {place}; change url, or where it listens",
        "{name}: процесс {pid} слушает {there}, а не {place}; измените url или адрес, который он слушает",
    ),
    "not_listening_socket": Text(
        ERROR,
        "{name}: its process {pid} does not listen on the socket {socket}",
        "{name}: процесс {pid} не слушает сокет {socket}",
    ),
    "run_by_others": Text(
        ERROR,
        "{name}: something else runs it, so its process is not ours to know",
        "{name}: сервисом управляет другая программа, его процесс auto-heal не известен",
    ),
    "known_sick": Text(ERROR, "{names} is already known to be sick", "уже известно, что {names} не работает"),
    # The PID file.
    "no_pid_file": Text(ERROR, "there is no PID file {file}", "нет PID-файла {file}"),
    "pid_file_unreadable": Text(
        ERROR, "PID file {file} cannot be read ({problem}); ignored",
        "не удалось прочитать PID-файл {file} ({problem}); игнорируем его",
    ),
    "not_regular": Text(ERROR, "not a regular file", "это не обычный файл"),
    "pid_file_empty": Text(ERROR, "PID file {file} is empty; ignored", "PID-файл {file} пуст; игнорируем его"),
    "pid_file_without": Text(
        ERROR, "PID file {file} holds no PID; ignored", "в PID-файле {file} нет PID; игнорируем его"
    ),
    "pid_file_stale": Text(
        ERROR, "PID file {file} is stale: process {pid} is gone", "PID-файл {file} устарел: процесс {pid} завершился"
    ),
    "pid_file_nobody": Text(
        ERROR, "PID file {file} is stale: there is no process {pid}", "PID-файл {file} устарел: процесса {pid} нет"
    ),
    "pid_file_foreign": Text(
        ERROR, "PID file {file} holds {holder}, which auto-heal did not start; left alone",
        "PID-файл {file} указывает на {holder}; auto-heal не запускал этот процесс и не трогает его",
    ),
    # Heartbeats.
    "beat_none": Text(
        ERROR, "{beat}: no heartbeat yet; `auto-heal beat {beat}` sends one",
        "{beat}: сигнала ещё не было; его отправляет `auto-heal beat {beat}`",
    ),
    "beat_late": Text(
        ERROR, "{beat}: no heartbeat for {age}, more than {limit}; last {moment}",
        "{beat}: сигнала нет {age}, допустимо {limit}; последний {moment}",
    ),
    "beat_failed": Text(
        ERROR, "{beat}: its work failed with exit code {code}, by its heartbeat of {moment}",
        "{beat}: задание завершилось с кодом {code}, сигнал от {moment}",
    ),
    "beat_future": Text(
        ERROR, "{beat}: its last heartbeat is of the future, {moment}: the clock was set back since",
        "{beat}: последний сигнал из будущего, {moment}: часы с тех пор перевели назад",
    ),
    "beat_name": Text(
        ERROR, "{beat}: no name of a heartbeat, which has up to 64 letters, digits, - and _",
        "{beat}: не имя сигнала: в нём до 64 букв, цифр, - и _",
    ),
    "beat_too_many": Text(
        ERROR, "there are heartbeats of {most} names already; remove what is of no use, .auto-heal/.beat-NAME.json",
        "есть сигналы уже с {most} именами; удалите ненужные, .auto-heal/.beat-ИМЯ.json",
    ),
    "beat_denied": Text(
        ERROR,
        "{beat}: its heartbeat cannot be written to {folder}, which belongs to the user {user}; run this as {user}, "
        "or send it to the monitor's URL",
        "{beat}: сигнал не удалось записать в {folder}: папка принадлежит пользователю {user}; выполните это от имени "
        "{user} или отправьте сигнал монитору по URL",
    ),
    # The answer.
    "late": Text(ERROR, "no whole answer within {seconds}s (timeout)", "нет полного ответа за {seconds} с (timeout)"),
    "timed_out": Text(ERROR, "timed out", "время ожидания истекло"),
    "status": Text(ERROR, "status {status}", "код ответа {status}"),
    "status_refused": Text(
        ERROR, "status {status}; if it asks for credentials, set headers, or user and password in url",
        "код ответа {status}; если нужны учётные данные, задайте headers или имя и пароль в url",
    ),
    "status_redirect": Text(
        ERROR, "status {status}, a redirect to {place}", "код ответа {status}, перенаправление на {place}"
    ),
    "no_socket": Text(ERROR, "there is no such socket", "такого сокета нет"),
    "no_url": Text(ERROR, "it has no url", "у сервиса нет url"),
    "breaks_off": Text(ERROR, "its answer breaks off", "ответ обрывается"),
    "too_long": Text(ERROR, "its answer is longer than {size} bytes", "ответ длиннее {size} байт"),
    "broke_off": Text(ERROR, "the answer broke off: {problem}", "ответ оборвался: {problem}"),
    "bytes_missing": Text(
        ERROR, "{count} bytes are missing after {there}", "не хватает {count} байт после {there}"
    ),
    "end_missing": Text(ERROR, "its end is missing", "нет его конца"),
    "too_big": Text(
        ERROR, "the answer is longer than {size} MiB, which is as much as a check takes in",
        "ответ длиннее {size} МиБ, больше проверка не принимает",
    ),
    "not_decompressed": Text(
        ERROR, "the body cannot be decompressed: {problem}", "тело ответа не удалось распаковать: {problem}"
    ),
    "redirects": Text(ERROR, "redirected more than {times} times", "перенаправлений больше {times}"),
    "redirected": Text(
        ERROR, "redirected to {place}, away from {url}; what is there says nothing of the service",
        "перенаправление на {place} вместо {url}; тамошний ответ ничего не говорит о сервисе",
    ),
    "bad_redirect": Text(ERROR, "what is no URL, {place}", "неверный URL {place}"),
    "unresolved": Text(ERROR, "its name does not resolve: {problem}", "имя хоста не найдено: {problem}"),
    "proxy_unresolved": Text(
        ERROR, "the name of the proxy does not resolve: {problem}", "имя прокси не найдено: {problem}"
    ),
    "closed": Text(ERROR, "it closed the connection without an answer", "соединение закрыто без ответа"),
    "bad_http": Text(ERROR, "no HTTP that can be read: {problem}", "ответ HTTP не удалось разобрать: {problem}"),
    "no_http": Text(ERROR, "no HTTP: its answer begins with {start}", "это не HTTP: ответ начинается с {start}"),
    "speaks_tls": Text(
        ERROR, "it answers in TLS; if it is to be asked so, its url begins with https:",
        "сервис отвечает по TLS; если так и нужно, его url должен начинаться с https:",
    ),
    # JSON.
    "empty_body": Text(
        ERROR, "{what}: status {status} with an empty body, where JSON is expected",
        "{what}: код ответа {status} с пустым телом, ожидается JSON",
    ),
    "bad_body": Text(
        ERROR, "{what}: {problem}; it begins with {start}", "{what}: {problem}; ответ начинается с {start}"
    ),
    "bad_body_status": Text(
        ERROR, "{what}: status {status}, {problem}; it begins with {start}",
        "{what}: код ответа {status}, {problem}; ответ начинается с {start}",
    ),
    "too_deep": Text(ERROR, "its JSON has too many levels", "в JSON слишком много уровней"),
    "no_json_at": Text(
        ERROR, "no JSON: {problem} at line {line}, column {column}",
        "это не JSON: {problem} (строка {line}, столбец {column})",
    ),
    "bad_json": Text(ERROR, "its JSON cannot be read: {problem}", "JSON не удалось прочитать: {problem}"),
    "not_utf8": Text(
        ERROR, "its text is not UTF-8, as JSON has to be ({wrong})", "текст не в UTF-8, как того требует JSON ({wrong})"
    ),
    "not_declared": Text(
        ERROR, "its text is not UTF-8, as JSON has to be ({wrong}), nor is it {declared}",
        "текст не в UTF-8, как того требует JSON ({wrong}), и не в {declared}",
    ),
    "wrong_byte": Text(ERROR, "byte {byte} at {place}", "байт {byte}, позиция {place}"),
    # What a declared check expects.
    "unexpected_status": Text(ERROR, "status {status}, not {expected}", "код ответа {status}, а не {expected}"),
    "with_body": Text(ERROR, "{problem}; the body begins with {start}", "{problem}; тело ответа начинается с {start}"),
    "no_header": Text(ERROR, "the answer has no header {name}", "в ответе нет заголовка {name}"),
    "unexpected_header": Text(
        ERROR, "the header {name} is {value}, without {text}", "заголовок {name} равен {value}, в нём нет {text}"
    ),
    "text_missing": Text(ERROR, "the body does not contain {text}", "в теле ответа нет {text}"),
    "no_match": Text(
        ERROR, "nothing in the body matches {expression}", "в теле ответа ничто не подходит под {expression}"
    ),
    "no_key": Text(ERROR, "the JSON has no {place}", "в JSON нет {place}"),
    "no_item": Text(
        ERROR, "no item of {place} fits {expected}", "ни один элемент {place} не подходит под {expected}"
    ),
    "the_json": Text(ERROR, "the JSON", "JSON"),
    "unexpected_value": Text(ERROR, "{place} is {value}, not {expected}", "{place} равно {value}, а не {expected}"),
    "answers_slowly": Text(
        ERROR, "{what}: took {seconds}s, more than {limit}s (within)",
        "{what}: занимает {seconds} с, больше {limit} с (within)",
    ),
    "not_yet": Text(
        ERROR, "{problem}; a heal follows after {needed} such runs in a row ({times} so far)",
        "{problem}; восстановление начнётся после {needed} таких запусков подряд (пока {times})",
    ),
    "not_yet_long": Text(
        ERROR, "{problem}; a heal follows once this has lasted {needed}s ({lasted}s so far)",
        "{problem}; восстановление начнётся, когда это продлится {needed} с (пока {lasted} с)",
    ),
    "unfinished": Text(
        ERROR, "{what}: it did not end within {seconds}s (timeout)", "{what}: не завершилось за {seconds} с (timeout)"
    ),
    # The version.
    "version_unset": Text(
        ERROR, "it is not configured where its version is told (version)",
        "не задано, где сервис сообщает версию (version)",
    ),
    "no_json": Text(ERROR, "the answer is no JSON", "ответ не JSON"),
    "no_object": Text(ERROR, "the answer is no JSON object", "ответ не объект JSON"),
    "no_field": Text(ERROR, "no field {field} in the answer", "в ответе нет поля {field}"),
    "odd_field": Text(
        ERROR, "the field {field} is neither text nor a number", "поле {field} — не текст и не число"
    ),
    "empty_field": Text(ERROR, "the field {field} is empty", "поле {field} пусто"),
    "takes_longer": Text(ERROR, "takes {now}s, before {before}s", "занимает {now} с, прежде {before} с"),
    # TLS.
    "no_certificates": Text(
        ERROR, "{file} holds no certificate that can be read", "в {file} нет сертификатов, которые можно прочитать"
    ),
    "no_trusted": Text(
        ERROR, "the file of trusted certificates holds no certificate that can be read",
        "в файле доверенных сертификатов нет сертификатов, которые можно прочитать",
    ),
    "no_tls": Text(
        ERROR, "what it answers is no TLS; if it is to be asked without, its url begins with http:",
        "сервис отвечает не по TLS; если так и нужно, его url должен начинаться с http:",
    ),
    "tls_broke": Text(ERROR, "it broke the TLS connection off", "сервис оборвал соединение TLS"),
    "tls_failed": Text(ERROR, "TLS failed: {problem}", "ошибка TLS: {problem}"),
    "cert_early": Text(ERROR, "its certificate is not valid yet", "его сертификат ещё не действителен"),
    "cert_expired": Text(ERROR, "its certificate has expired", "срок действия его сертификата истёк"),
    "cert_revoked": Text(ERROR, "its certificate was revoked", "его сертификат отозван"),
    "cert_purpose": Text(ERROR, "its certificate is not for a server", "его сертификат не для сервера"),
    "cert_name": Text(
        ERROR, "its certificate is for {names}, not for {host}", "его сертификат выдан для {names}, а не для {host}"
    ),
    "cert_names": Text(
        ERROR, "its certificate is for {names} and {count} more, not for {host}",
        "его сертификат выдан для {names} и ещё {count} {count:имени|имён|имён}, а не для {host}",
    ),
    "cert_other": Text(
        ERROR, "its certificate is for somebody else, not for {host}", "его сертификат выдан не для {host}"
    ),
    "cert_signer": Text(
        ERROR, "its certificate is signed by nobody whom this machine trusts; if it should be, set ca_file",
        "его сертификат никем из доверенных на этой машине не подписан; если ему нужно доверять, задайте ca_file",
    ),
    "cert_signer_file": Text(
        ERROR, "its certificate is signed by nobody in {file}", "его сертификат не подписан никем из {file}"
    ),
    "cert_self": Text(
        ERROR, "its certificate is self-signed; to trust it, set ca_file",
        "его сертификат самоподписанный; чтобы доверять ему, задайте ca_file",
    ),
    "cert_self_file": Text(
        ERROR, "its certificate is self-signed, and not the one in ca_file",
        "его сертификат самоподписанный и не тот, что в ca_file",
    ),
    "cert_problem": Text(
        ERROR, "its certificate is not believed: {problem}", "его сертификат не принят: {problem}"
    ),
}  # fmt: skip
