"""Without any conftest of ours, pytest's own way of finding plugins is enough; other sessions do not notice it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import REPOSITORY, Result, Sandbox, is_healed
from watching import command, watching

OTHER = "remediation/__init__.py"
HIDES = "hides auto-heal's own package"
USES_OURS = "from remediation.mine import VALUE\n\n\ndef test_unit():\n    assert VALUE == 1\n"
SICK = "import unittest\n\n\nclass Sick(unittest.TestCase):\n    def test_sick(self):\n        self.fail()\n"
# The command, without the import path of the tests.
COMMAND = [str(Path(sys.executable).parent / "auto-heal"), "check"]
PYTEST = [str(Path(sys.executable).parent / "pytest"), "healthtests"]
HOOKS = (REPOSITORY / "conftest.py").read_text()


@pytest.fixture
def namesake(project: Sandbox) -> Sandbox:
    """A project with a package that is called like ours."""
    project.write(OTHER, "")
    project.write("remediation/mine.py", "VALUE = 1\n")
    return project


def run(project: Sandbox, *words: str, **env: str) -> Result:
    """Run a command in the folder of the project."""
    process = subprocess.Popen(
        words, cwd=project.root, env=project.environment(**env), text=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Result.of(process)


def installed_from_a_wheel(project: Sandbox) -> None:
    """List the files of ours, as a wheel does and an editable installation does not."""
    project.write("installed-1.dist-info/METADATA", "Name: installed\nVersion: 1\n")
    files = ("remediation/__init__.py", "pytest_auto_heal.py", "auto_heal_command.py")
    project.write("installed-1.dist-info/RECORD", "".join(f"{name},,\n" for name in files))
    project.write("installed-1.dist-info/entry_points.txt", "[pytest11]\nauto-heal = pytest_auto_heal\n")


def imported(project: Sandbox, *arguments: str) -> str:
    """Return which modules of ours a session of pytest has imported."""
    project.write(
        "tests/test_unit.py",
        "import sys\n\n\ndef test_unit():\n    print(sorted(m for m in sys.modules if m.startswith('remediation')))\n",
    )
    result = project.run("pytest", "-s", "-q", *arguments)
    assert result.code == 0, result
    return result.lines[0]


def test_pytest_heals_alone_and_with_workers(project: Sandbox) -> None:
    is_healed(project)

    result = project.check("-n", "2")

    assert result.code == 0, result
    assert project.property("verdict") == "healthy"


def test_without_healing_nothing_is_touched(project: Sandbox) -> None:
    result = project.check("--no-heal")

    assert result.code == 1, result
    assert not project.family()


@pytest.mark.soak
def test_the_commands_check_before_and_after_a_deployment_and_drill(project: Sandbox) -> None:
    assert project.auto_heal("check").code == 0
    assert project.auto_heal("predeploy").code == 0
    assert project.auto_heal("postdeploy").code == 0

    drill = project.auto_heal("drill", "--yes", "--fault", "crash")

    assert drill.code == 0, drill


def test_the_monitor_heals(project: Sandbox) -> None:
    with watching(project) as monitor:
        monitor.says("Healed!")

    assert project.answers()


@pytest.mark.parametrize("arguments", [(), ("tests",), ("tests", "--deselect", "healthtests/test_items.py")])
def test_another_session_imports_nothing_of_ours(project: Sandbox, arguments: tuple[str, ...]) -> None:
    assert imported(project, *arguments) == "[]"
    project.write("tests/test_sick.py", SICK)

    result = project.run("pytest", *arguments)

    assert result.code == 1, result
    assert "1 failed, 1 passed" in result.output
    assert not (project.root / "reports").exists()


def test_tests_in_a_folder_of_that_name_are_collected_where_nothing_is_configured(project: Sandbox) -> None:
    (project.root / "auto-heal.toml").unlink()
    for check in (project.root / "healthtests").glob("test_*.py"):
        check.write_text("def test_of_another_kind():\n    pass\n")

    assert "3 passed" in project.run("pytest").output


@pytest.mark.parametrize(
    "words", [["-m", "pytest", "tests", "--deselect", "healthtests/test_items.py"], [PYTEST[0], "tests", "-n", "2"]]
)
def test_a_project_with_a_package_of_that_name_tests_it_as_if_we_were_not_installed(
    namesake: Sandbox, words: list[str]
) -> None:
    namesake.write("tests/test_unit.py", USES_OURS)
    namesake.write("conftest.py", "from remediation.mine import VALUE\n")

    result = run(namesake, sys.executable, *words, PYTHONPATH="")

    assert result.code == 0, result
    assert "1 passed" in result.output


@pytest.mark.parametrize(
    ("words", "conftest"),
    [
        ([sys.executable, "-m", "pytest", "healthtests", "-n", "2"], ""),
        ([sys.executable, "-m", "pytest", "healthtests"], HOOKS),
        (PYTEST, "from remediation.mine import VALUE\n"),
        (COMMAND, "from remediation.mine import VALUE\n"),
    ],
    ids=["python -m pytest -n 2", "our hooks", "pytest", "auto-heal check"],
)
def test_a_health_run_with_such_a_package_in_front_ends_with_one_error(
    namesake: Sandbox, words: list[str], conftest: str
) -> None:
    namesake.write("conftest.py", conftest)

    result = run(namesake, *words, PYTHONPATH=str(namesake.root))

    assert result.code == 4, result
    assert f"{namesake.root / OTHER} {HIDES}" in result.output
    assert "Traceback" not in result.output
    assert not namesake.family()


def test_a_package_that_pytest_puts_in_front_while_it_collects_is_found(namesake: Sandbox) -> None:
    namesake.write("healthtests/__init__.py", "")
    namesake.write("healthtests/test_own.py", "import remediation.mine\n\n\ndef test_own():\n    pass\n")

    result = run(namesake, *PYTEST, PYTHONPATH="")

    assert result.code == 4, result
    assert HIDES in result.output


@pytest.mark.soak
def test_a_package_that_is_not_on_the_import_path_hinders_neither_check_nor_monitor(namesake: Sandbox) -> None:
    result = run(namesake, *COMMAND, PYTHONPATH="")

    assert result.code == 0, result
    with command(namesake, COMMAND[0], "monitor", PYTHONPATH="") as monitor:
        monitor.says("All systems are healthy")


@pytest.mark.soak
@pytest.mark.parametrize("place", ["conftest.py", "healthtests/conftest.py"])
def test_the_hooks_of_a_conftest_run_once_instead_of_ours(project: Sandbox, place: str) -> None:
    project.write(
        place, HOOKS.replace("    plugin.finish(session)\n", "    print('finish')\n    plugin.finish(session)\n")
    )

    healed = project.check("-s")

    assert healed.code == 0, healed
    assert project.property("verdict") == "healed"
    assert healed.output.count("Healed!") == 1
    assert project.check("-n", "2").code == 0
    assert project.auto_heal("check").code == 0


def test_what_a_conftest_leaves_out_does_not_happen(project: Sandbox) -> None:
    project.write("conftest.py", HOOKS.replace("    plugin.finish(session)\n", ""))

    assert project.check().code == 1
    assert not project.family()


@pytest.mark.soak
@pytest.mark.parametrize("arguments", [[], ["-p", "pytest_auto_heal"], ["-p", "auto-heal"]])
def test_a_conftest_or_an_option_may_name_the_module(project: Sandbox, arguments: list[str]) -> None:
    project.write("conftest.py", "pytest_plugins = ['pytest_auto_heal']\n")

    result = project.check(*arguments)

    assert result.code == 0, result
    assert project.property("verdict") == "healed"


@pytest.mark.soak
@pytest.mark.parametrize("conftest", ["", "pytest_plugins = ['pytest_auto_heal']\n", HOOKS])
def test_it_can_be_switched_off(project: Sandbox, conftest: str) -> None:
    project.write("conftest.py", conftest)

    result = project.check("-p", "no:auto-heal")

    assert result.code == 1, result
    assert not project.family()
    assert not (project.root / "reports").exists()


@pytest.mark.soak
def test_it_can_be_named_where_no_plugin_is_loaded_by_itself(project: Sandbox) -> None:
    names = [word for name in ("auto-heal", "rerunfailures", "timeout") for word in ("-p", name)]

    assert project.check(*names, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1").code == 0
    refused = project.auto_heal("check", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert refused.code == 4, refused
    assert "without auto-heal's plugin" in refused.output


@pytest.mark.parametrize("conftest", ["", HOOKS])
def test_options_and_marker_are_there_once(project: Sandbox, conftest: str) -> None:
    project.write("conftest.py", conftest)

    assert project.run("pytest", "--help").output.count("--heal-rounds=N") == 1
    assert project.run("pytest", "--markers").output.count("@pytest.mark.heals") == 1


def test_a_wrong_option_leaves_no_report_of_an_earlier_run(project: Sandbox) -> None:
    report = project.write("reports/health.xml", "<testsuites/>")

    assert project.check("--heal=always").code == 4
    assert not report.exists()


def test_an_import_that_hangs_in_a_conftest_ends_in_time(project: Sandbox) -> None:
    project.configure(top="collect_timeout = 1")
    project.write("conftest.py", "import time\n\ntime.sleep(600)\n")

    result = project.check()

    assert result.code == 3, result
    assert "conftest.py:3: loading the project's conftests takes longer" in result.output


def test_a_check_whose_import_is_missing_says_how_to_add_it(project: Sandbox) -> None:
    project.write("healthtests/test_shop.py", "import shop_client.api\n\n\ndef test_shop():\n    pass\n")

    for result in (project.check(), project.auto_heal("check")):
        assert result.code == 2, result
        assert result.output.count("add the package that provides it: pip install shop_client") == 1


def test_pytest_does_not_rewrite_a_package_because_ours_has_its_name(namesake: Sandbox) -> None:
    namesake.write("remediation/mine.py", "def refuse():\n    value = 1\n    assert value == 2\n")
    namesake.write(
        "tests/test_unit.py",
        "import pytest\nfrom remediation import mine\n\n\n"
        "def test_unit():\n"
        "    with pytest.raises(AssertionError) as error:\n        mine.refuse()\n    assert str(error.value) == ''\n",
    )
    installed_from_a_wheel(namesake)

    result = run(namesake, sys.executable, "-m", "pytest", "tests", PYTHONPATH=str(namesake.root))

    assert result.code == 0, result


def test_a_command_imports_ours_before_pytest_without_a_warning(project: Sandbox) -> None:
    installed_from_a_wheel(project)
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")

    result = run(project, *COMMAND, "-v", PYTHONPATH=str(project.root))

    assert result.code == 0, result
    assert "warning" not in result.output
    with command(project, COMMAND[0], "monitor", PYTHONPATH=str(project.root)) as monitor:
        monitor.says("All systems are healthy")
