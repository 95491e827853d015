"""`auto-heal init`: look at what answers, and write declared checks that fit it; overwrite nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from remediation.checks import FOLDER
from remediation.cli import first_look, package_json
from remediation.cli.project_files import IGNORE_FILE, Configuration, appended, ignore, not_ignored, replace
from remediation.config.load import learn_secrets, load_content, tomllib
from remediation.config.model import Project, Service
from remediation.config.resolve import resolve_service
from remediation.config.schema import ConfigError, check_keys
from remediation.config.variables import Variables
from remediation.config.writing import table
from remediation.engines import engine_of
from remediation.healing import dry_run
from remediation.healing.incident import Incident
from remediation.messages.message import visible
from remediation.messages.text import of_environment
from remediation.messages.words import Words
from remediation.probes.discovery import USUAL_PATHS, Remark, look
from remediation.state.service_state import Store
from remediation.system import files
from remediation.system.secrets import redacted

# Git keeps no empty folder.
_README = '''# Checks in Python

What `checks = [...]` in the configuration cannot say is a test in a file here, such as `test_prices.py`:

```python
import pytest

pytestmark = pytest.mark.heals("{name}")


def test_prices(services):
    """/api/prices"""
    assert services["{name}"].get("/api/prices").json(), "the list is empty"
```
'''

# For a service that has not answered yet, so that nothing can be declared of it but what any service does.
_HEALTH = '''"""Readiness: the service answers with success."""

import pytest

pytestmark = pytest.mark.heals("{name}")


def test_health(services):
    """{ready}"""
    response = services["{name}"].get("{ready}")

    assert response.ok, f"status {{response.status_code}}"
'''
_PROCESS = '''"""Liveness: the process is alive, is the service's, and owns the address."""

import pytest

pytestmark = pytest.mark.heals("{name}")


def test_process(services):
    """process"""
    services["{name}"].require_process()
