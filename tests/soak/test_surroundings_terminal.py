"""A terminal of plain C, one that goes away, and texts from outside that would control it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from junit_schema import SCHEMA
from sandbox import DEADLINE, Result, Sandbox, wait_for
from watching import kill, rows, watching

PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# Escape sequences, line breaks of all kinds, letters that turn the direction, and what XML cannot hold.
HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\rd\ne\u2028f\u202eg\u2066h\x00i\x9bj\ufffek\udcffl"
# All that may drive a terminal or break a line in what is shown.
DRIVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_in_a_locale_of_plain_c_all_is_said_in_escapes(project: Sandbox, language: str) -> None:
    project.configure('pid_file = "пид \\" файл.pid"\nlog_file = "журнал.log"', top="retries = 1")
    project.write("healthtests/test_more.py", 'def test_more():\n    """проверка 🎉"""\n')
    environ = PLAIN_C | {"AUTO_HEAL_LANG": language}

    for words in (["check"], ["restart"], ["status"], ["report"], ["stop"], ["start"]):
        result = project.auto_heal(*words, **environ)

        assert result.code == 0, result
        assert result.output.isascii(), result
    assert int((project.root / 'пид " файл.pid').read_text()) in project.servers()
    assert "\N{PARTY POPPER}" in project.log
    assert project.check().code == 0


def test_a_monitor_says_all_in_escapes_in_a_locale_of_plain_c(healthy: Sandbox) -> None:
    with watching(healthy, **PLAIN_C, AUTO_HEAL_LANG="ru") as monitor:
        wait_for(lambda: monitor.count("\\u0421\\u0442\\u0430\\u0442\\u0443\\u0441") >= 1)
        code = monitor.stop()

    assert code == 0, monitor


# A terminal that goes away.


def started(project: Sandbox, *words: str, terminal: int) -> subprocess.Popen[bytes]:
    """Start `python -m` with a terminal that is not its controlling terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=project.root, env=project.environment(), start_new_session=True,
        stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
def test_a_check_whose_output_nobody_reads_any_more_heals_and_has_its_verdict(project: Sandbox, kind: str) -> None:
    project.configure(top="retries = 1")
    ours, its = os.openpty() if kind == "terminal" else os.pipe()
    process = started(project, "remediation", "check", terminal=its)
    os.close(its)
    try:
        os.read(ours, 1)
        os.close(ours)
        code = process.wait(4 * DEADLINE)
    finally:
        process.kill()
        process.wait()

    assert code == 0, project.log
    assert project.property("verdict") == "healed"
    assert project.answers()


def test_a_monitor_whose_terminal_is_gone_heals_on(healthy: Sandbox) -> None:
    healthy.configure(top="retries = 1\ninterval = 0.3")
    ours, its = os.openpty()
    process = started(healthy, "remediation", "monitor", terminal=its)
    os.close(its)
    try:
        os.read(ours, 1)
        os.close(ours)
        kill(healthy)
        wait_for(lambda: "🎉" in healthy.log)
        process.terminate()
        code = process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()

    assert code == 0, healthy.log
    assert healthy.servers() == [healthy.pid]


# Texts from outside.


def is_harmless(text: str) -> None:
    """Assert that no line can control a terminal."""
    assert not DRIVES.search(text.replace("\t", " ")), repr(text)


@pytest.fixture
def attacked(project: Sandbox) -> Sandbox:
    """A project whose check fails with a hostile text, after a failed start that logged one too."""
    project.configure('env = { CRASH = "1" }\nstart_timeout = 5', top="retries = 2")
    project.write(
        "healthtests/test_more.py",
        f"import pytest\n\n\n@pytest.mark.heals('api')\ndef test_more():\n    print({HOSTILE!a})\n"
        f"    pytest.fail({HOSTILE!a}, pytrace=False)\n",
    )
    (project.root / "api-server.log").write_bytes(HOSTILE.encode(errors="surrogateescape"))
    return project


def test_hostile_texts_reach_terminal_log_report_and_history_visibly(attacked: Sandbox) -> None:
    result = attacked.auto_heal("check")

    assert result.code == 1, result
    is_harmless(result.output.replace("\n", ""))
    is_harmless(attacked.log.replace("\n", ""))
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[[A-Z]+\] ", line) for line in attacked.log.splitlines())
    report = attacked.root / "reports" / "health.xml"
    SCHEMA.validate(report)
    message = ET.parse(report).getroot().findall(".//testcase[@name='test_more']/failure")[0].get("message") or ""
    assert "\x1b" not in message
    assert rows(attacked, "SELECT 1 FROM results WHERE message LIKE '%title%'")
    shown = attacked.auto_heal("report")
    is_harmless(shown.output.replace("\n", ""))


def test_a_monitor_shows_hostile_texts_visibly(attacked: Sandbox) -> None:
    with watching(attacked) as monitor:
        monitor.ends_check(1)

    is_harmless("".join(monitor.lines))


def test_status_and_a_stranger_of_a_hostile_name_are_shown_visibly(project: Sandbox) -> None:
    rename = "ctypes.CDLL(None).prctl(15, b'a\\x1b[31m\\nb', 0, 0, 0)"
    script = f"import ctypes, time; {rename}; time.sleep(600)"
    stranger = project.stranger(sys.executable, "-c", script)
    wait_for(lambda: b"\x1b" in Path(f"/proc/{stranger.pid}/comm").read_bytes())
    project.write(".api-server.pid", f"{stranger.pid}\n")

    result: Result = project.auto_heal("check")

    assert result.code == 0, result
    is_harmless(result.output.replace("\n", ""))
    assert stranger.poll() is None
