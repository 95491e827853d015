"""Edited checks and configuration take effect in the monitor's next cycle; broken ones are reported once."""

from __future__ import annotations

import signal

import pytest
from sandbox import Sandbox, wait_for
from watching import Statistics, Watching, only_check, watching

SOON = "interval = 0.1\nretries = 1"
NEVER_MIND = "def test_other():\n    pass\n"


@pytest.fixture
def edited(project: Sandbox) -> Sandbox:
    """A project with one check, which heals nothing."""
    project.configure(top=SOON)
    only_check(project, "pass")
    return project


def goes_on(monitor: Watching, cycles: int = 2) -> int:
    """Wait until this many cycles have begun and ended, and return the number of the first of them.

    One more may have begun already: its line is on the way to us.
    """
    begun = monitor.count("Check #") + 1
    monitor.ends_check(begun + cycles)
    return begun + 1


def told_in(monitor: Watching, cycle: int) -> list[str]:
    """Return the output of a cycle."""
    text = "\n".join(monitor.lines)
    return text.partition(f"Check #{cycle} (")[2].partition("Check #")[0].splitlines()


# Checks.


def test_an_edited_check_takes_effect_in_the_next_cycle(edited: Sandbox) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)

        only_check(edited, "assert False, 'edited'")
        cycle = goes_on(monitor)

        assert "test_it: edited" in "\n".join(told_in(monitor, cycle)), monitor
        assert monitor.count("Checks or configuration were edited; reading them again") == 1


def test_an_edited_file_of_variables_takes_effect_in_the_next_cycle(project: Sandbox) -> None:
    project.write(".env", "GREETING=hello\n")
    project.configure('env_file = ".env"\nenv = { SHOWN = "${GREETING}" }', top=SOON)
    shown = 'services.show(greeting=services["api"]._service.env["SHOWN"])'
    project.write("healthtests/test_it.py", f"def test_it(services):\n    {shown}\n")
    with watching(project) as monitor:
        monitor.ends_check(1)

        project.write(".env", "GREETING=hullo\n")
        cycle = goes_on(monitor)

        assert "✅ test_it OK (greeting: hullo)" in told_in(monitor, cycle), monitor
        assert monitor.count("Checks or configuration were edited; reading them again") == 1


def test_a_new_check_is_taken_up_and_a_deleted_one_is_let_go(edited: Sandbox) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)

        other = edited.write("healthtests/test_other.py", NEVER_MIND)
        with_it = goes_on(monitor)
        other.unlink()
        without_it = goes_on(monitor)

        assert "✅ test_other OK" in told_in(monitor, with_it), monitor
        assert "✅ test_other OK" not in told_in(monitor, without_it), monitor
        assert "✅ test_it OK" in told_in(monitor, without_it), monitor


def test_an_edit_that_keeps_size_and_name_takes_effect(edited: Sandbox) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)

        # As editors save: another file takes the place.
        draft = edited.write("draft", (edited.root / "healthtests" / "test_it.py").read_text().replace("_it", "_at"))
        draft.replace(edited.root / "healthtests" / "test_it.py")
        cycle = goes_on(monitor)

        assert "✅ test_at OK" in told_in(monitor, cycle), monitor


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("def test_it(:\n", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)\n", ""),
        ("import os\nos._exit(0)\n", ""),
        ("", ""),
    ],
)
def test_checks_that_cannot_be_collected_are_told_once_and_the_earlier_ones_go_on(
    edited: Sandbox, broken: str, problem: str
) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)

        edited.write("healthtests/test_it.py", broken)
        monitor.says("❌ The checks cannot be collected, going on with the earlier ones: ")
        first = goes_on(monitor, 3)
        edited.write("healthtests/test_it.py", NEVER_MIND)
        mended = goes_on(monitor)

        assert "✅ test_it OK" in told_in(monitor, first), monitor
        assert "✅ test_other OK" in told_in(monitor, mended), monitor
    (told,) = [line for line in monitor.lines if "cannot be collected" in line]
    assert problem in told
    assert "['" not in told
    assert monitor.statistics.errors == 0, monitor


