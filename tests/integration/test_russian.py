"""Russian: every text has a translation, and a Russian run prints English only for names and machines."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from drilling import QUICK, QUICK_TOP, drilled
from sandbox import REPOSITORY, Sandbox
from watching import watching

import remediation
from remediation.cli.main import parser
from remediation.messages.catalog import CATALOG
from remediation.messages.message import Message
from remediation.messages.text import of_environment
from remediation.messages.texts.help import USAGE
from remediation.messages.texts.mistakes import MISTAKES
from remediation.messages.texts.recorded import ACTIONS, SENTENCES
from remediation.messages.texts.table import TABLE
from remediation.messages.translation import NUMBERS, translated, translated_action, translated_usage

RU = {"AUTO_HEAL_LANG": "ru"}

# Of these, the Russian text is the English one.
ALIKE = {
    "passed": "the old script's, to the letter",
    "passed_showing": "the old script's, to the letter",
    "uptime": "the old script's, to the letter",
    "because": "only values",
    "because_of": "only values",
    "exceeded": "only values",
    "detail": "only a value",
    "pid_file": "only values",
    "surroundings": "only values",
    "changed_bad": "only values",
    "changed_good": "only values",
    "changed_doubtful": "only values",
    "drill_problem": "only values",
    "PID": "an abbreviation that people know",
}

# What a person who reads Russian reads as it is: names, programs, commands, abbreviations, units of the old script.
WORDS = {
    "api", "auto", "heal", "python", "pytest", "process", "girls", "health", "root", "main", "NAME",
    "PID", "OK", "FAIL", "HTTP", "TCP", "TLS", "API", "URL", "JSON", "JUnit", "GET", "POST", "TOML", "Uptime",
    "url", "systemd", "crontab", "cron", "Prometheus", "Ctrl", "C", "seed", "N", "S", "conftest", "py", "xml", "toml",
    "ladder", "latency", "rollback", "check", "plan", "monitor", "predeploy", "postdeploy", "start", "stop", "restart",
    "reload", "status", "adopt", "drill", "pause", "resume", "beat", "report", "init", "start_timeout", "pyproject",
    "command", "ready", "schema", "help", "Schema",
    "free_port", "cwd", "xx", "tool", "gitignore", "server", "log", "reports", "lock", "healthtests", "version",
    "count", "validate", "timeout", "stop_timeout", "depends_on", "budget", "user", "log_file", "http", "https", "tcp",
    "unix", "doctor",
}  # fmt: skip
READ_BY_MACHINES = re.compile(
    r"""`[^`]*`                      # commands
    | https?://\S+ | tcp://\S+       # addresses
    | (?<![\w])/?[\w.~-]*/[\w./~-]+  # paths
    | --?\w[\w=|-]*                  # options
    | \bSIG[A-Z]+\b                  # signals
    | \b[\w-]+\.(?:xml|py|log|toml|json|pid)\b
    | \b\d[\d.]*[smhd]\b             # durations, as the old script and options have them
    | \b\w+@\w+                      # the user
    """,
    re.VERBOSE,
)


def latin(text: str, *allowed: str) -> set[str]:
    """Return the English words in a text for people."""
    words = re.findall(r"[A-Za-z_]*[A-Za-z][\w-]*", READ_BY_MACHINES.sub(" ", text))
    parts = {part for word in words for part in re.split(r"[-\d]+", word) if re.search("[A-Za-z]", part)}
    return parts - WORDS - set(allowed)


def fields(template: str) -> set[str]:
    """Return the names of a template's fields."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


# The texts.


@pytest.mark.parametrize("key", sorted(CATALOG.keys() | TABLE.keys()))
def test_every_text_has_a_russian_one_of_its_own(key: str) -> None:
    text = CATALOG.get(key) or TABLE[key]

    assert (text.en == text.ru) == (key in ALIKE)
    assert not text.en_named or text.en_named != text.ru_named
    assert fields(text.en) == fields(text.ru)


@pytest.mark.parametrize("key", sorted(CATALOG.keys() - ALIKE.keys()))
def test_a_text_that_came_as_english_is_said_in_russian(key: str) -> None:
    values: dict[str, Any] = {name: f"x{number}" for number, name in enumerate(sorted(fields(CATALOG[key].en)))}
    values |= {name: 7 for name in values if name in {*NUMBERS, "checks", "attempts", "names", "failed"}}
    message = Message(key, values)

    assert translated(message.render("en", named=False), "ru") == message.render("ru", named=False)


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("api: its process is not running", "api: процесс сервиса не запущен"),
        ("api: GET /x: connection refused", "api: GET /x: в соединении отказано"),
        ("PID file .p is stale: process 12 is gone", "PID-файл .p устарел: процесс 12 завершился"),
        (
            "api: PID file .p holds sleep (PID 12, user root), which auto-heal did not start; left alone",
            (
                "api: PID-файл .p указывает на sleep (PID 12, пользователь root); auto-heal не запускал этот процесс "
                "и не трогает его"
            ),
        ),
        ("'ci' is not a user of this machine", "'ci': на этой машине нет такого пользователя"),
        (
            "strict: /x can be written by everyone, and root would run what it says; give it to root, or chmod go-w it",
            (
                "strict: /x может изменить кто угодно, а root выполнил бы то, что там записано; отдайте файл root или "
                "выполните chmod go-w"
            ),
        ),
        ("/srv/x can be written by the user ci", "/srv/x может изменить пользователь ci"),
        ("/srv/x can be written by the group 27", "/srv/x может изменить группа 27"),
        ("the list is empty", "the list is empty"),
        ("assert 1 == 2", "assert 1 == 2"),
        ("", ""),
    ],
)
def test_a_reason_of_ours_is_said_in_russian_and_that_of_a_check_as_it_is(english: str, russian: str) -> None:
    assert translated(english, "ru") == russian
    assert translated(english, "en") == english


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("restart", "перезапуск"),
        ("npm ci, restart", "npm ci, перезапуск"),
        ("start by hand", "запуск вручную"),
        ("rollback by git checkout (failed: exited with status 1), restart",
         "откат: git checkout (не удалось: завершился с кодом 1), перезапуск"),
        ("restart in vain (api: its process is gone), then rollback by x",
         "перезапуск: безуспешно (api: процесс сервиса исчез), затем откат: x"),
    ],
)  # fmt: skip
def test_what_was_done_is_said_in_russian(english: str, russian: str) -> None:
    assert translated_action(english, "ru") == russian


def test_what_a_service_says_itself_is_not_translated() -> None:
    died = Message("died_saying", {"name": "api", "command": "x", "how": Message("exited", {"status": 1}),
                                  "last": "connection refused"})  # fmt: skip

    assert died.render("ru", named=True).endswith(": connection refused")
    assert translated(str(died), "ru") == died.render("ru", named=True)


def _said_by_the_code() -> str:
    """Return every string in the code, with a mark where a value stands."""
    found: list[str] = []
    files = [path for path in Path(remediation.__file__).parent.rglob("*.py") if path.parent.name != "texts"]
    for path in [*files, Path(argparse.__file__)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
    return "\n".join(found)


def test_what_is_translated_by_its_english_text_is_what_the_code_says() -> None:
    said = _said_by_the_code()
    wanted = [en for texts in (SENTENCES, MISTAKES, USAGE, ACTIONS) for en in texts]

    def spoken(template: str) -> bool:
        literals = [literal for literal, _, _, _ in Formatter().parse(template)]
        # Where one value follows another, the code may have the words between them in pieces.
        return all(word.strip(":()") in said for literal in literals for word in literal.split())

    assert [template for template in wanted if not spoken(template)] == []


# The runs.


def test_a_healthy_check_is_russian(healthy: Sandbox) -> None:
    assert latin(healthy.auto_heal("check", **RU).output) == set()


def test_a_healed_check_its_status_and_its_report_are_russian(project: Sandbox) -> None:
    checked = project.auto_heal("check", **RU)
    status = project.auto_heal("status", **RU)
    report = project.auto_heal("report", **RU)

    assert checked.code == 0, checked
    assert latin(checked.output) == set()
    assert latin(project.log, "INFO", "WARN", "ERROR", "SUCCESS") == set()
    assert "перезапуск, помогло" in status.output
    assert latin(status.output) == set()
    assert "процесс сервиса не запущен" in report.output
    assert latin(report.output) == set()


@pytest.mark.soak
def test_a_sick_check_a_plan_and_their_report_are_russian(project: Sandbox) -> None:
    project.configure('env = { CRASH = "3" }')
    said = [project.auto_heal(word, **RU).output for word in ("plan", "check", "status", "report")]

    # The service's own last words.
    assert latin("\n".join(said), "no", "database", "at", "all", "x", "b", "mat", "patient") == set()


def test_a_hanging_service_is_reported_in_russian(project: Sandbox) -> None:
    project.configure(top="timeout = 1\nretries = 1")
    project.auto_heal("start")
    project.get("/fall-ill/hang")

    result = project.auto_heal("check", "--no-heal", **RU)

    assert "нет полного ответа за 1 с" in result.output
    assert latin(result.output) == set()


@pytest.mark.soak
def test_stopping_pausing_and_resuming_are_russian(project: Sandbox) -> None:
    words = (["start"], ["stop"], ["check"], ["plan"], ["status"], ["pause", "--for", "1h"], ["status"], ["check"],
             ["resume"], ["restart"], ["pause"], ["resume"])  # fmt: skip
    said = [project.auto_heal(*each, **RU).output for each in words]

    assert latin("\n".join(said)) == set()


@pytest.mark.soak
def test_a_deployment_is_russian(healthy: Sandbox) -> None:
    healthy.configure('version = { path = "/api/health", field = "version" }', top="retries = 1")
    said = [
        healthy.auto_heal("predeploy", **RU).output,
        healthy.auto_heal("postdeploy", "--wait", "0.1", **RU).output,
        healthy.auto_heal("postdeploy", "--wait", "0.1", "--expect-version", "9.9", **RU).output,
    ]

    assert latin("\n".join(said)) == set()


@pytest.mark.soak
def test_a_drill_is_russian(healthy: Sandbox) -> None:
    healthy.configure(QUICK, top=QUICK_TOP)

    result = drilled(healthy, "--fault", "crash", "--fault", "stranger", **RU)

    assert result.code == 0, result
    assert latin(result.output, "crash", "stranger") == set()


def test_a_monitor_is_russian(project: Sandbox) -> None:
    with watching(project, **RU, CHECK_INTERVAL="0.3") as monitor:
        monitor.ends_check(2)
        assert monitor.stop() == 0

    # The old script's line of the uptime is English, to the letter.
    assert latin("\n".join(line for line in monitor.lines if not line.startswith("Uptime: "))) == set()


@pytest.mark.soak
def test_pytests_own_output_has_our_lines_in_russian(healthy: Sandbox) -> None:
    ours = [line for line in healthy.check(**RU).lines if line.startswith("auto-heal: ")]

    assert len(ours) == 2
    assert latin("\n".join(ours)) == set()


@pytest.mark.soak
@pytest.mark.parametrize("ill", [False, True])
def test_what_github_shows_is_russian(project: Sandbox, *, ill: bool) -> None:
    project.configure('env = { CRASH = "3" }' if ill else "")
    summary = project.write("summary.md", "")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(project.root)}

    result = project.auto_heal("check", **github, **RU)

    shown = re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), summary.read_text(encoding="utf-8"))
    assert "| проверка | до | после | попытки | задержка |" in shown
    last_words = ("no", "database", "at", "all", "b", "mat", "x", "patient")
    assert latin(shown, *last_words) == set()
    notes = [line for line in result.lines if line.startswith("::")]
    assert len(notes) == 3
    assert latin("\n".join(notes), "error", "warning", "file", "line", "title", "A", *last_words) == set()


# Help and wrong use.

COMMANDS = (
    "check", "plan", "monitor", "predeploy", "postdeploy", "start", "stop", "restart", "reload", "adopt", "status",
    "drill", "pause", "resume", "beat", "validate", "schema", "report", "init", "help",
)  # fmt: skip
FAULTS = (
    "crash", "hang", "deaf", "child", "orphan", "on", "port", "stranger", "stale", "pid", "reused", "full", "healer",
    "killed",
)  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_russian_fits_80_columns_and_needs_no_configuration(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTO_HEAL_LANG", "ru")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        parser().parse_args([*filter(None, [command]), "--help"])

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert [line for line in text.splitlines() if len(line) > 80] == []
    # Examples are commands.
    shown = re.sub(r"^пример:\n(?:  .*\n)+", "", text, flags=re.MULTILINE)
    assert latin(shown, *FAULTS, "baseline", "k", "m", "h", "d", "xx") == set()


@pytest.mark.parametrize(
    "words", [["bogus"], [], ["report", "--since", "x"], ["drill", "--fault", "crsh"], ["monitor", "--metrics"],
              ["drill", "--rounds", "0"], ["monitor", "--metrics", "99999"], ["init", "--cron", "--systemd"]]
)  # fmt: skip
def test_wrong_use_is_told_in_russian(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTO_HEAL_LANG", "ru")

    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words)

    assert ended.value.code == 4
    said = re.sub(r"'[^']*'", "", capsys.readouterr().err)
    assert latin(said, "x", "d", "h") == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redy = 1", "неизвестный ключ 'redy'; возможно, имелся в виду 'ready'"),
        ("[services.api", "неверный TOML"),
        ("", "нет ни одного; добавьте [services.NAME] с command и url"),
    ],
)
def test_a_wrong_configuration_is_told_in_russian(project: Sandbox, text: str, said: str) -> None:
    project.write("auto-heal.toml", f"[services.api]\nurl = 'http://localhost'\n{text}\n" if "redy" in text else text)

    result = project.auto_heal("start", LANG="ru_RU.UTF-8")

    assert result.code == 4
    assert said in result.output


@pytest.mark.parametrize(
    ("environ", "language"),
    [({"LANG": "ru_RU.UTF-8"}, "ru"), ({"AUTO_HEAL_LANG": "en", "LANG": "ru_RU"}, "en"), ({}, "en"),
     ({"LANG": "C"}, "en"), ({"LC_ALL": "ru", "LANG": "C"}, "ru"), ({"LC_ALL": "", "LANG": "ru"}, "ru")],
)  # fmt: skip
def test_the_language_is_that_of_the_environment_where_no_configuration_is_read(
    environ: dict[str, str], language: str
) -> None:
    assert of_environment(environ) == language


def test_wrong_use_is_told_as_it_is_where_there_is_no_russian_text() -> None:
    assert translated_usage("something new; see auto-heal --help") == "something new; справка: auto-heal --help"


def test_a_healthy_run_does_not_read_what_only_help_and_tables_need() -> None:
    before = (REPOSITORY / "remediation" / "messages" / "catalog.py").read_text(encoding="utf-8")

    assert not {"help", "table", "recorded", "mistakes"} & set(re.findall(r"texts\.(\w+)", before))
