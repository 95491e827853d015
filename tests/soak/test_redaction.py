"""The source that pytest shows of a check: readable, without secrets in parameters, and safe for a terminal."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from sandbox import Sandbox

# A colour, a title, a screen that is cleared, a line that is overwritten, and text that runs backwards.
_HOSTILE = "\x1b[31mred\x1b]0;title\x07\x1b[2J\rover\x9b1m\u202eback\x08"
_RAW = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
# What pytest colours with.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")

SOURCE = """
import os
import pytest

def get_password(name):
    return os.environ.get("SHOP_PASSWORD", name)

class Account:
    password = "Attr-s3cret-1"

@pytest.fixture
def account():
    return Account()

def test_source(account):
    password = get_password("api")
    token = await_token(password=password, other="Lit3ral-ok")
    api_key = "Api-k3y-s3cret"
    assert password == account.password, f"no login with {len(api_key)}"

def await_token(password: str, other: str, secret: str | None = None) -> str:
    return password and other
"""


@pytest.mark.parametrize("style", ["--tb=long", "--tb=short", "--tb=native", "--tb=auto", "-vv"])
def test_the_source_of_a_failed_check_is_shown_as_it_is_but_for_its_secrets(project: Sandbox, style: str) -> None:
    project.write("healthtests/test_source.py", SOURCE)

    result = project.check("--no-heal", style, "-k", "test_source")

    report = (project.root / "reports" / "health.xml").read_text()
    assert result.code == 1, result
    assert "***(" not in result.output + report
    assert "password == account.password" in result.output
    if style in ("--tb=long", "--tb=auto", "-vv"):
        assert 'password = get_password("api")' in result.output
        assert "await_token(password=password, other=" in result.output
        assert 'api_key = "***"' in result.output
        assert "password = get_password(" in report
    assert "Api-k3y-s3cret" not in result.output + report


def test_a_parameter_whose_argument_is_called_as_secrets_are_is_masked_in_names(project: Sandbox) -> None:
    project.write(
        "healthtests/test_names.py",
        "import pytest\n\n"
        'pytestmark = pytest.mark.heals("api")\n\n\n'
        '@pytest.mark.parametrize("token", ["s3cr3t", "swordfish", "other", None])\n'
        "def test_token(token):\n    assert not token\n\n\n"
        '@pytest.mark.parametrize(("user", "password"), [("ann", "letmein"), ("bob", "letmein")])\n'
        'def test_login(user, password):\n    """a login"""\n    assert not user\n\n\n'
        '@pytest.fixture(params=["backstage"])\ndef api_key(request):\n    return request.param\n\n\n'
        "def test_fixture(api_key):\n    assert not api_key\n\n\n"
        '@pytest.mark.parametrize("secret", [pytest.param("curtain", id="expired")])\n'
        "def test_named(secret):\n    assert not secret[:0]\n",
    )
    project.configure(top="retries = 1")

    results = [
        project.check("--no-heal", "-v", "-rA", "-k", "test_names"),
        project.check("--no-heal", "-v", "-n", "2", "-k", "test_names"),
        project.auto_heal("check", "--no-heal", "-k", "test_names"),
        project.auto_heal("report"),
    ]

    files = [path for path in project.root.rglob("*") if path.is_file() and path.suffix in {".xml", ".log", ".db"}]
    told = "".join([*(result.output for result in results), *(path.read_bytes().decode("latin-1") for path in files)])
    assert [result.code for result in results] == [1, 1, 1, 0], results
    # What an assertion compares is of another kind: only the name tells there.
    names = set(re.findall(r"test_\w+\[[^\]]*\]", told)) | set(re.findall(r"a login \[[^\]]*\]", told))
    assert {"test_token[***]", "test_token[***~2]", "test_token[***~3]", "test_token[None]"} <= names
    assert {"a login [ann-***]", "a login [bob-***]"} <= names
    assert {"test_fixture[***]", "test_named[expired]"} <= names
    assert not [name for name in names for secret in ("s3cr3t", "swordfish", "backstage") if secret in name]
    cases = [(case.get("classname"), case.get("name")) for case in project.report.iter("testcase")]
    assert len(cases) == len(set(cases)) == 8


HOSTILE = f"""
import logging, sys, warnings
import pytest

pytestmark = pytest.mark.heals("api")
BODY = {_HOSTILE!r}

class Answer:
    def __repr__(self):
        return f"<Answer {{BODY}}>"

def test_introspection():
    assert BODY == "fine"

def test_lines():
    assert f"one\\n{{BODY}}\\ntwo" == "one\\ntwo"

def test_inside():
    assert "fine" in [BODY]

def test_object():
    assert Answer() == 1

