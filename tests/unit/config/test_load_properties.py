"""Any configuration and environment gives a project, or one sentence for the user."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from configurations import API, VALUES, load, toml
from hypothesis import given
from hypothesis import strategies as st
from properties import looking_at

from remediation.config.fields import LONGEST
from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError

OVERRIDES = ("API_URL", "MAX_RETRIES", "RETRY_DELAY", "CHECK_INTERVAL", "LOG_FILE", "AUTO_HEAL_LANG", "LANG", "LC_ALL")
INNER = (
    "history",
    "evidence",
    "notify",
    "services.api.budget",
    "services.api.env",
    "services.api.ladder",
    "services.b",
)
KEYS = st.sampled_from([
    "days", "megabytes", "timeout", "urls", "on", "restarts", "window", "run", "X_TOKEN", "command", "url", "ready",
    "depends_on", "",
]) | st.text(max_size=5)  # fmt: skip
# None in what an environment can hold.
STRINGS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
URLS = st.sampled_from(["http://", "https://joe:pw@", "tcp://", "ftp://", "//", "http://["]).flatmap(
    lambda scheme: STRINGS.map(lambda rest: f"{scheme}{rest}")
)
NUMBERS = st.sampled_from(["0", "-1", "1e9", "1e-9", "nan", "inf", "-inf", "1_0", " 3 ", "٣", "0x1", "9" * 5_000])


def loaded(root: Path, environ: dict[str, str]) -> Project | None:
    """Return the project, or None if one printable sentence refuses it; any other exception is a bug."""
    try:
        return load_project(root, environ)
    except ConfigError as error:
        told = str(error)
    assert told.isprintable(), ascii(told)
    assert told.strip()
    return None


def is_sound(project: Project) -> bool:
    """Return whether later code can rely on a project."""
    numbers = [project.interval, project.retry_delay, project.timeout, project.history.days, project.evidence.days]
    for service in project.services.values():
        numbers += [service.stop_timeout, service.start_timeout, service.budget.window, service.budget.calm]
        paths = (service.cwd, service.pid_file, service.log_file)
        if not all(path.is_absolute() for path in paths) or not service.ladder or not service.mark.isprintable():
            return False
    return all(math.isfinite(number) and 0 <= number <= 2 * LONGEST for number in numbers) and project.retries >= 1


@looking_at(150)
@given(table=st.sampled_from(INNER), values=st.dictionaries(KEYS, VALUES, max_size=3) | VALUES)
def test_any_value_of_an_inner_table_is_taken_or_told(tmp_path: Path, table: str, values: Any) -> None:
    first = f"{table} = {toml(values)}\n" if not table.startswith("services.") else ""
    last = "" if first else f"{table.removeprefix('services.api.')} = {toml(values)}\n"
    if table == "services.b":
        last = f"[services]\nb = {toml(values)}\n"
    text = f"{first}{'' if table == 'services.b' else API}{last}"
    (tmp_path / "auto-heal.toml").write_text(text, encoding="utf-8", errors="replace")

    project = loaded(tmp_path, {})

    assert project is None or is_sound(project)


@looking_at(300)
@given(st.dictionaries(st.sampled_from(OVERRIDES), STRINGS | URLS | NUMBERS, max_size=4))
def test_any_value_of_the_environment_is_taken_or_told(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "auto-heal.toml").write_text(API, encoding="utf-8")

    project = loaded(tmp_path, environ)

    assert project is None or is_sound(project)


@looking_at(150)
@given(
    env=st.dictionaries(st.text("AB_", min_size=1, max_size=4), STRINGS, max_size=3),
    command=st.lists(STRINGS, min_size=1, max_size=4).filter(lambda words: bool(words[0].strip())),
    seconds=st.floats(0.001, 1e6),
    count=st.integers(1, 10_000),
    urls=st.lists(STRINGS.filter(bool), max_size=3),
)
def test_what_is_written_is_what_is_read(
    tmp_path: Path, env: dict[str, str], command: list[str], seconds: float, count: int, urls: list[str]
) -> None:
    project = load(
        tmp_path,
        f"interval = {seconds!r}\nretries = {count}\nnotify = {{ urls = {toml(urls)} }}\n[services.api]\n"
        f"command = {toml(command)}\nenv = {toml(env)}\nstop_timeout = {seconds!r}\n"
        f"budget = {{ restarts = {count}, window = {seconds!r} }}\n",
    )

    service = project.services["api"]
    assert (dict(service.env), list(service.command), service.stop_timeout) == (env, command, seconds)
    assert (service.budget.restarts, service.budget.window) == (count, seconds)
    assert (project.interval, project.retries, list(project.notify.urls)) == (seconds, count, urls)
    assert is_sound(project)


@looking_at(100)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3, unique=True), min_size=1
    )
)
def test_dependencies_are_known_and_go_round_in_no_circle_or_are_told(
    tmp_path: Path, graph: dict[str, list[str]]
) -> None:
    tables = [f'[services.{name}]\ncommand = "x"\ndepends_on = {toml(needs)}\n' for name, needs in graph.items()]
    (tmp_path / "auto-heal.toml").write_text("".join(tables), encoding="utf-8")

    project = loaded(tmp_path, {})

    assert (project is not None) == _is_acyclic(graph)


def _is_acyclic(graph: dict[str, list[str]]) -> bool:
    """Return whether all dependencies are configured and form no cycle."""
    left = {name: set(needs) for name, needs in graph.items()}
    while free := [name for name, needs in left.items() if not needs & left.keys() and needs <= graph.keys()]:
        for name in free:
            del left[name]
    return not left
