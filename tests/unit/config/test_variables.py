"""Variables from outside: a file in docker's format, and references in the values of a service."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from configurations import API, load

from remediation.config.model import Service
from remediation.config.schema import ConfigError
from remediation.engines.spawn import child_environment
from remediation.system import secrets
from remediation.system.secrets import redacted

SECRET = "s3cr3t-9f3a-t0ken"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told no secret yet."""
    monkeypatch.setattr(secrets, "_known", secrets._Register())


def service(root: Path, more: str, *, file: bytes | None = None, **environ: str) -> Service:
    """Return a service that is configured with these lines and this file of variables."""
    if file is not None:
        (root / ".env").write_bytes(file)
        more = f'env_file = ".env"\n{more}'
    return load(root, f"{API}{more}\n", **environ).services["api"]


def refusal(root: Path, more: str, *, file: bytes | None = None, **environ: str) -> str:
    """Return the sentence that refuses the configuration, from its key on."""
    with pytest.raises(ConfigError) as raised:
        service(root, more, file=file, **environ)
    return str(raised.value).removeprefix("auto-heal.toml: services.api.").replace(f"{root.resolve()}/", "")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"A=1\nB=2", {"A": "1", "B": "2"}),
        (b"A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        (b"\xef\xbb\xbfA=1\n", {"A": "1"}),
        (b"A=\"b c\" 'd' \\n $X ${X} # no comment \n", {"A": "\"b c\" 'd' \\n $X ${X} # no comment "}),
        (b"# A=1\n  # B=2\n\n \t\n  C=3\n", {"C": "3"}),
        (b"A=\nB==b=\n", {"A": "", "B": "=b="}),
        (b"A\nB\n", {"A": "from outside"}),
        (b"A=1\nA=2\n", {"A": "2"}),
        ("Ä.b-c=ü\n".encode(), {"Ä.b-c": "ü"}),
        (b"", {}),
    ],
    ids=["lines", "CRLF", "BOM", "verbatim", "comments", "equals", "alone", "twice", "UTF-8", "empty"],
)
def test_a_file_of_variables_is_read_as_docker_reads_it(tmp_path: Path, file: bytes, expected: dict[str, str]) -> None:
    api = service(tmp_path, "", file=file, A="from outside")

    assert api.file_env == expected


def test_a_service_gets_the_variables_of_its_file_and_its_own_take_precedence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "old")
    api = service(tmp_path, 'env = { BOTH = "env" }', file=b"BOTH=file\nINHERITED=file\nPORT=1\n")

    environ = child_environment(api)

    assert [environ[name] for name in ("BOTH", "INHERITED", "PORT", "HOST")] == ["env", "file", "1", "localhost"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"A=1\nexport B=2\n", "env_file: .env, line 2: has no name, or one with a space; write NAME=value, "),
        (b"=x\n", "env_file: .env, line 1: has no name"),
        (b"A B\n", "env_file: .env, line 1: has no name"),
        (b"A=1\n\nB=\xff\n", "env_file: .env, line 3: is not UTF-8"),
        (b"A=a\0b\n", "env_file: .env, line 1: holds a NUL character"),
        (b"A=" + bytes(2_000_000), "env_file: .env is longer than 2000000 bytes"),
    ],
)
def test_a_broken_file_is_refused_by_its_line_which_is_not_shown(tmp_path: Path, file: bytes, expected: str) -> None:
    assert refusal(tmp_path, "", file=file).startswith(expected)
    assert SECRET not in refusal(tmp_path, "", file=f"a {SECRET}\n".encode())


def test_a_file_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for name in ("none", "folder", "pipe"):
        assert refusal(tmp_path, f'env_file = "{name}"') == f"env_file: there is no file {name}"
    assert refusal(tmp_path, "env_file = 1") == "env_file: expected a string, got a whole number"


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.open

    # Root may read everything.
    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == ".env":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path, *arguments, **options)

    (tmp_path / ".env").touch(mode=0)
    monkeypatch.setattr(Path, "open", refuse)

    assert refusal(tmp_path, 'env_file = ".env"') == "env_file: .env cannot be read: Permission denied"


def test_a_file_may_be_a_link_and_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("A=1\n")
    (tmp_path / "link").symlink_to("shared")

    assert service(tmp_path, 'env_file = "link"').file_env == {"A": "1"}
    assert service(tmp_path, f'env_file = "{tmp_path}/shared"').file_env == {"A": "1"}


# References.


