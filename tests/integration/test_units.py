"""The text for systemd: systemd's own verifier accepts it, and it agrees with the text for cron."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from folders import FOLDERS, ODD, PLAIN, project_in
from msgspec.structs import replace
from sandbox import DEADLINE

from remediation.cli.units import cron_line, systemd_unit, unit_name
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.healing.hooks import HOOK_SECONDS

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Project]:
    """Write a project into a folder with a given name, and return it."""
    return partial(project_in, tmp_path)


def complaints(unit: str, folder: Path, *options: str) -> list[str]:
    """Return what systemd's verifier reports for a unit; other units of this machine may have faults too."""
    file = folder / "auto-heal-tested.service"
    file.write_text(unit, encoding="utf-8")
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "SYSTEMD_LOG_TARGET": "console"}
    result = subprocess.run(
        ["systemd-analyze", *options, "verify", str(file)],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=DEADLINE,
    )  # fmt: skip
    return [line for line in result.stdout.splitlines() if file.name in line or line.startswith("Failed to")]


def settings(unit: str) -> dict[str, str]:
    """Return the last value of each setting of a unit."""
    return dict(line.split("=", 1) for line in unit.splitlines() if re.match("[A-Z]", line))


# The unit.


@needs_systemd
@pytest.mark.parametrize("folder", FOLDERS)
def test_systemd_verifies_the_unit(make: Callable[..., Project], tmp_path: Path, folder: str) -> None:
    assert complaints(systemd_unit(make(folder)), tmp_path) == []


@needs_systemd
@pytest.mark.parametrize("folder", [PLAIN, ODD])
def test_systemd_verifies_the_unit_with_all_its_hardening(
    make: Callable[..., Project], tmp_path: Path, folder: str
) -> None:
    unit = re.sub(r"^#(?=[A-Z]\w+=)", "", systemd_unit(make(folder)), flags=re.MULTILINE).replace("User=NAME", "User=1")

    assert settings(unit)["NoNewPrivileges"] == "yes"
    assert complaints(unit, tmp_path) == []