def test_a_module_beside_the_checks_is_watched_too_and_may_be_broken_and_mended(edited: Sandbox) -> None:
    edited.write("wanted.py", "WORD = 'one'\n")
    edited.write("healthtests/test_it.py", "import wanted\n\ndef test_it():\n    assert wanted.WORD != 'three'\n")

    with watching(edited) as monitor:
        monitor.ends_check(1)
        edited.write("wanted.py", "WORD =\n")
        monitor.says("cannot be collected")
        goes_on(monitor)
        edited.write("wanted.py", "WORD = 'three'\n")
        cycle = goes_on(monitor)

        assert "❌ test_it FAIL after 1 attempt" in told_in(monitor, cycle), monitor


@pytest.mark.parametrize(
    ("check", "arguments", "code", "said"),
    [
        ("def test_it(:\n", [], 2, "SyntaxError: invalid syntax"),
        ("def test_it():\n    pass\n", ["--nonsense"], 4, "unrecognized arguments: --nonsense"),
        ("def test_it():\n    pass\n", ["-k", "nothing"], 5, "1 deselected"),
    ],
)
def test_a_monitor_whose_first_collection_fails_ends_as_pytest_does(
    edited: Sandbox, check: str, arguments: list[str], code: int, said: str
) -> None:
    edited.write("healthtests/test_it.py", check)

    with watching(edited, *arguments) as monitor:
        ended = monitor.wait()

    assert ended == code, monitor
    assert monitor.count(said) >= 1, monitor


def test_a_fork_server_that_is_killed_is_replaced(edited: Sandbox) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)
        server = monitor.forkserver()

        server.kill()
        monitor.forkserver(after=server.pid)
        cycle = goes_on(monitor)

        assert "✅ test_it OK" in told_in(monitor, cycle), monitor
        assert monitor.stop() == 0


def test_a_fork_server_that_is_killed_while_the_checks_are_broken_is_replaced_when_they_are_mended(
    edited: Sandbox,
) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)
        edited.write("healthtests/test_it.py", "def test_it(:\n")
        monitor.says("cannot be collected")

        monitor.forkserver().kill()
        monitor.says("cannot be collected", times=2)
        edited.write("healthtests/test_it.py", NEVER_MIND)

        monitor.says("✅ test_other OK")


# Configuration.


def test_an_edited_interval_and_edited_retries_take_effect(edited: Sandbox) -> None:
    only_check(edited, "assert False")

    with watching(edited) as monitor:
        monitor.ends_check(1)

        edited.configure(top="interval = 3600\nretries = 2")
        monitor.says("❌ test_it FAIL after 2 attempts")
        monitor.says("Next check in 3600s...")


BROKEN = "❌ The configuration cannot be used, going on with the earlier one: auto-heal.toml: unknown key 'retrys'"


def test_a_broken_configuration_is_told_once_and_the_earlier_one_kept(edited: Sandbox) -> None:
    with watching(edited) as monitor:
        monitor.ends_check(1)

        edited.configure(top=f"{SOON}\nretrys = 3")
        monitor.says(BROKEN)
        cycle = goes_on(monitor, 3)
        edited.configure(top="interval = 3600")
        monitor.says("Next check in 3600s...")

        assert "✅ test_it OK" in told_in(monitor, cycle), monitor
        assert monitor.count("The configuration cannot be used") == 1, monitor


def test_sighup_reads_the_configuration_again_and_a_shorter_interval_counts_from_the_last_start(
    edited: Sandbox,
) -> None:
    edited.configure(top="interval = 3600")
    with watching(edited) as monitor:
        monitor.ends_check(1)

        edited.configure(top="interval = 3600\nretrys = 3")
        monitor.signal(signal.SIGHUP)
        monitor.says(BROKEN)
        edited.configure(top=f"{SOON}\nlanguage = 'ru'")
        monitor.signal(signal.SIGHUP)
        monitor.says("✅ test_it OK", times=2)
        code = monitor.stop()

    assert code == 0
    assert monitor.lines[-1] == "Мониторинг остановлен", monitor
    assert monitor.count("The configuration cannot be used") == 1, monitor


def test_sighup_in_the_middle_of_a_check_is_no_failure_of_it(edited: Sandbox) -> None:
    # Long enough for the new checks to be collected meanwhile.
    only_check(edited, "pathlib.Path('in').touch(); time.sleep(1.5)")
    edited.configure(top="interval = 3600")

    with watching(edited) as monitor:
        wait_for((edited.root / "in").exists)
        monitor.signal(signal.SIGHUP)
        statistics = monitor.ends_check(1)

    assert statistics == Statistics(checks=1, errors=0, heals=0), monitor
    assert monitor.count("✅ test_it OK") == 1, monitor