def test_references_are_replaced_in_env_headers_and_url_alone(tmp_path: Path) -> None:
    api = service(
        tmp_path,
        'ready = "/${A}"\ncwd = "${A}"\nenv = { "${A}" = "<${A}>" }\nheaders = { X-A = "${A}, ${A}" }\n'
        'evidence = ["${A}"]',
        A="a",
    )

    assert (api.env, api.headers) == ({"${A}": "<a>"}, {"X-A": "a, a"})
    assert (api.ready, api.cwd, api.evidence) == ("/${A}", tmp_path.resolve() / "${A}", ("${A}",))
    text = '[services.api]\nurl = "http://${HOST}:${PORT}"\n'
    assert str(load(tmp_path, text, HOST="h", PORT="99").services["api"].address) == "http://h:99"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$$", "$"), ("$$$$", "$$"), ("$${A}", "${A}"), ("$$${A}", "$a"), ("$A $1 $", "$A $1 $"), ("{A}", "{A}"),
        ("$2y$10$abc", "$2y$10$abc"), ("${A}${B}", "a${A}"), ("${EMPTY}", ""),
    ],
)  # fmt: skip
def test_a_dollar_is_written_as_in_docker_compose(tmp_path: Path, text: str, expected: str) -> None:
    api = service(tmp_path, f'env = {{ X = "{text}" }}', A="a", B="${A}", EMPTY="")

    assert api.env == {"X": expected}


def test_the_environment_is_above_the_file(tmp_path: Path) -> None:
    api = service(tmp_path, 'env = { X = "${A}", Y = "${B}" }', file=b"A=file\nB=file\n", A="outside")

    assert api.env == {"X": "outside", "Y": "file"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('headers = { Authorization = "Bearer ${API_TOKEN}" }', "headers: Authorization needs ${API_TOKEN}, which is "),
        ('env = { API_TOKEN = "${OTHER}" }', "env: API_TOKEN needs ${OTHER}, which is set neither in the environment "),
        ('env = { X = "${A:-b}" }', "env: X has a ${ that begins no ${NAME}; for a $ of its own, write $$"),
        ('env = { X = "${}" }', "env: X has a ${ that "), ('env = { X = "${1}" }', "env: X has a ${ that "),
        ('env = { X = "${A" }', "env: X has a ${ that "), ('env = { X = "${A B}" }', "env: X has a ${ that "),
    ],
)  # fmt: skip
def test_a_variable_that_is_not_set_is_named_with_its_key(tmp_path: Path, more: str, expected: str) -> None:
    assert refusal(tmp_path, more).startswith(expected)


def test_api_url_needs_no_variable_of_the_url_that_it_replaces(tmp_path: Path) -> None:
    text = '[services.api]\nurl = "http://${HOST}"\n'

    assert str(load(tmp_path, text, API_URL="http://h:1").services["api"].address) == "http://h:1"
    with pytest.raises(ConfigError, match=r"services\.api\.url: needs \$\{HOST\}, which"):
        load(tmp_path, text)


# Secrets.


@pytest.mark.parametrize(
    ("more", "file"),
    [
        ("", f"INNOCENT={SECRET}".encode()),
        (f'headers = {{ X-Mine = "{SECRET}" }}', None),
        (f'headers = {{ Authorization = "Bearer {SECRET}" }}', None),
        ('headers = { X-Mine = "Basic ${INNOCENT}" }', f"INNOCENT={SECRET}".encode()),
    ],
)
def test_values_of_a_file_and_of_headers_are_secrets_whatever_their_names(
    tmp_path: Path, more: str, file: bytes | None
) -> None:
    service(tmp_path, more, file=file)

    assert redacted(f"it says {SECRET}.") == "it says ***."


def test_ordinary_values_of_a_file_stay_readable(tmp_path: Path) -> None:
    service(tmp_path, "", file=b"NODE_ENV=production\nPORT=8787\nURL=http://localhost:8787\nHOME=/srv/app\n")

    text = "production at http://localhost:8787, in /srv/app"
    assert redacted(text) == text


# Headers.


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ('"X A" = "b"', "headers: 'X A' is no name of a header"),
        ('"" = "b"', "headers: '' is no name of a header"),
        ('"X:" = "b"', "headers: 'X:' is no name of a header"),
        *(
            (f'X-A = "{value}"', "headers: the value of X-A begins or ends with a space, or has a character other ")
            for value in (" a", "a ", "a\\r\\nX-B: c", "a\\n", "ü", "\\u0001")
        ),
        ('Connection = "x"', "headers: Connection is set by auto-heal itself"),
        ('content-length = "0"', "headers: content-length is set by auto-heal itself"),
        ('X-A = "b"\nx-a = "b"', "headers: x-a is there twice; in names of headers, case does not matter"),
    ],
)
def test_a_header_that_no_request_can_have_is_refused(tmp_path: Path, headers: str, expected: str) -> None:
    assert refusal(tmp_path, f"[services.api.headers]\n{headers}").startswith(expected)


