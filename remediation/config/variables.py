"""Variables from outside the configuration: the files that `env_file` names, and `${NAME}` in values."""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from remediation.config.schema import ConfigError
from remediation.system import secrets

# In bytes. By default, all variables and arguments of a process have 2 MiB, execve(2).
_LIMIT = 2_000_000
_BOM = b"\xef\xbb\xbf"
# As in docker compose, `$$` is one `$`. A `$` before anything else stands for itself.
_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\}|(\{))")
# The keys of a service with references: a text, and tables whose values have them.
_TEXT, _TABLES = "url", ("env", "headers")
# Those of a project, each a secret of the monitor.
_TOKEN, _NOTIFY, _HEARTBEAT, _URLS = "beat_token", "notify", "heartbeat", "urls"


class Variables:
    """The variables that a configuration may take from outside: those of the environment, and of files."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read each file once: many services may name the same one."""
        self._environ = environ
        self._files: dict[Path, dict[str, str]] = {}

    def of_file(self, path: Path, where: str) -> dict[str, str]:
        """Return the variables in a file, and register their values as secrets. ConfigError if it cannot be used."""
        if path not in self._files:
            self._files[path] = dict(_read(path, self._environ, where))
            secrets.learn_values(self._files[path].values())
        return self._files[path]

    def in_project(self, table: Mapping[str, Any], of_file: Mapping[str, str], where: str) -> dict[str, Any]:
        """Return the table of a project with each `${NAME}` in its secrets replaced by its value, as in a service."""
        variables = ChainMap(dict(self._environ), dict(of_file))
        changed = dict(table)
        if _TOKEN in table:
            changed[_TOKEN] = _substituted(table[_TOKEN], variables, f"{where}{_TOKEN}: ")
        notify = table.get(_NOTIFY)
        if isinstance(notify, Mapping):
            changed[_NOTIFY] = notices = dict(notify)
            if _HEARTBEAT in notify:
                notices[_HEARTBEAT] = _substituted(notify[_HEARTBEAT], variables, f"{where}{_NOTIFY}.{_HEARTBEAT}: ")
            if isinstance(urls := notify.get(_URLS), list):
                places = [f"{where}{_NOTIFY}.{_URLS}[{number}]: " for number in range(len(urls))]
                notices[_URLS] = [_substituted(url, variables, place) for url, place in zip(urls, places, strict=True)]
        return changed

    def substituted(self, table: Mapping[str, Any], of_file: Mapping[str, str], where: str) -> dict[str, Any]:
        """Return the table of a service with each `${NAME}` in `env`, `headers` and `url` replaced by its value.

        As in docker compose, the environment is above the file. `where` is the table's place, to which a key can be
        appended. ConfigError for a variable that is not set.
        """
        variables = ChainMap(dict(self._environ), dict(of_file))
        changed = dict(table)
        if _TEXT in table:
            changed[_TEXT] = _substituted(table[_TEXT], variables, f"{where}{_TEXT}: ")
        for key in _TABLES:
            if isinstance(inner := table.get(key), Mapping):
                # After the name of a secret and a colon, the rest of the sentence would be masked.
                changed[key] = {
                    name: _substituted(text, variables, f"{where}{key}: {name} ") for name, text in inner.items()
                }
        return changed


def _substituted(text: Any, variables: Mapping[str, str], place: str) -> Any:
    """Return a text with the values of its references; anything else is refused later, by its type."""

    def value(match: re.Match[str]) -> str:
        dollar, name, wrong = match.groups()
        if wrong:
            raise ConfigError(f"{place}has a ${{ that begins no ${{NAME}}; for a $ of its own, write $$")
        if name and name not in variables:
            raise ConfigError(f"{place}needs ${{{name}}}, which is set neither in the environment nor in env_file")
        return dollar or variables[name]

    return _REFERENCE.sub(value, text) if isinstance(text, str) else text


def _read(path: Path, environ: Mapping[str, str], where: str) -> Iterator[tuple[str, str]]:
    """Yield the variables in a file of the format of `docker run --env-file`.

    A line is NAME=value, and the value is all that follows, quotes and spaces included. NAME alone is passed on from
    `environ`. Only a whole line can be a comment. ConfigError, which never quotes a line: it may hold a secret.
    """
    for number, line in enumerate(_content(path, where).removeprefix(_BOM).split(b"\n"), 1):
        try:
            variable = _variable(line.removesuffix(b"\r"))
        except ValueError as error:
            raise ConfigError(f"{where}: {path}, line {number}: {error}") from None
        if variable is None:
            continue
        name, value = variable
        if value is not None:
            yield name, value
        elif name in environ:
            yield name, environ[name]


def _variable(line: bytes) -> tuple[str, str | None] | None:
    """Return the name in a line, and its value if it has one; None for a comment. ValueError with the problem."""
    try:
        line.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    # Decode like file names and arguments, as all that a process inherits.
    text = os.fsdecode(line).lstrip()
    if not text or text.startswith("#"):
        return None
    name, has_value, value = text.partition("=")
    if not name or any(map(str.isspace, name)):
        raise ValueError("has no name, or one with a space; write NAME=value, as for docker, without `export`")
    if "\0" in text:
        raise ValueError("holds a NUL character, which no variable can")
    return name, value if has_value else None


def _content(path: Path, where: str) -> bytes:
    # Unlike Path.is_file, this returns False for a file in a folder that we may not search.
    if not os.path.isfile(path):  # noqa: PTH113
        raise ConfigError(f"{where}: there is no file {path}")
    try:
        # Not by `files.read`: deployments often link to a file that they share.
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read: {error.strerror or error}") from None
    if len(content) > _LIMIT:
        raise ConfigError(f"{where}: {path} is longer than {_LIMIT} bytes, which is too much for an environment")
    return content