@needs_systemd
@pytest.mark.parametrize("folder", [PLAIN, ODD])
def test_systemd_verifies_the_unit_for_a_user_alone(
    make: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    unit = systemd_unit(make(folder))
    (edit,) = re.findall("sed '[^']+'", unit)

    edited = subprocess.run(["sh", "-c", edit], input=unit, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout

    assert settings(unit).keys() - settings(edited).keys() == {"User", "ProtectSystem", "CapabilityBoundingSet"}
    assert settings(edited)["WantedBy"] == "default.target"
    assert complaints(edited, tmp_path, "--user") == []


@needs_systemd
@pytest.mark.parametrize("folder", [PLAIN, ODD])
def test_systemd_verifies_an_interpreter_in_such_a_folder(
    make: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    project = make(folder)
    python = project.root / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))

    assert complaints(systemd_unit(project), tmp_path) == []


@needs_systemd
def test_systemd_would_have_told_of_a_fault(make: Callable[..., Project], tmp_path: Path) -> None:
    unit = systemd_unit(make())

    assert complaints(unit.replace("KillMode=process", "KillMode=gently"), tmp_path)
    assert complaints(unit.replace("ExecStart=", "ExecStart=no-such-program "), tmp_path)


def test_every_path_is_written_as_systemd_reads_it(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/a $b 5%/python")
    monkeypatch.setenv("PATH", "/opt/a $b\"c' 5%/\\x41:/usr/bin:/bin")
    project = replace(make(), source=Path("/srv/a $b\"c' 5%/\\x41/auto-heal.toml"))

    written = settings(systemd_unit(project))

    # What a real systemd 252 made the working directory, the variable and the arguments that they stand for.
    assert written["WorkingDirectory"] == "/srv/a $b\"c' 5%%/\\x41/"
    assert written["Environment"] == '"PATH=/opt/a $b\\"c\' 5%%/\\\\x41:/usr/bin:/bin"'
    assert written["ExecStart"] == '/bin/sh -c "exec \\"$$0\\" -m remediation monitor" "/opt/a $$b 5%%/python"'


def test_a_plain_path_is_written_plainly(make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/venv-3.11/bin/python")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    written = settings(systemd_unit(make()))

    assert written["ExecStart"] == "/opt/venv-3.11/bin/python -m remediation monitor"
    assert written["Environment"] == "PATH=/usr/bin:/bin"


@pytest.mark.parametrize(("user", "is_strict"), [(0, True), (65_534, False)])
def test_roots_monitor_refuses_what_others_may_write(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, user: int, *, is_strict: bool
) -> None:
    project = make()
    monkeypatch.setattr(os, "geteuid", lambda: user)

    assert ("\nEnvironment=AUTO_HEAL_STRICT=1\n" in systemd_unit(project)) == is_strict


def test_the_monitor_runs_as_whoever_asked(make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    project = make()
    somebody = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    users = []
    for uid in (somebody.pw_uid, 4_000_000_000, 0):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        users.append(settings(systemd_unit(project)).get("User"))

    assert users == [somebody.pw_name, "4000000000", None]


def test_a_stop_has_the_time_of_the_longest_chain_of_heals(make: Callable[..., Project]) -> None:
    one = 'command = "x"\nstop_timeout = 1\nstart_timeout = 10\n'
    rung = 'ladder = ["restart", { run = "npm ci", timeout = 100.5 }]\n'
    project = make(
        text="retries = 2\ntimeout = 3\nretry_delay = 4\n"
        f"[services.db]\n{one}{rung}"
        f'[services.api]\n{one}depends_on = ["db"]\n'
        f'[services.web]\n{one}depends_on = ["db", "api"]\n'
        f"[services.other]\n{one}"
    )

    stop = settings(systemd_unit(project))["TimeoutStopSec"]

    # Each 2 hooks, 3 seconds for evidence, 3 stops, the tries of a start, its verification and 5 seconds to spare; db's
    # command; then two attempts at the checks.
    assert stop == "298"
    assert 297 < 3 * (2 * HOOK_SECONDS + 3 + 3 * 1 + 3 * 10 + 5) + 100.5 + 2 * (3 + 4) <= 298


def test_folders_that_the_hardening_would_close_stay_open(make: Callable[..., Project]) -> None:
    project = replace(make(), source=Path("/usr/src/the shop/auto-heal.toml"))

    unit = systemd_unit(project)

    assert 'ReadWritePaths="-/usr/src/the shop"' in unit.splitlines()
    assert "ReadWritePaths" not in systemd_unit(make("elsewhere"))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("shop", "auto-heal-shop"),
        ("My Shop 2.0", "auto-heal-My-Shop-2-0"),
        ("магазин", "auto-heal-[0-9a-f]{8}"),
        ("-.@%", "auto-heal-[0-9a-f]{8}"),
        ("x" * 200, "auto-heal-x{64}"),
    ],
)
def test_a_unit_is_called_after_the_folder(make: Callable[..., Project], folder: str, name: str) -> None:
    project = make(folder)

    assert re.fullmatch(name, unit_name(project))
    assert f"/etc/systemd/system/{unit_name(project)}.service" in systemd_unit(project)


def test_two_folders_without_a_latin_letter_get_two_names(make: Callable[..., Project]) -> None:
    assert unit_name(make("магазин")) != unit_name(make("касса"))


# Both.


@pytest.mark.parametrize("write", [systemd_unit, cron_line])
@pytest.mark.parametrize("character", ["\n", "\x1b", "\udcff"], ids=["line", "control", "no text"])
def test_a_path_that_cannot_be_written_is_told(
    make: Callable[..., Project], write: Callable[[Project], str], character: str
) -> None:
    project = make(f"a{character}b")

    with pytest.raises(ConfigError, match="can name a path with such characters"):
        write(project)


@pytest.mark.parametrize("write", [systemd_unit, cron_line])
def test_only_folders_that_are_the_same_from_everywhere_are_searched(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, write: Callable[[Project], str]
) -> None:
    project = make()
    monkeypatch.setenv("PATH", "/opt/node/bin::.:bin:/opt/node/bin:/with\nline:/bin")

    assert re.search(r"PATH=/opt/node/bin:/bin:/usr/bin( |$)", write(project), re.MULTILINE)


def test_without_a_path_the_systems_own_is_searched(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATH")

    folders = settings(systemd_unit(make()))["Environment"].removeprefix("PATH=").split(":")

    assert {"/usr/bin", "/bin"} <= set(folders)
