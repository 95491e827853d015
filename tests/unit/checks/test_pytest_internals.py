"""Everything private that auto-heal uses of other packages is there, and is used in one place."""

from __future__ import annotations

import atexit
import importlib
import re
from importlib.metadata import version

import pytest
from sandbox import REPOSITORY

# What is imported or called by its name: the distribution, the module, and the name in it.
NAMES = [
    ("pytest", "_pytest._code.code", "ReprEntry"),
    ("pytest", "_pytest.compat", "ascii_escaped"),
    ("pytest", "_pytest.junitxml", "LogXML.pytest_sessionstart"),
    ("pytest", "_pytest.junitxml", "bin_xml_escape"),
    ("pytest", "_pytest.junitxml", "mangle_test_address"),
    ("pytest", "_pytest.runner", "runtestprotocol"),
    ("pytest", "_pytest.runner", "SetupState.teardown_exact"),
    ("pytest", "_pytest.unittest", "TestCaseFunction"),
    ("pytest", "_pytest._io", "TerminalWriter._highlight"),
    ("pytest", "_pytest.assertion.rewrite", "AssertionRewritingHook.mark_rewrite"),
    ("pytest-rerunfailures", "pytest_rerunfailures", "StatusDB.get_test_failures"),
    ("pytest-timeout", "pytest_timeout", "Settings"),
    ("pytest-timeout", "pytest_timeout", "is_debugging"),
    ("pytest-xdist", "xdist.workermanage", "WorkerController"),
    ("pytest-cov", "pytest_cov.plugin", "CovPlugin"),
]
# Those that use something private of packages other than pytest and its plugins, and what.
ALSO_PRIVATE = {
    "checks/pytest_internals.py": "pytest and its plugins",
    "checks/conftest_loading.py": "sys._current_frames",
    "checks/transport.py": "the content of a response of requests",
    "system/files.py": "the descriptor of filelock's lock",
    "system/process_exit.py": "atexit",
}


@pytest.mark.parametrize(("distribution", "module", "name"), NAMES, ids=lambda text: text)
def test_a_name_that_we_need_is_there(distribution: str, module: str, name: str) -> None:
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)

    assert found, f"{distribution} {version(distribution)} has no {module}.{name}, which pytest_internals needs"


def test_a_check_has_what_we_change(request: pytest.FixtureRequest) -> None:
    item, installed = request.node, f"pytest {version('pytest')}"
    identity = getattr(item, "_id", None)

    assert hasattr(type(identity), "parse") if identity else hasattr(item, "_nodeid"), f"{installed}: the ID of an item"
    assert isinstance(item._report_sections, list), f"{installed}: the output of an item"
    assert hasattr(item.session, "_setupstate"), f"{installed}: the state of set-up"


def test_pytest_keeps_the_names_of_the_packages_that_it_rewrites(pytestconfig: pytest.Config) -> None:
    names = getattr(pytestconfig.pluginmanager.rewrite_hook, "_must_rewrite", None)

    assert isinstance(names, set), f"pytest {version('pytest')}: the packages to rewrite, for pytest_auto_heal"
    assert "remediation" not in names


def test_the_xml_plugin_has_the_path_of_its_file(tmp_path: str) -> None:
    from _pytest.junitxml import LogXML

    assert LogXML(f"{tmp_path}/a.xml", prefix=None).logfile, f"pytest {version('pytest')}: the path of the XML"


def test_a_worker_has_its_process() -> None:
    import execnet

    group = execnet.Group()
    gateway = group.makegateway("popen")
    try:
        assert getattr(gateway._io, "popen", None), f"execnet {version('execnet')}: the process of a gateway"
    finally:
        group.terminate(timeout=5)


@pytest.mark.parametrize("name", ["_run_exitfuncs", "_clear"])
def test_the_exit_functions_can_be_run_and_forgotten(name: str) -> None:
    assert callable(getattr(atexit, name, None)), f"atexit has no {name}, which system/process_exit.py needs"


def test_no_other_module_uses_anything_private() -> None:
    private = re.compile(r"^\s*(from|import) _pytest|noqa: SLF001", re.MULTILINE)
    package = REPOSITORY / "remediation"
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if private.search(path.read_text(encoding="utf-8"))
    }

    assert users == set(ALSO_PRIVATE)
