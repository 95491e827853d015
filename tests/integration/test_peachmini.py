"""What those find who come from the old script: its npm scripts, its modes and variables, its three stories."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sandbox import DEADLINE, PYTHON, REPOSITORY, Sandbox, wait_for
from terminals import CTRL_C, on_terminal

EXAMPLE = REPOSITORY / "examples" / "peachmini"
SCRIPT = EXAMPLE / "scripts" / "auto-heal.sh"
PAGES = {"en": "peachmini.md", "ru": "peachmini.ru.md"}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Clone(Sandbox):
    """A clone of the repository, in a folder whose name has spaces, with `auto-heal` on the PATH."""

    def __init__(self, root: Path, bin_folder: Path) -> None:
        """Copy what a run of the example needs."""
        root.mkdir()
        super().__init__(root)
        (root / "auto-heal.toml").unlink()
        for name in ("pyproject.toml", "conftest.py"):
            shutil.copy(REPOSITORY / name, root)
        shutil.copytree(EXAMPLE, root / "examples" / "peachmini", ignore=shutil.ignore_patterns("__pycache__"))
        self.example = root / "examples" / "peachmini"
        self.script = self.example / "scripts" / "auto-heal.sh"
        self.bin = bin_folder
        self.program("auto-heal", f'exec {PYTHON} -m remediation "$@"')

    def program(self, name: str, body: str) -> Path:
        """Write a program that comes first on the PATH."""
        self.bin.mkdir(exist_ok=True)
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a person who works in the clone. npm keeps its files out of their home."""
        return self.environment(
            PATH=f"{self.bin}:{os.environ['PATH']}", API_URL=self.url, PYTHONIOENCODING="utf-8",
            npm_config_cache=str(self.bin / "npm"), npm_config_update_notifier="false",
        )  # fmt: skip

    def call(
        self, *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            words, cwd=cwd or self.example, env=self.environ | dict(env or {}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=4 * DEADLINE,
        )  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    """A clone whose service is not running."""
    clone = Clone(tmp_path / "a clone", tmp_path / "bin")
    try:
        yield clone
    finally:
        clone.clean()


@pytest.fixture
def npm() -> str:
    """The path of npm."""
    path = shutil.which("npm")
    if path is None or shutil.which("node") is None:
        pytest.skip("there is no Node.js with npm here")
    return path


# The script.


def test_shellcheck_finds_nothing_in_the_script() -> None:
    shellcheck = Path(sysconfig.get_path("scripts"), "shellcheck")

    result = subprocess.run([shellcheck, "--shell=sh", SCRIPT], capture_output=True, text=True)

    assert result.returncode == 0, result.stdout
    assert os.access(SCRIPT, os.X_OK)


@pytest.fixture
def told(clone: Clone) -> Path:
    """The file in which an `auto-heal` that does nothing notes its folder, words and variables."""
    file = clone.bin / "told"
    names = "API_URL CHECK_INTERVAL MAX_RETRIES RETRY_DELAY LOG_FILE"
    clone.program(
        "auto-heal", f'{{ pwd; echo "$*"; for name in {names}; do printenv $name; done; }} > "{file}"; exit 7'
    )
    return file


@pytest.mark.parametrize(
    ("words", "handed_on"),
    [
        ([], "check"),
        (["check"], "check"),
        (["monitor", "--no-heal"], "monitor --no-heal"),
        (["start"], "start"),
        (["stop"], "stop"),
        (["restart"], "restart"),
        (["check", "-k", "a b"], "check -k a b"),
    ],
)
def test_the_script_hands_its_mode_and_its_five_variables_on(
    clone: Clone, told: Path, words: list[str], handed_on: str
) -> None:
    variables = {"API_URL": "http://localhost:1", "CHECK_INTERVAL": "7", "MAX_RETRIES": "2", "RETRY_DELAY": "1"}
    variables["LOG_FILE"] = "my log.log"

    result = clone.call(clone.script, *words, env=variables)

    assert result.returncode == 7, result.stdout
    assert told.read_text().splitlines() == [str(clone.example), handed_on, *variables.values()]


def test_the_script_works_from_any_folder_and_through_links(clone: Clone, told: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "first").symlink_to(clone.script)
    (elsewhere / "second").symlink_to("first")
    (elsewhere / "scripts").symlink_to(clone.script.parent)
    ways: list[tuple[list[str | Path], Path]] = [
        ([elsewhere / "second"], tmp_path),
        (["./second"], elsewhere),
        (["sh", "second"], elsewhere),
        ([elsewhere / "scripts" / "auto-heal.sh"], elsewhere),
        (["sh", "auto-heal.sh"], clone.script.parent),
    ]

    for words, cwd in ways:
        told.unlink(missing_ok=True)
        assert clone.call(*words, cwd=cwd, env={"CDPATH": str(elsewhere)}).returncode == 7
        assert told.read_text().splitlines()[0] == str(clone.example), words


@pytest.mark.parametrize("words", [["heal"], ["-k", "x"], ["Check"]])
def test_an_unknown_mode_is_refused_with_the_usage(clone: Clone, told: Path, words: list[str]) -> None:
    result = clone.call(clone.script, *words)

    assert result.returncode == 4
    assert result.stdout == "usage: auto-heal.sh [check|monitor|start|stop|restart] [OPTION ...]\n"
    assert not told.exists()


@pytest.mark.parametrize("link", [False, True])
def test_without_a_program_the_script_runs_the_module(clone: Clone, *, link: bool) -> None:
    clone.program("auto-heal", "").unlink()
    if link:
        # A link to the script must not be taken for auto-heal, or the script would call itself for ever.
        (clone.bin / "auto-heal").symlink_to(clone.script)
    clone.program("python3", f'[ "$1" = -c ] || echo "$@"\n[ "$1" = -m ] || exec {PYTHON} "$@"')

    result = clone.call(clone.script, "start", env={"PATH": f"{clone.bin}:/usr/bin:/bin"})

    assert (result.returncode, result.stdout) == (0, "-m remediation start\n")


def test_the_script_says_how_to_install_what_is_not_there(clone: Clone) -> None:
    clone.program("auto-heal", "").unlink()
    clone.program("python3", "exit 1")

    result = clone.call(clone.script, env={"PATH": f"{clone.bin}:/usr/bin:/bin"})

    assert result.returncode == 127
    assert result.stdout == (
        "auto-heal is not installed: run `pip install .` in a clone of it, in a virtual environment\n"
    )


def test_the_modes_of_the_script_check_start_stop_restart_and_monitor_the_service(clone: Clone) -> None:
    modes = {mode: clone.call(clone.script, mode) for mode in ("start", "check", "restart", "stop")}
    with on_terminal(
        clone.script, "monitor", cwd=clone.root, env=clone.environ | {"CHECK_INTERVAL": "0.3", "LOG_FILE": "own.log"}
    ) as screen:
        screen.shows("Check #2")
        screen.types(CTRL_C)
        ended = screen.wait()

    assert {mode: result.returncode for mode, result in modes.items()} == dict.fromkeys(modes, 0)
    assert "Server is up" in modes["start"].stdout
    assert "✅ All systems are healthy" in modes["check"].stdout
    assert "Server restarted" in modes["restart"].stdout
    assert "Server stopped" in modes["stop"].stdout
    assert ended == 0, screen.text
    assert "Check #2" in (clone.root / "own.log").read_text(encoding="utf-8")


# The three stories.


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language in a page."""
    text = (REPOSITORY / "docs" / "tutorial" / page).read_text(encoding="utf-8")
    return [block for name, block in _BLOCK.findall(text) if name == language]


def masked(text: str) -> list[str]:
    """Return the lines of an output without the parts that differ from run to run."""
    for varies in (
        r"(?<=evidence/)\S+(?=-api)", r"\d\d:\d\d:\d\d", r"(?<=PID: )\d+", r"(?<=process )\d+", r"(?<=процесс )\d+",
        r"(?<=in )\d+(?=s\.)", r"(?<=через )\d+(?=s\.)",
    ):  # fmt: skip
        text = re.sub(varies, "X", text)
    return text.splitlines()


@pytest.mark.usefixtures("npm")
@pytest.mark.parametrize("language", ["en", pytest.param("ru", marks=pytest.mark.soak)])
def test_the_three_stories_are_told_as_they_happen(clone: Clone, language: str) -> None:
    install, folder, normal, down, monitor, kill, stop = blocks(PAGES[language], "sh")
    told = [masked(block) for block in blocks(PAGES[language], "text")]
    env = {"AUTO_HEAL_LANG": language}
    cwd = clone.root / folder.removeprefix("cd ").strip()

    happened = [clone.call("sh", "-c", story, cwd=cwd, env=env) for story in (normal, down)]
    with on_terminal("sh", "-c", monitor, cwd=cwd, env=clone.environ | env | {"NO_COLOR": "1"}) as screen:
        screen.shows("(1/1 successful checks)")
        wait_for(lambda: screen.text.rstrip(" ").endswith("s...\n"))
        assert clone.call("sh", "-c", kill, cwd=cwd).returncode == 0
        screen.shows("(1/2 successful checks)")
        wait_for(lambda: screen.text.rstrip(" ").endswith("s...\n"))
        watched = screen.text
        screen.types(CTRL_C)
        screen.wait()
    stopped = clone.call("sh", "-c", stop, cwd=cwd, env=env)

    assert install == "pip install -e .\n"
    assert [masked(result.stdout) for result in happened] == told[:2]
    assert masked(watched) == told[2]
    assert [result.returncode for result in (*happened, stopped)] == [0, 0, 0]
    assert not clone.family()


def test_both_pages_have_the_same_commands() -> None:
    english, russian = (blocks(page, "sh") for page in PAGES.values())

    assert english == russian
