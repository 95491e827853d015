"""The report of whole runs: valid by the schema, true, and the source of the exit code."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from junit_schema import SCHEMA
from junitparser import xunit2
from sandbox import Sandbox, sandbox

# Each check counts how often it was tried, so that it can fail at a known attempt in a known round.
PREAMBLE = """
import os, pathlib, pytest, signal
heals = pytest.mark.heals("api")
def nth(name):
    with open(name + ".tried", "a") as file: file.write("x")
    return os.path.getsize(name + ".tried")
"""
# Two attempts a round, two rounds.
HAS_SUBTESTS = pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest has subtests since 9.0")
CHECKS = r"""
def test_well(record_property): record_property("name\x00\x1b[31m", "value\x1b")
def test_flaky(): assert nth("flaky") > 1
@heals
def test_healed(): assert nth("healed") > 2
def test_sick(): assert nth("sick") == 0, "\x00\x1b[31m\ufffe <&>\"' ]]> привет"
def test_down(): pytest.fail("api: gone", pytrace=False)
@heals
def test_skip_after_failure():
    if nth("skip") > 2: pytest.skip("not now")
    raise ValueError
def test_skipped(): pytest.skip("never")
@pytest.mark.xfail
def test_xfail(): assert False
@pytest.fixture
def bad_setup(): raise OSError(2, "no such thing")
def test_setup(bad_setup): pass
def test_fixture(nonesuch): pass
@pytest.fixture
def bad_teardown():
    yield
    raise RuntimeError("left a mess")
def test_teardown(bad_teardown): pass
class TestClass:
    class TestInner:
        def test_method(self): assert nth("method") > 1
@pytest.mark.parametrize("value", ["a::b/c.py", "с пробелом", " ", "[", "]x[", "<&>", "\x00\x7f", "x.py"])
def test_odd(value): assert nth("odd" + str([ord(letter) for letter in value])) > 1
def test_subtests(subtests):
    with subtests.test("broken"): raise KeyError(f"attempt {nth('subtests')}")
    with subtests.test("skipped"): pytest.skip("not here")
"""
EXPECTED: dict[str, tuple[str, ...]] = {
    "test_well": (),
    "test_healed": ("flakyFailure",) * 2,
    "test_skip_after_failure": ("failure", "rerunFailure"),
    **dict.fromkeys(["test_flaky", "test_method", "test_odd"], ("flakyFailure",)),
    **dict.fromkeys(["test_sick", "test_down", "test_subtests"], ("failure", *["rerunFailure"] * 3)),
    **dict.fromkeys(["test_setup", "test_fixture", "test_teardown"], ("error", *["rerunError"] * 3)),
    **dict.fromkeys(["test_skipped", "test_xfail"], ("skipped",)),
}
PREFIXED = ["--junitprefix=staging", "-o", "junit_logging=all"]


def checks(project: Sandbox, text: str, *, top: str = "retries = 1") -> None:
    """Replace the project's checks by these, and its service by one whose restart always succeeds."""
    for shipped in (project.root / "healthtests").iterdir():
        shipped.unlink()
    project.write("healthtests/test_x.py", PREAMBLE + text)
    project.configure('ready = "none"', top=top, command='restart = ["true"]')


def valid(project: Sandbox, name: str = "reports/health.xml") -> ET.Element:
    """Return the suite of a report that matches the schema and whose counters agree with its cases."""
    SCHEMA.validate(str(project.root / name))
    suite = ET.parse(project.root / name).getroot()[0]
    counted = [len(suite.findall(f"testcase{below}")) for below in ("", "/failure", "/error", "/skipped")]
    assert [int(suite.get(counter, "")) for counter in ("tests", "failures", "errors", "skipped")] == counted
    return suite


def cases(suite: ET.Element, name: str) -> list[ET.Element]:
    """Return the cases of a check, one for each of its parameters."""
    return [case for case in suite.iterfind("testcase") if case.get("name", "").partition("[")[0] == name]


