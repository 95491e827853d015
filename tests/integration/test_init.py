"""`auto-heal init`: an empty project gets what it needs, and existing files stay."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import PATIENT, PYTHON, REPOSITORY, Sandbox

from remediation.config.load import tomllib


def test_init_scaffolds_a_project_that_heals_at_once(tmp_path: Path, project: Sandbox) -> None:
    (project.root / "auto-heal.toml").unlink()
    for check in (project.root / "healthtests").iterdir():
        check.unlink()
    server = REPOSITORY / "examples" / "peachmini" / "server.py"

    written = project.auto_heal(
        "init", "--command", f"{PYTHON} {shlex.quote(str(server))}", "--url", project.url, "--name", "shop"
    )
    result = project.check()

    assert written.code == 0, written
    assert result.code == 0, result
    assert (tmp_path / ".shop-server.pid").exists()
    assert "2 passed" in result.output


def test_init_overwrites_nothing_and_says_so(project: Sandbox) -> None:
    project.write("conftest.py", "# mine\n")
    project.write("pyproject.toml", '[project]\nname = "mine"\n')
    (project.root / "auto-heal.toml").unlink()
    before = {path: path.read_text() for path in (project.root / "healthtests").iterdir()}

    first = project.auto_heal("init")
    second = project.auto_heal("init")

    assert first.code == second.code == 0, first
    assert (project.root / "conftest.py").read_text() == "# mine\n"
    assert "conftest.py" not in first.output
    assert not (project.root / "healthtests" / "conftest.py").exists()
    assert (project.root / "pyproject.toml").read_text().startswith('[project]\nname = "mine"\n\n[tool.auto-heal.')
    assert "added    [tool.auto-heal] to pyproject.toml" in first.output
    assert "kept     pyproject.toml" in second.output
    assert {path: path.read_text() for path in before} == before


def test_init_beside_hooks_of_the_project_itself_works_at_once(project: Sandbox) -> None:
    project.write("conftest.py", "import pytest\n\n\n@pytest.fixture\ndef mine():\n    return 1\n")

    assert project.auto_heal("init").code == 0
    result = project.auto_heal("check")

    assert result.code == 0, result
    assert "🎉 Healed!" in result.output


def test_init_refuses_a_command_for_a_shell_and_writes_nothing(project: Sandbox) -> None:
    (project.root / "auto-heal.toml").unlink()

    result = project.auto_heal("init", "--command", "cd app && npm start")

    assert result.code == 4
    assert "init: api.command: cd is for a shell, and no shell runs this; set cwd and env beside it" in result.output
    assert not (project.root / "pyproject.toml").exists()


def test_init_refuses_a_table_that_it_cannot_add_to_and_writes_nothing(tmp_path: Path) -> None:
    text = "tool = { other = 1 }\n"
    (tmp_path / "pyproject.toml").write_text(text)

    result = subprocess.run(
        [sys.executable, "-m", "remediation", "init"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PATIENT.parent.parent)}, capture_output=True, text=True,
    )  # fmt: skip

    assert result.returncode == 4
    assert "cannot be added to" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
    assert (tmp_path / "pyproject.toml").read_text() == text


def test_init_keeps_the_line_ends_of_a_file(project: Sandbox) -> None:
    (project.root / "auto-heal.toml").unlink()
    (project.root / "pyproject.toml").write_bytes(b'[project]\r\nname = "mine"\r\n')

    assert project.auto_heal("init").code == 0

    data = (project.root / "pyproject.toml").read_bytes()
    assert data.startswith(b'[project]\r\nname = "mine"\r\n\r\n[tool.auto-heal')
    assert data.count(b"\n") == data.count(b"\r\n")


# Answers success with a text, as many servers do.
_PLAIN = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204 if self.path == "/none" else 200)
        self.end_headers()
        if self.path != "/none":
            self.wfile.write(b"OK")

http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.mark.soak
@pytest.mark.parametrize("ready", ["/health", "/none"])
def test_the_checks_that_init_writes_pass_on_any_success(project: Sandbox, ready: str) -> None:
    (project.root / "auto-heal.toml").unlink()
    shutil.rmtree(project.root / "healthtests")
    project.write("server.py", _PLAIN)

    project.auto_heal("init", "--command", f"{PYTHON} server.py", "--url", project.url, "--ready", ready)
    assert project.auto_heal("start").code == 0
    before = project.pid
    result = project.auto_heal("check")

    assert result.code == 0, result
    assert "All systems are healthy" in result.output
    assert project.pid == before
    # A failure of what was promised is one all the same.
    check = (project.root / "healthtests" / "test_health.py").read_text()
    assert "assert 200 <= response.status_code < 300" in check
    assert "response.json()" not in re.sub(r"#.*", "", check)


def test_init_writes_no_key_that_nobody_asked_for(project: Sandbox) -> None:
    (project.root / "auto-heal.toml").unlink()

    project.auto_heal("init", "--command", "node index.js", "--url", "http://localhost:3000", "--ready", "/health")

    written = tomllib.loads((project.root / "pyproject.toml").read_text())["tool"]["auto-heal"]
    keys = {"command": ["node", "index.js"], "url": "http://localhost:3000", "ready": "/health"}
    assert written == {"services": {"api": keys}}
