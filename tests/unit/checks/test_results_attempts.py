"""A failed attempt, as auto-heal builds it from pytest's report."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, Literal, cast

import msgspec
import pytest

from remediation.checks.errors import Slower
from remediation.checks.results import Attempt, Attempts, attempt, first_line, label, note
from remediation.supervision.attempt_log import NOTE

Phase = Literal["setup", "call", "teardown"]


def crash(message: str, text: str = "the whole traceback") -> Any:
    """Return pytest's form of an exception: a text, and where and how it broke."""

    class Broken(str):
        __slots__ = ()
        reprcrash = SimpleNamespace(message=message)

    return Broken(text)


def report(
    outcome: str = "failed",
    *,
    longrepr: Any = "text",
    when: Phase = "call",
    noted: dict[str, Any] | None = None,
    rerun: int | None = None,
) -> pytest.TestReport:
    """Return a report of pytest, with the additions of plugins."""
    made = pytest.TestReport(
        nodeid="test_x.py::test_a", location=("test_x.py", 1, "test_a"), keywords={},
        outcome=cast("Any", outcome), longrepr=longrepr, when=when, start=100.0,
    )  # fmt: skip
    if noted is not None:
        setattr(made, NOTE, noted)
    if rerun is not None:
        made.rerun = rerun  # type: ignore[attr-defined]
    return made


def failed(**of: Any) -> Attempt:
    """Return the attempt of a report."""
    found = attempt(report(**of))
    assert found is not None
    return found


def item(doc: str | None = None, *, parameters: str | None = None) -> pytest.Item:
    """Return the part of an item that a label needs."""

    def test_a() -> None:
        pass

    test_a.__doc__ = doc
    name = f"test_a[{parameters}]" if parameters else "test_a"
    fake = SimpleNamespace(obj=test_a, name=name, stash=pytest.Stash())
    if parameters:
        fake.callspec = SimpleNamespace(id=parameters)
    return cast("pytest.Item", fake)


# What a report tells.


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_a_pass_and_a_skip_are_no_failed_attempts(outcome: str) -> None:
    assert attempt(report(outcome)) is None


@pytest.mark.parametrize(("outcome", "final"), [("failed", True), ("rerun", False)])
def test_an_attempt_is_final_if_no_other_follows(outcome: str, *, final: bool) -> None:
    assert failed(outcome=outcome).final is final


@pytest.mark.parametrize(("when", "error"), [("setup", True), ("call", False), ("teardown", True)])
def test_a_failure_around_the_check_is_an_error(when: Phase, *, error: bool) -> None:
    assert failed(when=when).error is error


@pytest.mark.parametrize(
    ("longrepr", "kind", "message"),
    [
        (crash("ValueError: no such port"), "ValueError", "no such port"),
        (crash("assert 1 == 2"), "AssertionError", "assert 1 == 2"),
        (crash("ValueError"), "ValueError", "ValueError"),
        (crash("KeyError: ValueError: x"), "KeyError", "ValueError: x"),
        ("ServiceDown: api: gone", "ServiceDown", "api: gone"),
        ("\n\nfirst line\nsecond line\n", "Failed", "first line"),
        ("[XPASS(strict)] ", "", "[XPASS(strict)]"),
    ],
)
def test_a_message_is_the_sentence_without_its_type(longrepr: Any, kind: str, message: str) -> None:
    assert failed(longrepr=longrepr, noted={"type": kind}).message == message


@pytest.mark.parametrize(
    "longrepr",
    ["", "\n \n", None, crash(""), crash("Failed: "), crash(" \n")],
    ids=["empty", "blank", "none", "empty-crash", "type-alone", "blank-crash"],
)
def test_a_message_is_never_empty(longrepr: Any) -> None:
    assert failed(longrepr=longrepr, noted={"type": "Failed"}).message.strip()


def test_a_failure_without_a_text_has_none() -> None:
    assert not failed(longrepr=None).text


def test_the_whole_text_is_kept() -> None:
    assert failed(longrepr=crash("boom", text="line 1\nline 2")).text == "line 1\nline 2"