def test_message():
    assert not BODY, BODY

def test_exception():
    raise RuntimeError(BODY)

def test_bare():
    pytest.fail(BODY, pytrace=False)

def test_skip():
    pytest.skip(BODY)

def test_output():
    print(BODY)
    print(BODY, file=sys.stderr)
    logging.getLogger("shop").warning(BODY)
    logging.getLogger("shop").error(BODY)
    warnings.warn(BODY)
    assert False

@pytest.fixture
def broken():
    raise ValueError(BODY)

def test_setup(broken):
    pass
"""


@pytest.mark.parametrize(
    "arguments", [["-rA", "-vv", "--showlocals"], ["--tb=short", "-q"], ["--tb=native"], ["-n", "2", "-rA"]]
)
def test_no_answer_drives_the_terminal(project: Sandbox, arguments: list[str]) -> None:
    project.write("healthtests/test_hostile.py", HOSTILE)
    project.configure(top="retries = 1")

    result = project.check("--no-heal", "-k", "test_hostile", "-W", "default", *arguments)

    assert result.code == 1, result
    assert "\x1b" not in result.output
    assert not _RAW.findall(result.output)
    assert r"\x1b[31mred" in result.output
    assert "9 failed" in result.output or "9 failed" not in arguments


def test_the_colours_of_pytest_stay_and_are_the_only_ones(project: Sandbox) -> None:
    project.write("healthtests/test_hostile.py", HOSTILE)
    project.configure(top="retries = 1")

    result = project.check("--no-heal", "-k", "test_hostile", "-W", "default", "-rA", "-vv", "--color=yes")

    assert result.code == 1, result
    assert not _RAW.findall(_COLOUR.sub("", result.output))
    assert "\x1b" not in _COLOUR.sub("", result.output)
    assert "\x1b[31mred" not in result.output
    assert "\x1b[31m" in result.output
    # The level in the captured log, and a difference between two values, which pytest colours since 9.0.
    assert re.search(r"\x1b\[33mWARNING *\x1b\[0m", result.output)
    assert re.search(r"(?:\x1b\[\d+m){2}ERROR *\x1b\[0m +shop:", result.output)
    coloured = re.search(r"^\x1b\[1m\x1b\[31mE  .*\x1b\[91m[-+] ", result.output, re.MULTILINE)
    assert coloured or pytest.version_tuple < (9,)
    # Where no terminal is, colours mean nothing.
    assert "[31m" not in re.sub(r"\\x1b\[31m", "", (project.root / "auto-heal.log").read_text())


def test_what_cannot_be_collected_drives_no_terminal(project: Sandbox) -> None:
    project.write("healthtests/test_broken.py", f"raise RuntimeError({_HOSTILE!r})\n")

    result = project.check()

    assert result.code == 2, result
    assert not _RAW.findall(result.output.replace("\x1b", ""))
    assert "\x1b" not in result.output


def test_a_secret_is_masked_in_a_difference_that_is_coloured(project: Sandbox) -> None:
    project.write(
        "healthtests/test_coloured.py",
        'def test_it():\n    answer = {"user": "joe", "password": "C0loured-s3cret"}\n'
        '    assert answer == {"user": "joe"}\n',
    )

    result = project.check("--no-heal", "-vv", "--color=yes", "-k", "test_coloured")

    assert result.code == 1, result
    assert "C0loured-s3cret" not in result.output


def test_the_report_has_no_raw_characters_either(project: Sandbox) -> None:
    project.write("healthtests/test_hostile.py", HOSTILE)
    project.configure(top="retries = 1")

    project.check("--no-heal", "-k", "test_hostile")

    text = (project.root / "reports" / "health.xml").read_text()
    assert ET.fromstring(text) is not None
    assert "\u202e" not in text


def test_a_failed_check_of_parts_called_auth_and_token_can_be_read(healthy: Sandbox) -> None:
    healthy.write(
        "healthtests/test_parts.py",
        "def test_parts(services):\n"
        '    """auth: session store"""\n'
        '    token = "/api/health"\n'
        '    services["api"].get(token)\n'
        '    found = {"auth": "down", "session_token": "ok", "cookie": "ok"}\n'
        '    services.show(auth="down")\n'
        '    assert found == {"auth": "ok", "session_token": "ok", "cookie": "ok"}\n',
    )

    result = healthy.check("--no-heal", "-vv", "--showlocals", "-k", "parts", API_TOKEN="production-server")

    assert result.code == 1, result
    assert "'auth': 'down'" in result.output
    assert "token      = '/api/health'" in result.output
    assert "***" not in result.output
    assert "***" not in (healthy.root / "reports" / "health.xml").read_text()