def test_headers_need_requests_and_only_one_kind_of_credentials(tmp_path: Path) -> None:
    header = 'headers = { authorization = "Bearer x" }\n'
    for url, expected in [
        ("tcp://h:1", "needs an http or https url, to which the headers are sent"),
        ("http://u:p@h", "has Authorization, and the url has a user or password; keep one"),
    ]:
        with pytest.raises(ConfigError, match=f"services.api.headers: {expected}"):
            load(tmp_path, f'[services.api]\nurl = "{url}"\n{header}')


def test_a_header_may_be_any_other_and_empty(tmp_path: Path) -> None:
    api = service(tmp_path, 'headers = { Host = "example.com", X-Empty = "", "!#$%" = "a\tb" }')

    assert api.request_headers == {"Host": "example.com", "X-Empty": "", "!#$%": "a\tb"}


@pytest.mark.parametrize("password", ["Corr3ct#Horse", "Corr3ct/Horse", "Corr3ct?Horse", "Corr3ct Horse", "12#Corr3ct"])
def test_a_password_that_is_not_percent_encoded_is_refused_and_no_part_of_it_quoted(
    tmp_path: Path, password: str
) -> None:
    with pytest.raises(ConfigError, match=r"services\.api\.url: .* percent-encode special characters") as raised:
        load(tmp_path, f'[services.api]\nurl = "http://joe:{password}@localhost:8787"\n')

    assert not any(part in str(raised.value) for part in ("Corr3ct", "Horse")), raised.value


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
def test_root_is_warned_of_a_file_that_another_user_may_write(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.touch()
    os.chown(file, 65_534, -1)
    more = f'{API}env_file = ".env"\n'

    assert f"{file.resolve()} can be written by the user nobody" in load(tmp_path, more).untrusted
    with pytest.raises(ConfigError, match=r"^strict: .* can be written by"):
        load(tmp_path, f"strict = true\n{more}")


# The secrets of the project.


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('beat_token = "${T}"\n', "beat_token"),
        ('notify = { heartbeat = "https://hc-ping.com/${T}" }\n', "notify.heartbeat"),
        ('notify = { urls = ["json://host/", "json://host/${T}"] }\n', "notify.urls[1]"),
    ],
)
def test_the_secrets_of_a_project_come_from_the_environment_and_are_masked(
    tmp_path: Path, text: str, place: str
) -> None:
    project = load(tmp_path, text + API, T=SECRET)

    assert SECRET in (
        project.beat_token,
        *project.notify.heartbeat.split("/"),
        *"".join(project.notify.urls).split("/"),
    )
    assert redacted(f"a {SECRET} b") == "a *** b"
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text + API)
    assert str(raised.value) == (
        f"auto-heal.toml: {place}: needs ${{T}}, which is set neither in the environment nor in env_file"
    )


def test_the_secrets_of_a_project_may_be_in_a_file_that_no_service_gets(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"T={SECRET}\n")

    project = load(tmp_path, 'env_file = ".env"\nbeat_token = "${T}"\n' + API)

    assert project.beat_token == SECRET
    assert project.env_files == {tmp_path.resolve() / ".env"}
    assert "T" not in child_environment(project.services["api"]).keys() - os.environ.keys()
    with pytest.raises(ConfigError, match=r"^auto-heal\.toml: env_file: there is no file "):
        load(tmp_path, 'env_file = ".nope"\n' + API)


@pytest.mark.parametrize(
    "url", ["x", "ftp://h/x", "https://", "https://h:0/x", "https://u:p@h/x", "http://h/#f", "http://h/ü"]
)
def test_what_is_no_url_of_a_heartbeat_is_refused_without_quoting_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f'notify = {{ heartbeat = "{url}" }}\n{API}')

    assert str(raised.value) == "auto-heal.toml: notify.heartbeat: is no URL such as https://hc-ping.com/UUID"


@pytest.mark.parametrize("token", ["short", "has a space in it ..", "0123456789abcdeü"])
def test_a_token_that_could_be_guessed_or_sent_wrong_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f'beat_token = "{token}"\n{API}')

    assert str(raised.value).startswith("auto-heal.toml: beat_token: needs at least 16 characters, all of them letters")
    assert token not in str(raised.value)