def tags(case: ET.Element) -> tuple[str, ...]:
    """Return the attempts of a case."""
    return tuple(child.tag for child in case if not child.tag.startswith("system-"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param([], id="plain"),
        pytest.param(["-n", "2"], id="xdist", marks=pytest.mark.soak),
        pytest.param(PREFIXED, id="prefixed"),
    ],
)
def everything(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A project with a report of two rounds that has every possible result of a check."""
    for project in sandbox(tmp_path_factory.mktemp("everything")):
        checks(project, CHECKS, top="retries = 2\nretry_delay = 0")
        result = project.check(*request.param, PYTHONIOENCODING="utf-8")
        assert result.code == 1, result
        yield project


# Everything in one run.


def test_the_report_of_everything_is_valid_and_lacks_nothing(everything: Sandbox) -> None:
    suite = valid(everything)

    assert {case.get("name", "").partition("[")[0] for case in suite.iterfind("testcase")} == set(EXPECTED)
    assert len(cases(suite, "test_odd")) == 8


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=HAS_SUBTESTS if name == "test_subtests" else ()) for name in EXPECTED]
)
def test_a_case_tells_of_every_attempt(everything: Sandbox, name: str) -> None:
    for case in cases(everything.report, name):
        assert tags(case) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("test_healed", "AssertionError", "assert 1 > 2\n +  where 1 = nth('healed')"),
        ("test_down", "Failed", "api: gone"),
        ("test_setup", "FileNotFoundError", "[Errno 2] no such thing"),
        ("test_fixture", "FixtureLookupError", "fixture 'nonesuch' not found"),
        pytest.param("test_subtests", "KeyError", "'attempt 1'", marks=HAS_SUBTESTS),
    ],
)
def test_an_attempt_says_what_happened(everything: Sandbox, name: str, kind: str, message: str) -> None:
    (case,) = cases(everything.report, name)

    first = next(child for child in case if child.tag.startswith(("rerun", "flaky")))

    assert (first.get("type"), first.get("message")) == (kind, message)


@HAS_SUBTESTS
def test_a_final_failure_shows_the_last_attempt_and_its_subtests(everything: Sandbox) -> None:
    (case,) = cases(everything.report, "test_subtests")

    assert "KeyError: 'attempt 4'" in str(case.findtext("failure"))


def test_another_reader_sees_the_same(everything: Sandbox) -> None:
    (suite,) = xunit2.JUnitXml.fromfile(str(everything.root / "reports" / "health.xml"))
    seen = {case.name: case for case in suite}

    counted = [sum(map(is_so, suite)) for is_so in (lambda case: case.is_failure, lambda case: case.is_error)]
    assert [suite.tests, suite.failures, suite.errors] == [len(seen), *counted]
    assert seen["test_healed"].is_passed
    assert not seen["test_sick"].is_passed


# One thing at a time.


def test_a_failure_whose_teardown_fails_as_well_is_one_case_with_both_texts_and_the_output(project: Sandbox) -> None:
    mess = "@pytest.fixture\ndef mess():\n    yield\n    raise OSError('in teardown')\n"
    checks(project, f"{mess}def test_a(mess): print(9, 9); [][7]")

    assert project.check("-o", "junit_logging=all").code == 1

    (case,) = valid(project).iterfind("testcase")
    assert tags(case) == ("failure",)
    assert "IndexError: list index" in str(case.findtext("failure"))
    assert "OSError: in teardown" in str(case.findtext("failure"))
    assert "9 9" in str(case.findtext("system-out"))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("@heals\ndef test_a(): assert nth('a') > 2", "healed"),
        pytest.param(
            "def test_a(subtests):\n    with subtests.test('sub'): assert nth('a') > 1", "healthy", marks=HAS_SUBTESTS
        ),
    ],
)
def test_a_check_that_passes_in_the_end_is_a_pass(project: Sandbox, text: str, verdict: str) -> None:
    checks(project, text, top="retries = 2")

    result = project.check()

    assert result.code == 0, result
    assert {tag for case in valid(project).iterfind("testcase") for tag in tags(case)} == {"flakyFailure"}
    assert project.property("verdict") == verdict


@pytest.mark.parametrize("path", ["deep/other.xml", "$WHERE/other.xml"])
def test_properties_go_to_the_suite_and_the_report_where_pytest_would_write_it(project: Sandbox, path: str) -> None:
    recorded = "record_property('x', 1); record_testsuite_property('build', 7)"
    checks(project, f"def test_a(record_property, record_testsuite_property): {recorded}")

    result = project.check(f"--junitxml={path}", WHERE="deep")

    assert result.code == 0, result
    properties = valid(project, "deep/other.xml").iterfind("properties/property")
    assert [found.get("name") for found in properties] == ["build", "auto-heal.verdict", "auto-heal.rounds"]


@pytest.mark.parametrize("link", [True, False])
def test_a_stale_report_is_gone_before_the_first_check_and_no_link_followed(project: Sandbox, *, link: bool) -> None:
    checks(project, "def test_a():\n    assert not os.path.lexists('reports/health.xml')\n")
    precious, report = project.write("precious.xml", "precious"), project.write("reports/health.xml", "stale")
    if link:
        report.unlink()
        report.symlink_to(precious)

    result = project.check()

    assert result.code == 0, result
    assert not report.is_symlink()
    assert precious.read_text() == "precious"


WRITES_FIRST = """
import os, pathlib, runpy, sys, time
time.sleep(0.1)
report = pathlib.Path("reports/health.xml")
report.parent.mkdir(exist_ok=True)
report.write_text("of another run")
if sys.argv.pop(1) == "later":
    os.utime(report, (time.time() + 3600,) * 2)
runpy.run_module("pytest", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("written", "left"), [("now", True), ("later", False)])
def test_a_report_that_another_run_writes_at_the_same_time_is_left_to_it(
    project: Sandbox, written: str, *, left: bool
) -> None:
    project.write("first.py", WRITES_FIRST)

    result = project.run("first", written, "healthtests", "--no-such-option")

    assert result.code == 4, result
    assert (project.root / "reports/health.xml").exists() is left


@pytest.mark.parametrize(("text", "code"), [("import no", 2), ("", 5), ("pytest.skip('', allow_module_level=True)", 5)])
def test_the_report_of_a_run_that_checks_nothing_is_valid(project: Sandbox, text: str, code: int) -> None:
    checks(project, text)

    assert project.check().code == code

    assert valid(project).get("failures") == "0"


# Runs that do not get to their end.
KILL = "os.kill(os.getpid(), signal.SIGINT)"
EXIT = "pytest.exit('enough', returncode=0)"
CUT_SHORT = """
@pytest.fixture
def some(): {}
def test_a(): pass
@heals
def test_b(some): {}
def test_c(): pass
"""


@pytest.mark.parametrize(
    ("fixture", "check", "options", "code"),
    [
        (KILL, "pass", [], 2),
        ("pass", KILL, [], 2),
        (EXIT, "pass", [], 3),
        ("pass", EXIT, [], 3),
    ],
)
def test_a_run_cut_short_is_no_pass(project: Sandbox, fixture: str, check: str, options: list[str], code: int) -> None:
    checks(project, CUT_SHORT.format(fixture, check), top="retries = 3")

    result = project.check(*options)

    assert result.code == code, result
    if (project.root / "reports" / "health.xml").exists():
        valid(project)
        assert project.property("verdict") == "sick"


STOPS = "request.session.shouldfail = 'enough'"


@pytest.mark.parametrize(
    ("deed", "options", "code"),
    [
        ("pytest.exit('enough', returncode=1)", [], 3),
        ("pytest.exit('enough', returncode=42)", [], 3),
        (STOPS, [], 3),
        (STOPS, ["--maxfail=2"], 3),
        ("assert False", ["-x"], 1),
        ("assert False", ["--maxfail=2"], 1),
        ("assert False", ["--stepwise"], 1),
    ],
)
def test_a_run_that_breaks_off_after_a_failure_has_no_verdict_unless_it_was_told_to(
    project: Sandbox, deed: str, options: list[str], code: int
) -> None:
    checks(project, f"@heals\ndef test_a(): assert False\ndef test_b(request): {deed}\ndef test_c(): pass")

    result = project.check("--no-heal", *options)

    assert result.code == code, result
    assert (project.root / "reports" / "health.xml").exists() is (code == 1)
    assert ("the run broke off before the end of healthtests/" in result.output) is (code == 3)


WORKERS = pytest.param(["-n", "2"], id="workers", marks=pytest.mark.soak)


@pytest.mark.parametrize("workers", [pytest.param([], id="alone"), WORKERS])
@pytest.mark.parametrize(
    ("deed", "options", "code"),
    [
        ("os._exit(0)", [], 1),
        ("os._exit(0)", ["--reruns=0"], 1),
        ("nth('b') == 1 and os._exit(0)", [], 0),
        ("nth('b') == 2 and os._exit(0); assert False", ["--reruns=0"], 1),
    ],
)
def test_a_check_that_ends_its_process_has_failed_an_attempt_and_the_report_is_complete(
    project: Sandbox, deed: str, options: list[str], code: int, workers: list[str]
) -> None:
    checks(project, CUT_SHORT.format("pass", deed), top="retries = 3")

    result = project.check(*workers, *options)

    assert result.code == code, result
    valid(project)
    assert {case.get("name") for case in project.report.iter("testcase")} == {"test_a", "test_b", "test_c"}
    assert project.property("verdict") == ("sick" if code else "healthy")


# What happens to pytest's own report before it is read.
TAMPER = """
import pathlib, pytest
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    (log,) = [each for each in session.config.pluginmanager.get_plugins() if type(each).__name__ == "LogXML"]
    path = pathlib.Path(log.logfile)
    xml, _ = path.read_text(), path.unlink()
    {}
"""
BROKEN, END = "<testcase classname='x' name='y'><error/></testcase></testsuite>", "</testsuite>"


@pytest.mark.parametrize(
    ("statement", "passes", "code"),
    [
        ("pass", "True", 3),
        ("path.write_text('')", "True", 3),
        ("path.write_text(xml[:-20])", "True", 3),
        ("path.write_text(xml[:-20])", "False", 3),
        ("path.write_text(xml.replace('test_a', ''))", "True", 3),
        (f"path.write_text(xml.replace({END!r}, {BROKEN!r}))", "True", 1),
        ("path.write_text(xml[:xml.index('<failure')] + '</testcase></testsuite></testsuites>')", "False", 1),
    ],
)
def test_the_xml_may_raise_but_not_lower_the_code(project: Sandbox, statement: str, passes: str, code: int) -> None:
    checks(project, f"def test_a(): assert {passes}")
    project.write("healthtests/conftest.py", TAMPER.format(statement))

    result = project.check()

    assert result.code == code, result


def test_a_run_without_a_report_does_not_point_to_one(project: Sandbox) -> None:
    checks(project, "def test_a(): pass")
    project.write("healthtests/conftest.py", TAMPER.format("pass"))

    assert "report in" not in project.check().output