@pytest.mark.parametrize("noted", [None, {}, {"type": ""}])
def test_a_report_without_a_note_says_what_it_can(noted: dict[str, Any] | None) -> None:
    found = failed(noted=noted)

    assert (found.check, found.type, found.heals) == ("test_x.py::test_a", "Failed", {})


def test_a_note_tells_the_check_its_type_and_what_it_heals() -> None:
    found = failed(noted={"check": "/api/health", "type": "ServiceDown", "heals": {"api": 2}}, rerun=1)

    assert (found.check, found.type, found.heals, found.number) == ("/api/health", "ServiceDown", {"api": 2}, 1)


def test_an_attempt_survives_the_way_to_the_first_round_whatever_its_text_holds() -> None:
    # A file name that is no UTF-8 reaches a failure's text as lone surrogates.
    found = failed(longrepr=crash("no file \udcff", text="\ud800\x00\x1b[31m\ufffe"))

    travelled = msgspec.json.decode(msgspec.json.encode([found]), type=list[Attempt])

    assert travelled == [found]


def test_an_attempt_without_a_note_was_not_slow_alone_and_one_with_it_is_what_it_says() -> None:
    assert not failed().only_slower
    assert failed(noted={"only_slower": True}).only_slower
    assert not Attempt("t", "t", False, "", "", "", 0.0, True, 0, {}).only_slower


def test_an_attempt_has_the_number_of_its_note_or_of_its_report_or_is_the_first() -> None:
    assert failed(noted={"number": 2}, rerun=1).number == 2
    assert failed(rerun=1).number == 1
    assert failed().number == 0


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (r"assert 'a\nb\r\nc' == 'a\nfine'", "assert 'a↵b↵c' == 'a↵fine'"),
        (r"it begins with '<html>\n<head>'", "it begins with '<html>↵<head>'"),
        (r"""assert "it's\nso" in 'x'""", """assert "it's↵so" in 'x'"""),
        (r"assert 'C:\\new' == 'a\tb'", r"assert 'C:\\new' == 'a\tb'"),
        (r"assert 'cut\noff", "assert 'cut↵off"),
        (r"C:\new is missing", r"C:\new is missing"),
        ("assert <shop.Foo object at 0x7fb0c01dac50> == 3", "assert <shop.Foo object> == 3"),
        ("assert <function get at 0x7f11>() is None", "assert <function get at 0x7f11>() is None"),
        ("<HTTPConnection(port=1) at 0x7fa500142710>: refused", "<HTTPConnection(port=1)>: refused"),
        ("the flag is 0xdeadbeef", "the flag is 0xdeadbeef"),
    ],
)
def test_a_message_has_neither_escaped_line_ends_nor_addresses_of_objects(message: str, shown: str) -> None:
    assert failed(longrepr=crash(message)).message == shown


def test_a_message_is_cut_and_a_text_is_not() -> None:
    found = failed(longrepr=crash("x" * 2001, text="x" * 2001))

    assert (len(found.message), len(found.text)) == (2000, 2001)


def test_a_message_is_the_line_that_pytest_marks_or_the_first() -> None:
    assert failed(longrepr="def test_a():\nE   no answer\nE   at all").message == "no answer"
    assert failed(longrepr="no answer\nat all").message == "no answer"


def test_the_first_line_of_a_failure_is_that_of_its_message() -> None:
    assert first_line(report(longrepr=crash("no answer\nat all"))) == "no answer"


# Labels and notes.


@pytest.mark.parametrize(
    ("doc", "parameters", "name"),
    [
        (None, None, "test_a"),
        ("  \n ", None, "test_a"),
        ("/api/health", None, "/api/health"),
        ("\n    The first line.\n\n    The rest.", None, "The first line"),
        ("/api/girls", "a::b/c.py", "/api/girls [a::b/c.py]"),
        (None, "x", "test_a[x]"),
    ],
)
def test_a_check_is_called_by_the_first_line_of_its_docstring_or_by_its_name(
    doc: str | None, parameters: str | None, name: str
) -> None:
    assert label(item(doc, parameters=parameters)) == name


