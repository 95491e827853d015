"""No secret of a project is in any output of auto-heal or its pytest, however a check ends."""

from __future__ import annotations

import pytest
from leaking import KNOWN, environment, leak, leaks, told
from sandbox import Sandbox
from watching import watching


@pytest.fixture
def leaky(project: Sandbox) -> Sandbox:
    """A project with secrets in every place, and checks that print them in every way."""
    leak(project)
    return project


@pytest.mark.parametrize(
    "arguments",
    [
        ["-v", "-rA", "--showlocals"],
        ["-n", "2", "-v", "-rA"],
        ["--tb=short", "-q"],
        ["--tb=native"],
        ["--no-heal", "-vv"],
    ],
    ids=" ".join,
)
def test_a_run_that_heals_in_vain_tells_no_secret(leaky: Sandbox, arguments: list[str]) -> None:
    if "-n" not in arguments:
        leaky.write("broken", "")

    result = leaky.check(*arguments, **environment())

    assert result.code == 1, result
    assert leaks(leaky, result.output) == []
    assert "***" in result.output
    assert leaky.property("verdict") == "sick"


def test_a_run_of_what_answers_tells_no_secret_however_a_check_fails(leaky: Sandbox) -> None:
    leaky.auto_heal("start", **environment())

    result = leaky.check("-vv", "-rA", "--showlocals", **environment())

    assert result.code == 1, result
    assert leaks(leaky, result.output) == []
    assert "test_parameters[***]" in result.output
    assert "test_parameters[http://***@x]" in result.output
    assert "test_parameters[http://***@x~2]" in result.output


def test_a_run_that_heals_tells_no_secret(leaky: Sandbox) -> None:
    result = leaky.check("-v", "-rA", **environment(well=True))

    assert result.code == 0, result
    assert leaks(leaky, result.output) == []
    assert leaky.property("verdict") == "healed"


@pytest.mark.parametrize("verbose", [[], ["-v"]])
def test_the_commands_tell_no_secret(leaky: Sandbox, verbose: list[str]) -> None:
    leaky.write("broken", "")

    results = [
        leaky.auto_heal("check", *verbose, **environment()),
        leaky.auto_heal("start", **environment()),
        leaky.auto_heal("status", "--json", **environment()),
        leaky.auto_heal("status", **environment()),
        leaky.auto_heal("report", "--json", **environment()),
        leaky.auto_heal("report", **environment()),
    ]

    assert results[0].code == 1, results
    assert leaks(leaky, told(results)) == []


def test_what_cannot_be_collected_tells_no_secret(leaky: Sandbox) -> None:
    leaky.write(
        "healthtests/test_broken.py", "import os\nprint(os.environ['OUR_PASSWORD'])\nint(os.environ['OUR_PASSWORD'])\n"
    )

    results = [leaky.check(**environment()), leaky.auto_heal("check", **environment())]

    assert "***" in told(results)
    assert leaks(leaky, told(results)) == []


def test_pytest_that_breaks_tells_no_secret(leaky: Sandbox) -> None:
    # Where the hooks are not loaded, only what shows pytest's output can redact it.
    leaky.write("healthtests/conftest.py", "import os\n\nint(os.environ['OUR_PASSWORD'])\n")
    quiet = leaky.auto_heal("check", **environment())
    hook = "def pytest_runtest_logfinish(): int(os.environ['OUR_PASSWORD'])"
    leaky.write("healthtests/conftest.py", f"import os\n\n{hook}\n")
    broken = leaky.check("--no-heal", **environment())

    assert (quiet.code, broken.code) == (4, 3), (quiet, broken)
    assert "INTERNALERROR" in broken.output
    assert "***" in quiet.output
    assert leaks(leaky, told([quiet, broken])) == []


def test_a_configuration_that_is_refused_tells_no_secret(leaky: Sandbox) -> None:
    broken = f"ftp://joe:{KNOWN['URL of the service']}@127.0.0.1/"

    results = [leaky.auto_heal("status", API_URL=broken, **environment()), leaky.check(API_URL=broken, **environment())]

    assert results[0].code == 4, results
    assert "ftp://***@127.0.0.1" in told(results)
    assert leaks(leaky, told(results)) == []


def test_the_monitor_tells_no_secret(leaky: Sandbox) -> None:
    leaky.write("broken", "")

    with watching(leaky, **environment()) as monitor:
        monitor.ends_check(1)

    assert leaks(leaky, "\n".join(monitor.lines)) == []
    assert any("***" in line for line in monitor.lines)


def test_the_project_keeps_its_secrets_where_they_belong(leaky: Sandbox) -> None:
    leaky.auto_heal("start", **environment())

    answer = leaky.get("/x")[1]

    assert answer["by"] == KNOWN["env of the service"]
