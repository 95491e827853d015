"""`auto-heal init`: give a project its checks and its configuration; overwrite nothing.

The files are made from those that this repository itself runs, so that the two cannot drift apart.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from remediation.checks import FOLDER
from remediation.config.load import OWN_FILE, SHARED_FILE, parse, tomllib
from remediation.config.model import Project, Service
from remediation.config.resolve import resolve_service
from remediation.config.schema import ConfigError, check_keys
from remediation.messages.text import of_environment
from remediation.messages.words import Words
from remediation.system import files

_HEALTH_CHECK, _DATA_CHECK = "test_health.py", "test_items.py"
# Lines of the table that only the bundled service needs.
_OWN_LINES = ("#", "cwd =", "budget =", "version =", "free_port =")
# What happened to a file, as the key of a text, and its path.
_FileResult = tuple[str, Path]
_URL, _READY = "http://localhost:8787", "/api/health"
# Programs that a folder's files suggest, the likeliest first.
_GUESSES = (
    ("index.js", ["node", "index.js"]),
    ("server.js", ["node", "server.js"]),
    ("package.json", ["npm", "start"]),
    ("server.py", ["python3", "server.py"]),
    ("app.py", ["python3", "app.py"]),
    ("main.py", ["python3", "main.py"]),
)


def init(folder: str, *, name: str, command: str | None, url: str | None, ready: str | None) -> int:
    """Write the missing files in `folder`, print what happened to each, and return 0. ConfigError for bad input."""
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{folder}: is not a folder")
    if ready and not ready.startswith("/"):
        raise ConfigError(f"--ready: {ready!r} is no path such as /health")
    try:
        words = shlex.split(command) if command else _guess(root)
    except ValueError as error:
        raise ConfigError(f"--command: cannot be split as a shell would: {error}") from None
    values = {"command": words, "url": url or _URL, "ready": ready or _READY}
    # The same rules as for the file that init writes, and as for a command of one string.
    check_keys({name: values}, Mapping[str, Service], "init: ")
    resolve_service(
        name, values | {"command": command or words}, project=Project(source=root / OWN_FILE), where="init: "
    )
    table = _configuration(name, values)
    text = Words(of_environment(os.environ))
    try:
        for key, path in _write_all(root, name, ready or _READY, table):
            print(text(key, path=path))
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    where = "" if root.resolve() == Path.cwd() else f"cd {shlex.quote(folder)} && "
    ignored = f".{name}-server.pid {name}-server.log auto-heal.log* .*.log.lock reports/ .auto-heal/"
    print(text("gitignore", files=ignored))
    print(text("next_step", command=f"{where}pytest {FOLDER}"))
    return 0


def sources() -> Path:
    """Return the folder with the source files: in the wheel, or the repository itself."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "scaffold"
    return packed if packed.is_dir() else package.parent


def _guess(root: Path) -> list[str]:
    return next((words for name, words in _GUESSES if (root / name).is_file()), _GUESSES[0][1])


def _write_all(root: Path, name: str, ready: str, table: str) -> Iterator[_FileResult]:
    """Write the missing files, and yield what happened to each file."""
    source = sources()
    # The configuration comes first, because it may be refused.
    yield _configure(root, table)
    for check in sorted((source / FOLDER).glob("test_*.py")):
        text = _adapt(check.read_text(encoding="utf-8"), name, ready)
        if check.name == _HEALTH_CHECK:
            text = _generic_health_check(text)
        elif check.name == _DATA_CHECK:
            text = _commented_out(text)
        yield _create(root / FOLDER / check.name, text)


def _create(path: Path, text: str) -> _FileResult:
    if path.exists() or path.is_symlink():
        return "kept", path
    files.write(path, text.encode(), mode=files.PUBLIC)
    return "wrote", path


def _configure(root: Path, table: str) -> _FileResult:
    own, shared = root / OWN_FILE, root / SHARED_FILE
    if own.exists():
        return "kept", own
    if not shared.exists():
        return _create(shared, table)
    if "auto-heal" in parse(shared).get("tool", {}):
        return "kept_table", shared
    before = shared.read_bytes()
    added = table.replace("\n", "\r\n") if b"\r\n" in before else table
    end = added[len(added.rstrip()) :]
    after = before.rstrip() + f"{end}{end}{added}".encode()
    try:
        tomllib.loads(after.decode())
    except ValueError:
        raise ConfigError(f"{shared}: its table tool cannot be added to; add by hand:\n{table}") from None
    mode = shared.stat().st_mode & 0o777
    files.write(shared.resolve(), after, mode=mode)
    return "added", shared


def _configuration(name: str, values: Mapping[str, object]) -> str:
    """Return our own table with the values of another service."""
    text = (sources() / SHARED_FILE).read_text(encoding="utf-8")
    table = re.search(r"^\[tool\.auto-heal.*?(?=^\[tool\.(?!auto-heal)|\Z)", text, re.MULTILINE | re.DOTALL)
    if table is None:
        raise RuntimeError("the shipped configuration has no [tool.auto-heal]")
    lines = [line for line in table[0].strip().splitlines() if not line.startswith(_OWN_LINES)]
    for index, line in enumerate(lines):
        key = line.partition(" = ")[0]
        if key in values:
            # Strings and lists of strings in JSON are valid TOML too.
            lines[index] = f"{key} = {json.dumps(values[key], ensure_ascii=False)}"
    return "\n".join(lines).replace("services.api]", f"services.{name}]") + "\n"


def _adapt(text: str, name: str, ready: str) -> str:
    """Adapt one of our checks to another service."""
    return text.replace('"api"', json.dumps(name)).replace(_READY, ready)


def _generic_health_check(text: str) -> str:
    """Return the check of readiness reduced to what `ready` promises: that the path answers 2xx."""
    _, _, code = text.partition("\n")
    before, status, _ = code.partition("    assert response.status_code == 200\n")
    if not status:
        raise RuntimeError("the shipped check of readiness does not look at the status")
    promised = [
        '"""Readiness: the service answers, with any status that means success."""',
        before + "    assert 200 <= response.status_code < 300",
        "    # If your service also says how it is, ask for that as well:",
        '    # assert response.json()["status"] == "ok"',
    ]
    return "\n".join(promised) + "\n"


def _commented_out(text: str) -> str:
    """Return a check with all its code commented out, but not its docstring."""
    docstring, _, code = text.partition("\n")
    lines = ["# An example: take the # away and name what your service serves.", "#"]
    lines += [f"# {line}".rstrip() for line in code.strip().splitlines()]
    return "\n".join([docstring, "", *lines]) + "\n"