def test_a_check_whose_docstring_is_nothing_but_dots_is_called_by_its_name() -> None:
    assert label(item("...")) == "test_a"


@pytest.mark.parametrize(("broken", "kind"), [(True, "ZeroDivisionError"), (False, "")])
def test_a_note_is_plain_enough_to_travel_from_a_worker(*, broken: bool, kind: str) -> None:
    call = pytest.CallInfo[float].from_call(lambda: 1 / (not broken), "call")

    made = note(item("/api"), call, heals={"api": 1}, services=["api"])

    assert json.loads(json.dumps(made)) == made
    assert (made["check"], made["type"], made["heals"]) == ("/api", kind, {"api": 1})


@pytest.mark.parametrize("parameters", ["x", None])
def test_brackets_in_a_docstrings_check_are_parameters_only_if_it_has_any(parameters: str | None) -> None:
    fake = item("/api", parameters=parameters)
    if parameters is None:
        fake.name = "test_a[x]"

    assert label(fake) == ("/api [x]" if parameters else "/api")


def test_a_parametrized_check_whose_name_has_no_brackets_is_called_by_its_docstring() -> None:
    fake = item("/api", parameters="x")
    fake.name = "test_a"

    assert label(fake) == "/api"


@pytest.mark.parametrize(("attempts", "number"), [({}, 0), ({"execution_count": 1}, 0), ({"execution_count": 3}, 2)])
def test_a_note_has_the_number_of_the_attempt_from_zero_on(attempts: dict[str, int], number: int) -> None:
    fake = item("/api")
    vars(fake).update(attempts)
    call = pytest.CallInfo[None].from_call(lambda: None, "call")

    made = note(fake, call, heals={}, services=["api"], latency=0.25)

    assert (made["number"], made["services"], made["latency"]) == (number, ["api"], 0.25)


@pytest.mark.parametrize(("error", "slower"), [(Slower("late"), True), (ValueError("ill"), False), (None, False)])
def test_a_note_tells_whether_the_check_was_slow_alone(error: Exception | None, *, slower: bool) -> None:
    def check() -> None:
        if error:
            raise error

    call = pytest.CallInfo[None].from_call(check, "call")

    assert note(item(), call, heals={}, services=[])["only_slower"] is slower


# Together.


def test_only_final_failures_count_and_name_the_sick_services() -> None:
    attempts = Attempts()
    attempts.add(failed(outcome="rerun", rerun=0, noted={"number": 0, "heals": {"db": 0}}))
    assert (attempts.failures, attempts.failed_services) == (0, set())

    attempts.add(failed(noted={"number": 1, "heals": {"api": 0, "web": 0}}))

    assert (attempts.failures, attempts.failed_services) == (1, {"api", "web"})


def test_a_teardown_that_fails_after_a_repeated_attempt_does_not_make_it_final() -> None:
    attempts = Attempts()

    attempts.add(failed(outcome="rerun", rerun=0))
    attempts.add(failed(when="teardown", rerun=0))

    assert not attempts.all[0].final


def test_a_teardown_that_fails_as_well_joins_its_attempt() -> None:
    attempts = Attempts()

    attempts.add(failed(longrepr="in the check", rerun=1))
    attempts.add(failed(longrepr="in teardown", when="teardown", rerun=1))

    (joined,) = attempts.all
    assert joined.text == "in the check\n\nin teardown"
    assert not joined.error
    assert joined.final


@pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 2, 1]])
def test_attempts_of_other_numbers_stay_apart_and_in_order(numbers: list[int]) -> None:
    attempts = Attempts()

    for number in numbers:
        attempts.add(failed(outcome="rerun", rerun=number))

    assert [known.number for known in attempts.all] == numbers


def test_an_attempt_that_is_repeated_is_not_final_although_a_subtest_of_it_failed_before() -> None:
    attempts = Attempts()

    attempts.add(failed(longrepr="a subtest", rerun=0))
    attempts.add(failed(outcome="rerun", longrepr="contains 1 failed subtest", rerun=0))

    (joined,) = attempts.all
    assert not joined.final
