"""The switch for tests takes away all that goes beyond POSIX, from this process and from those that it starts."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest
from sandbox import REPOSITORY

from remediation.system import capabilities, environment

# What each system has, in one way or another.
EVERYWHERE = {"steady"}
NAMES = [
    name
    for name, function in inspect.getmembers(capabilities, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == capabilities.__name__ and name not in EVERYWHERE
]

# A Python that was built on an older kernel lacks these.
BY_BUILD = {"has_pidfd", "has_memory_files"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of them")
@pytest.mark.parametrize("name", sorted({*NAMES} - BY_BUILD))
def test_linux_has_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "_has_only_posix", False)

    assert getattr(capabilities, name)()


@pytest.mark.usefixtures("only_posix")
@pytest.mark.parametrize("name", NAMES)
def test_the_switch_takes_it_away(name: str) -> None:
    assert not getattr(capabilities, name)()


def test_a_process_learns_of_the_switch_from_its_environment() -> None:
    script = "from remediation.system.capabilities import has_proc; print(has_proc())"

    done = subprocess.run(
        [sys.executable, "-c", script], env={environment.TEST_PORTABLE: "1"}, cwd=REPOSITORY, text=True,
        capture_output=True, check=True,
    )  # fmt: skip

    assert done.stdout == "False\n"


@pytest.mark.usefixtures("only_posix")
def test_a_command_gets_the_switch_and_a_service_does_not_need_it() -> None:
    assert environment.unmarked({"A": "b"}) == {"A": "b", environment.TEST_PORTABLE: "1"}


# The scripts of a drill import nothing from us. Their arguments carry what they need to know.
EXEMPT = {"system/capabilities.py", "drill/scripts/decoy.py", "drill/scripts/holder.py", "drill/scripts/fulldisk.py"}
# What only some systems have, and `capabilities` therefore answers for.
ELSEWHERE = {
    "pidfd_open", "waitid", "memfd_create", "posix_fallocate", "SIGRTMAX", "SIGRTMIN", "F_SETSIG", "CLOCK_BOOTTIME",
    "SEEK_DATA", "SEEK_HOLE", "pidfd_send_signal", "sched_getaffinity", "sched_setaffinity", "epoll", "eventfd",
    "sigtimedwait", "sigwaitinfo", "prctl", "SO_PEERCRED", "pipe2", "splice", "copy_file_range",
}  # fmt: skip


def test_whoever_uses_what_posix_lacks_asks_first() -> None:
    package = REPOSITORY / "remediation"
    files = {str(path.relative_to(package)): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}

    assert [name for name, text in files.items() if name not in EXEMPT and _uses_without_asking(ast.parse(text))] == []


def _uses_without_asking(tree: ast.Module) -> bool:
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.ImportFrom) and node.module == capabilities.__name__ for node in nodes):
        return False
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ELSEWHERE)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/proc"))
        for node in nodes
    )
