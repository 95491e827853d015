"""What `auto-heal init` writes and says. Whether the checks pass, and harm nobody, the integration tests see."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from answering import serving
from dialects import NOT_FOUND, Reply, talking
from sandbox import REPOSITORY, free_port

from remediation.cli.init import init
from remediation.cli.main import parser
from remediation.config.load import load_project, tomllib
from remediation.config.schema import ConfigError
from remediation.messages.translation import translated

WELL = {"/health": '{"status":"ok","uptime":7}'}


class Outcome(NamedTuple):
    """What a call of the command printed, and the sentence with which it was refused; empty if it was not."""

    lines: list[str]
    refusal: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command in an empty folder."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "API_URL", "AUTO_HEAL_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        given, refusal = parser().parse_args(["init", *arguments]), ""
        try:
            init(
                given.folder, name=given.name, command=given.run, url=given.url, ready=given.ready,
                gitignore=given.gitignore, npm=given.npm,
            )  # fmt: skip
        except ConfigError as error:
            refusal = str(error)
        return Outcome(capsys.readouterr().out.splitlines(), refusal)

    return run


def written(name: str = "api") -> dict[str, Any]:
    """Return the table of a service, whose configuration is valid."""
    load_project(Path.cwd(), {})
    keys: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["auto-heal"]
    return dict(keys["services"][name])


def everything() -> dict[str, str]:
    """Return all files of the project, with their content."""
    paths = [path for path in sorted(Path().rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes().decode() for path in paths}


# What answers.


def test_it_writes_what_fits_and_says_what_it_saw_and_wrote(run: Run) -> None:
    with talking(WELL) as talker:
        outcome = run("--url", talker.url)

    assert written() == {
        "url": talker.url, "ready": "/health", "checks": [{"get": "/health", "json": {"status": "ok"}}],
    }  # fmt: skip
    assert outcome.lines[0].endswith(f" listens on {talker.url}")
    assert outcome.lines[1:] == [
        'GET /health: status 200, application/json: {"status":"ok","uptime":7}',
        "added    [tool.auto-heal.services.api] to pyproject.toml",
        "  [tool.auto-heal.services.api]",
        f'  url = "{talker.url}"',
        '  ready = "/health"',
        "  checks = [",
        '    { get = "/health", json = { status = "ok" } },',
        "  ]",
        "wrote    healthtests/README.md",
        "For .gitignore: /auto-heal.log* /.*.log.lock /reports/ /.auto-heal/",
        "A heal of api now (see `auto-heal plan`):",
        "  would do nothing: api: has neither command nor restart, so it is checked but never healed",
        'To have it healed, add command = ["..."], or restart = ["..."], to its table',
        "Next: auto-heal check",
    ]


def test_the_output_that_the_docs_show_is_what_it_prints(run: Run) -> None:
    page = (REPOSITORY / "docs" / "how-to" / "add-to-a-project.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()

    with talking(WELL) as talker:
        lines = run("--url", talker.url).lines

    assert shown[0].endswith(" listens on http://localhost:3000")
    assert [line.replace(talker.url, "http://localhost:3000") for line in lines[1:]] == shown[1:]


def test_it_leaves_nothing_but_what_it_says_that_it_wrote(run: Run) -> None:
    run("--command", "node index.js", "--url", f"http://localhost:{free_port()}")

    assert everything().keys() == {"pyproject.toml", "healthtests/README.md"}


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({"/health": Reply('{"status":"DOWN"}', 503)}, "So the service is not well; the check passes once it is"),
        (
            {"/health": Reply("Degraded")},
            "So it is not quite well, by its own words; the check looks at the status only",
        ),
        ({"*": Reply("", 401)}, "Only the connection is checked: it asks for credentials; with headers"),
        ({"*": NOT_FOUND}, "Only the connection is checked: no usual health path answers with success"),
        (
            {"/": Reply(status=302, location="https://sso.test/?token=abc")},
            "Only the connection is checked: checks do not follow to https://sso.test/; if",
        ),
        (
            {"/": Reply(status=302, location="/login"), "/login": Reply("<html>")},
            "A login page answers whatever is behind it; add a check of a path that needs no login",
        ),
    ],
)
def test_what_a_person_has_to_know_is_said(run: Run, replies: dict[str, Reply | str], said: str) -> None:
    with talking(replies) as talker:
        outcome = run("--url", talker.url)

    assert [line for line in outcome.lines if line.startswith(said)], outcome
    assert written()["checks"]


@pytest.mark.parametrize("kind", ["text/plain", ""])
def test_the_type_of_an_answer_is_named_if_it_has_one(run: Run, kind: str) -> None:
    with talking({"/health": Reply("OK", type=kind)}) as talker:
        outcome = run("--url", talker.url)

    assert outcome.lines[1] == f"GET /health: status 200{', text/plain' if kind else ''}: OK"


def test_an_answer_cannot_control_the_terminal(run: Run) -> None:
    with talking({"/health": Reply("a\x1b[2J\nb" * 99, type="text/\x1b[2Jx")}) as talker:
        outcome = run("--url", talker.url)

    assert not [line for line in outcome.lines if "\x1b" in line]
    assert max(map(len, outcome.lines)) < 300


def test_a_command_that_does_not_start_what_answers_is_left_out_with_the_reason(run: Run) -> None:
    with talking(WELL) as talker:
        outcome = run("--url", talker.url, "--command", "node index.js")

    assert written().keys() == {"url", "ready", "checks"}
    assert [line for line in outcome.lines if line.startswith(f"The command is left out: {sys.executable}") or (
        line.startswith("The command is left out: ") and f"serves {talker.url}, and " in line)]  # fmt: skip


def test_a_command_for_another_machine_is_left_out_with_the_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediation.system.ports.is_local", lambda _: False)
    with talking(WELL) as talker:
        outcome = run("--url", talker.url, "--command", "node index.js")

    assert "command" not in written()
    assert f"api: {talker.url} is not on this machine" in "\n".join(outcome.lines)


@pytest.mark.parametrize(("path", "why"), [("/helth", "status 404"), ("/old", "status 301, a redirect to '/new'")])
def test_a_ready_path_that_does_not_answer_well_is_refused(run: Run, path: str, why: str) -> None:
    with talking({**WELL, "/old": Reply(status=301, location="/new")}) as talker:
        outcome = run("--url", talker.url, "--ready", path)

    assert outcome.refusal == f"--ready: GET {path}: {why}; name a path that answers 2xx, or leave it out"
    assert everything() == {}


def test_a_ready_path_without_an_answer_stays_and_is_said_to_be_sick(run: Run) -> None:
    with serving() as serve:
        url = f"http://127.0.0.1:{serve(b'').port}"
        lines = run("--url", url, "--ready", "/health").lines

    assert lines[1:3] == [
        "GET /health: no answer: it closed the connection without an answer",
        "So the service is not well; the check passes once it is",
    ]
    assert written() == {"url": url, "ready": "/health", "checks": [{"get": "/health"}]}


# What does not answer yet.


def test_what_is_not_started_yet_gets_only_what_was_asked_for(run: Run) -> None:
    url = f"http://localhost:{free_port()}"

    outcome = run("--command", "python3 server.py", "--url", url, "--ready", "/health", "--name", "shop")

    assert outcome.lines[0] == f"Nothing answers at {url} now: Connection refused"
    assert outcome.lines[-3:] == [
        f"  would start `python3 server.py` in {Path.cwd()}",
        "  would wait up to 30s for 2xx at /health",
        "Next: auto-heal check",
    ]
    assert written("shop") == {"command": ["python3", "server.py"], "url": url, "ready": "/health"}
    # Nothing can be declared of it yet, so its checks are what a person may copy.
    folder = Path("healthtests")
    assert {path.name for path in folder.iterdir()} == {"README.md", "test_health.py", "test_process.py"}
    assert (
        (folder / "test_health.py")
        .read_text()
        .endswith(
            '    response = services["shop"].get("/health")\n\n'
            '    assert response.ok, f"status {response.status_code}"\n'
        )
    )
    assert 'pytest.mark.heals("shop")' in (folder / "test_process.py").read_text()


def test_where_the_folder_is_there_the_checks_of_a_service_that_does_not_answer_are_declared(run: Run) -> None:
    Path("healthtests").mkdir()
    url = f"http://localhost:{free_port()}"

    run("--command", "python3 server.py", "--url", url, "--ready", "/health")

    assert written()["checks"] == [{"get": "/health"}, {"process": True}]
    assert [*Path("healthtests").iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["--command", "worker"], {"command": ["worker"], "checks": [{"process": True}]}),
        (["--url", "tcp://localhost:1"], {"url": "tcp://localhost:1", "ready": "tcp", "checks": [{"tcp": True}]}),
        (["--url", "http://localhost:1"], {"url": "http://localhost:1", "ready": "tcp", "checks": [{"tcp": True}]}),
        (
            ["--url", "http://localhost:1", "--ready", "tcp", "--command", "x"],
            {
                "command": ["x"], "url": "http://localhost:1", "ready": "tcp",
                "checks": [{"tcp": True}, {"process": True}],
            },
        ),
    ],
)  # fmt: skip
def test_where_nothing_is_seen_the_connection_or_the_process_is_checked(
    run: Run, arguments: list[str], keys: dict[str, Any]
) -> None:
    assert run(*arguments).refusal == ""
    assert written() == keys


@pytest.mark.parametrize(
    ("given", "url", "ready"),
    [
        ("http://localhost:1/health", "http://localhost:1", "/health"),
        ("https://localhost:1/shop/actuator/health/", "https://localhost:1/shop", "/actuator/health"),
        ("http://localhost:1/api", "http://localhost:1/api", "tcp"),
        ("http://health:1", "http://health:1", "tcp"),
        ("unix:/run/up", "unix:/run/up", "tcp"),
    ],
)
def test_a_health_path_in_the_url_is_taken_for_what_it_is(run: Run, given: str, url: str, ready: str) -> None:
    run("--url", given)

    assert (written()["url"], written()["ready"]) == (url, ready)


# What is there already.


def test_a_further_service_is_added_and_nothing_else_changes(run: Run) -> None:
    own = b"# mine\r\n[services.web]\r\nurl = 'http://localhost:1' # here"
    Path("auto-heal.toml").write_bytes(own)

    run("--name", "db", "--url", "tcp://localhost:2")

    content = Path("auto-heal.toml").read_bytes()
    assert content.startswith(own + b"\r\n\r\n[services.db]\r\n")
    assert content.count(b"\n") == content.count(b"\r\n")
    assert list(load_project(Path.cwd(), {}).services) == ["web", "db"]
    assert not Path("pyproject.toml").exists()


def test_a_service_of_that_name_is_kept_and_that_is_said(run: Run) -> None:
    run("--url", "http://localhost:1")
    before = everything()

    outcome = run("--url", "http://localhost:2", "--command", "x")

    assert (
        outcome.lines[0]
        == "kept     pyproject.toml: it has [tool.auto-heal.services.api]; --name adds a further service"
    )
    assert everything() == before


def test_files_of_the_project_stay(run: Run) -> None:
    own = {"conftest.py": "# mine\n", "healthtests/test_mine.py": "# mine\n", "pyproject.toml": '[project]\nname = "x"'}
    Path("healthtests").mkdir()
    for name, text in own.items():
        Path(name).write_text(text, encoding="utf-8")

    run("--url", "http://localhost:1")

    after = everything()
    assert after.keys() == own.keys()
    table = '\n\n[tool.auto-heal.services.api]\nurl = "http://localhost:1"\n'
    assert after.pop("pyproject.toml").startswith(own.pop("pyproject.toml") + table)
    assert after == own


def test_a_table_of_auto_heal_without_services_gets_one(run: Run) -> None:
    Path("pyproject.toml").write_text("[tool.auto-heal]\nretries = 1\n", encoding="utf-8")

    assert run("--url", "http://localhost:1").refusal == ""
    assert load_project(Path.cwd(), {}).retries == 1


@pytest.mark.parametrize(
    "text", ["tool = { other = 1 }\n", "[tool.auto-heal]\nservices = { web = { url = 'http://localhost:1' } }\n"]
)
def test_a_table_that_finds_no_place_is_printed_and_nothing_is_written(run: Run, text: str) -> None:
    Path("pyproject.toml").write_text(text, encoding="utf-8")

    outcome = run("--url", "http://localhost:2")

    assert "  [tool.auto-heal.services.api]" in outcome.lines
    assert outcome.refusal.startswith("pyproject.toml: cannot be added to: ")
    assert outcome.refusal.endswith("; add the table above by hand")
    assert everything() == {"pyproject.toml": text}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[services.web", "auto-heal.toml: not valid TOML"),
        ("[services.web]\nredy = 1\n", "unknown key 'redy'; did you mean 'ready'?"),
        ("[services.web]\nurl = 'http://localhost:2'\ncommand = 'x'\n", "services.api.url: is that of web too"),
        ("intervall = 1\n", "unknown key 'intervall'; did you mean 'interval'?"),
    ],
)
def test_a_configuration_that_is_or_becomes_invalid_stays_as_it_is(run: Run, text: str, sentence: str) -> None:
    Path("auto-heal.toml").write_text(text, encoding="utf-8")

    outcome = run("--url", "http://localhost:2", "--command", "x")

    assert sentence in outcome.refusal
    # No table in it, by hand or not, would mend that.
    assert "by hand" not in outcome.refusal
    assert everything() == {"auto-heal.toml": text}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "init: needs --url, where the service answers, such as http://localhost:3000"),
        (["--command", "cd app && npm start"], "init: api.command: cd is for a shell, and no shell runs this"),
        (["--url", "tcp://localhost:1", "--ready", "/x"], "init: api.ready: a path needs an http or https url"),
        (["--url", "http://localhost:1", "--npm"], "package.json: cannot be read: No such file or directory"),
        (["--url", "http://localhost:1", "--command", "caf\udce9"], "--command: not UTF-8, as TOML must be"),
        (["--url", "http://${HOST_X}:1"], "needs ${HOST_X}, which is set neither in the environment nor in env_file"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(run: Run, arguments: list[str], sentence: str) -> None:
    assert sentence in run(*arguments).refusal
    assert everything() == {}


@pytest.mark.parametrize("user", ["ann:geheim-7", "token-7"])
def test_a_password_that_is_written_in_clear_is_named_and_not_printed(run: Run, user: str) -> None:
    with talking(WELL) as talker:
        outcome = run("--url", talker.url.replace("//", f"//{user}@"))

    assert f"//{user}@" in written()["url"]
    assert [line for line in outcome.lines if line.startswith("The password in the url stands there in clear; ${NAME}")]
    assert user not in str(outcome)


@pytest.mark.parametrize("user", ["ann:${SHOP_PASSWORD}@", ""])
def test_a_url_without_a_password_in_clear_is_no_ground_to_warn(
    run: Run, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "geheim-7")
    with talking(WELL) as talker:
        outcome = run("--url", talker.url.replace("//", f"//{user}"))

    assert f'url = "http://{user}' in Path("pyproject.toml").read_text(encoding="utf-8")
    assert "in clear" not in str(outcome)


def test_a_variable_in_the_url_is_written_as_it_was_given(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with talking(WELL) as talker:
        monkeypatch.setenv("SHOP_PORT", str(talker.port))
        run("--url", "http://127.0.0.1:${SHOP_PORT}")

    text = Path("pyproject.toml").read_text(encoding="utf-8")
    assert 'url = "http://127.0.0.1:${SHOP_PORT}"' in text
    assert 'ready = "/health"' in text


def test_a_password_in_the_url_is_written_and_not_shown(run: Run) -> None:
    outcome = run("--url", "http://admin:correct-horse-battery@localhost:1")

    assert written()["url"] == "http://admin:correct-horse-battery@localhost:1"
    assert "correct-horse" not in "\n".join(outcome.lines)


# What stands beside.


def test_what_belongs_into_other_files_is_printed(run: Run) -> None:
    Path("package.json").write_text("{}\n", encoding="utf-8")

    lines = run("--command", "x").lines

    ignored = "/.api-server.pid /api-server.log* /auto-heal.log* /.*.log.lock /reports/ /.auto-heal/"
    assert f"For .gitignore: {ignored}" in lines
    assert 'For package.json: "doctor:auto": "auto-heal check", "doctor:monitor": "auto-heal monitor"' in lines
    assert everything()["package.json"] == "{}\n"


def test_what_belongs_into_other_files_is_written_if_asked_for(run: Run) -> None:
    Path("package.json").write_text('{\n    "name": "shop"\n}\n', encoding="utf-8")

    run("--url", "http://localhost:1", "--gitignore", "--npm")
    before = everything()
    again = run("--gitignore", "--npm")

    assert json.loads(before["package.json"])["scripts"].keys() == {"doctor:auto", "doctor:monitor"}
    assert "/.auto-heal/\n" in before[".gitignore"]
    assert everything() == before
    assert (
        again.lines[0] == "kept     pyproject.toml: it has [tool.auto-heal.services.api]; --name adds a further service"
    )
    assert again.lines[1:3] == [f"kept     {name}: nothing is missing there" for name in (".gitignore", "package.json")]


def test_a_broken_package_json_is_nobodys_affair_unless_it_is_to_be_written(run: Run) -> None:
    Path("package.json").write_text("{", encoding="utf-8")

    refused = run("--url", "http://localhost:1", "--npm")
    written_nothing = everything().keys() == {"package.json"}
    done = run("--url", "http://localhost:1")

    assert refused.refusal.startswith("package.json: not valid JSON")
    assert written_nothing
    assert done.refusal == ""


def test_a_folder_that_is_named_is_made(run: Run) -> None:
    outcome = run("new/my shop", "--url", "http://localhost:1")

    assert "added    [tool.auto-heal.services.api] to new/my shop/pyproject.toml" in outcome.lines
    assert outcome.lines[-1] == "Next: cd 'new/my shop' && auto-heal check"
    assert Path("new/my shop/healthtests/README.md").is_file()


def test_it_is_told_in_russian(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTO_HEAL_LANG", "ru")
    with talking(WELL) as talker:
        lines = run("--url", talker.url).lines

    assert lines[0].startswith(f"{talker.url} слушает ")
    assert lines[1].startswith("GET /health: код ответа 200, application/json: ")
    assert lines[-1] == "Дальше: auto-heal check"


@pytest.mark.parametrize(
    ("arguments", "russian"),
    [
        ([], "init: нужен --url, где отвечает сервис, например http://localhost:3000"),
        (["--url", "http://localhost:1", "--npm"], "package.json: не удалось прочитать: нет такого файла или каталога"),
        (["--url", "http://localhost:1", "--ready", "x"], "--ready: 'x' — не путь вида /health"),
    ],
)
def test_a_refusal_is_told_in_russian(run: Run, arguments: list[str], russian: str) -> None:
    assert translated(run(*arguments).refusal, "ru") == russian


def test_why_a_ready_path_or_a_table_is_refused_is_told_in_russian(run: Run) -> None:
    Path("pyproject.toml").write_text("[tool.auto-heal]\nservices = { web = { url = 'http://localhost:1' } }\n")

    with talking(WELL) as talker:
        path = run("--url", talker.url, "--ready", "/x").refusal
        table = run("--url", talker.url).refusal

    assert translated(path, "ru") == (
        "--ready: GET /x: код ответа 404; укажите путь, который отвечает 2xx, или не указывайте его"
    )
    assert translated(table, "ru").startswith("pyproject.toml: дополнить не удалось: неверный TOML: ")