'''


def init(
    folder: str, *, name: str, command: str | None, url: str | None, ready: str | None, gitignore: bool, npm: bool
) -> int:
    """Add a service to the project in `folder`, print what was seen and written, and return 0.

    ConfigError for bad input; then nothing is written.
    """
    root, say = Path(folder), Words(of_environment(os.environ))
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{folder}: is not a folder")
    asked = _asked(command, url, ready)
    configuration, scripts = Configuration.of(root.resolve()), package_json.missing(root, needed=npm)
    package = package_json.extended(root, scripts) if npm and scripts else None
    shown, services = root / configuration.file.name, configuration.services
    project = _load(configuration, configuration.content) if services else Project(source=configuration.file)
    service = _service(project, name, asked, command)
    try:
        if service and name not in services:
            names = [name]
            project = _add(configuration, project, service, asked, shown=shown, say=say)
            _make_folder(root, project.services[name], say)
        elif services:
            names = list(services)
            print(say("kept_table", path=shown, table=configuration.header(name if name in services else "*")))
        else:
            raise ConfigError("init: needs --url, where the service answers, such as http://localhost:3000")
        _ignore(project, root, say, write=gitignore)
        _add_scripts(root, scripts, package, say, write=npm)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    for line in _plan(project, names, say):
        print(line)
    where = "" if root.resolve() == Path.cwd() else f"cd {shlex.quote(folder)} && "
    print(say("next_step", command=f"{where}auto-heal check"))
    return 0


def _asked(command: str | None, url: str | None, ready: str | None) -> dict[str, object]:
    """Return the keys that the user has asked for."""
    if ready and not ready.startswith("/") and ready != "tcp":
        raise ConfigError(f"--ready: {ready!r} is no path such as /health")
    try:
        words = shlex.split(command) if command else None
    except ValueError as error:
        raise ConfigError(f"--command: cannot be split as a shell would: {error}") from None
    for option, text in (("--command", command), ("--url", url)):
        if text and text != text.encode(errors="replace").decode():
            raise ConfigError(f"{option}: not UTF-8, as TOML must be")
    if url and not ready:
        url, ready = _parted(url)
    values = {"command": words, "url": url, "ready": ready}
    return {key: value for key, value in values.items() if value is not None}


def _parted(url: str) -> tuple[str, str | None]:
    """Return a url without the usual health path at its end, and that path; None if it has none."""
    whole = url.rstrip("/")
    for path in sorted(USUAL_PATHS, key=len, reverse=True):
        rest = whole.removesuffix(path.rstrip("/"))
        if url.startswith(("http://", "https://")) and rest != whole and not rest.endswith("/"):
            return rest, path
    return url, None


def _load(configuration: Configuration, content: bytes) -> Project:
    # The address that counts is the one in the file.
    environ = {name: value for name, value in os.environ.items() if name != "API_URL"}
    return load_content(configuration.file, content, environ)


# The service.


def _add(
    configuration: Configuration, project: Project, service: Service, asked: Mapping[str, object], *, shown: Path,
    say: Words,
) -> Project:  # fmt: skip
    """Look at a service, add it to the configuration, and return the project."""
    text = table(configuration.header(service.name), _values(service, project, asked, say))
    content = appended(configuration.content, text, apart=True)
    try:
        tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as error:
        print(_as_shown(text))
        problem = f"not valid TOML: {error}"
        raise ConfigError(f"{shown}: cannot be added to: {problem}; add the table above by hand") from None
    project = _load(configuration, content)
    configuration.file.parent.mkdir(parents=True, exist_ok=True)
    replace(configuration.file, content)
    print(say("added", table=configuration.header(service.name), path=shown))
    print(_as_shown(text))
    if _has_secret(str(asked.get("url", ""))):
        print(say("init_secret"))
    return project


def _has_secret(url: str) -> bool:
    """Return whether a url has a user or a password in clear."""
    user = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    secret = user.rpartition(":")[2]
    return bool(secret) and "${" not in secret


def _service(project: Project, name: str, asked: Mapping[str, object], command: str | None) -> Service | None:
    """Return the service that was asked for, if any. ConfigError if it cannot be, by the same rules as in the file."""
    check_keys({name: asked}, Mapping[str, Service], "init: ")
    if not asked:
        return None
    # One string is held to further rules than its words.
    values = dict(asked) | ({"command": command} if command else {})
    service = resolve_service(name, values, project=project, where="init: ", outside=Variables(os.environ))
    learn_secrets(service)
    return service


def _values(service: Service, project: Project, asked: Mapping[str, object], say: Words) -> dict[str, object]:
    """Print what is seen of the service, and return its keys."""
    values, sight = dict(asked), None
    if service.address:
        for line in first_look.listeners(service, say):
            print(line)
        path = service.ready if service.ready.startswith("/") else None
        sight = look(service, path, timeout=service.probe_timeout)
        if path and sight.remark is Remark.NO_PATH and sight.answer:
            raise ConfigError(
                f"--ready: GET {sight.path}: {sight.answer.problem}; name a path that answers 2xx, or leave it out"
            )
        for line in first_look.described(service, sight, say):
            print(line)
    if service.command and (why := first_look.misfit(service, Store(project), say)):
        print(why)
        del values["command"]
    is_silent = sight is not None and sight.remark is Remark.SILENT
    has_path = service.ready.startswith("/")
    if is_silent and has_path and "command" in values and not os.path.lexists(project.root / FOLDER):
        # Its checks are in Python, see _make_folder.
        return values
    return first_look.keys(service, sight, values)


def _as_shown(text: str) -> str:
    return visible("\n".join(f"  {redacted(line)}" for line in text.splitlines()))


# The other files.


def _make_folder(root: Path, service: Service, say: Words) -> None:
    """Make the folder of the checks in Python, with a text that says what belongs there.

    A service with a command of which nothing is declared, since it does not answer yet, gets its checks there.
    """
    folder = root / FOLDER
    if os.path.lexists(folder):
        return
    texts = {"README.md": _README}
    if service.command and not service.checks:
        texts |= {"test_health.py": _HEALTH, "test_process.py": _PROCESS}
    for file, text in texts.items():
        content = text.format(name=service.name, ready=service.ready)
        files.write(folder / file, content.encode(), mode=files.PUBLIC)
        print(say("wrote", path=folder / file))


def _ignore(project: Project, root: Path, say: Words, *, write: bool) -> None:
    lines, path = not_ignored(project), root / IGNORE_FILE
    if lines and write:
        ignore(root, lines)
        print(say("wrote", path=path))
    elif lines:
        print(say("gitignore", files=" ".join(lines)))
    elif write:
        print(say("kept", path=path))


def _add_scripts(root: Path, scripts: dict[str, str], package: bytes | None, say: Words, *, write: bool) -> None:
    path = root / package_json.NAME
    if package is not None:
        replace(path, package)
        print(say("wrote", path=path))
    elif scripts:
        print(say("npm_scripts", scripts=", ".join(map(package_json.pair, scripts.items()))))
    elif write:
        print(say("kept", path=path))


# What comes next.


def _plan(project: Project, names: Iterable[str], say: Words) -> Iterator[str]:
    """Yield what a heal of each of these services would do now."""
    store = Store(project)
    for name in names:
        yield say("init_plan", name=name)
        incident = Incident(project.services[name], "", 0.0, seen=0)
        for message in dry_run.plan([incident], project.services, store):
            if message.key != "plan" or message.values["name"] != name:
                yield message.render(say.language, named=True)
        if not engine_of(project.services[name]).can_start:
            yield say("init_no_command")
