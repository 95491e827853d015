"""A failed start is told with the line of a real server's own log that says why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import Sandbox, sandbox
from servers import SERVERS, configure

_BY_NAME = {server.name: server for server in SERVERS}


@pytest.fixture
def project() -> Iterator[Sandbox]:
    """A project in a folder that the workers of a server may enter, whatever user they run as."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield from sandbox(Path(folder))


def broken(project: Sandbox, name: str, file: str, old: str, new: str) -> None:
    """Configure a server, and break one of its files."""
    configure(project, _BY_NAME[name])
    for path, before, after in (
        (project.root / file, old, new),
        # Those that watch their files live on, and would be waited for.
        (project.root / "auto-heal.toml", "stop_timeout = 5", "stop_timeout = 5\nstart_timeout = 10"),
    ):
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "said"),
    [
        ("gunicorn", "app.py", "def app", "import nosuch\ndef app", "ModuleNotFoundError: No module named 'nosuch'"),
        ("cluster", "cluster.js", "const", 'require("nosuch"); const', "Error: Cannot find module 'nosuch'"),
        ("nginx", "nginx.conf", "listen", "lisen", 'unknown directive "lisen" in '),
        ("shim", "server.py", "import", "1 / 0\nimport", "ZeroDivisionError: division by zero"),
        *(
            pytest.param(*values, marks=pytest.mark.soak)
            for values in (
                ("npm", "index.js", "require", 'require("nosuch"); require', "Error: Cannot find module 'nosuch'"),
                ("apache", "apache.conf", "Listen", "Lisen", "Invalid command 'Lisen', perhaps misspelled"),
                ("haproxy", "haproxy.cfg", "bind", "bnd", "unknown keyword 'bnd'"),
                ("postgres", "data/postgresql.conf", "#", "nosuch = 1\n#", "unrecognized configuration parameter"),
                ("uvicorn", "app.py", "async def", "import nosuch\nasync def", "No module named 'nosuch'"),
                ("django", "manage.py", "ROOT_URLCONF", 'INSTALLED_APPS=["nosuch"], ROOT_URLCONF', "'nosuch'"),
            )
        ),
    ],
    ids=lambda value: value if value in _BY_NAME else "",
)  # fmt: skip
def test_a_server_that_cannot_start_is_told_with_its_telling_line(
    project: Sandbox, name: str, file: str, old: str, new: str, said: str
) -> None:
    broken(project, name, file, old, new)

    result = project.auto_heal("start")

    reason = result.output.splitlines()[-1]
    assert result.code == 1, result
    assert said in reason, result
    assert reason.startswith(("api: `", "❌ api: `", "api: no answer", "❌ api: no answer")), result
