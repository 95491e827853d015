"""A release: tag, version and changelog agree, and what is built is what a package index and pip expect."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from sandbox import REPOSITORY, Sandbox

from remediation import __version__
from remediation.config.load import tomllib

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = PROJECT["urls"]["Source"]
WORKFLOW = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
GOOD = """# Changelog

## Unreleased

## [1.2.0] - 2026-02-28

### Fixed

- A fault.

## 1.1.0 - 2026-01-31

- The first version.
"""


def script() -> ModuleType:
    """Return the script that a release begins with."""
    spec = importlib.util.spec_from_file_location("release", REPOSITORY / ".ci" / "release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = script()


# Tag, version, changelog.


def test_the_changelog_agrees_with_the_version() -> None:
    assert release.version() == __version__
    assert release.faults(release.changelog(), __version__) == []


def test_a_tag_that_agrees_with_version_and_changelog_is_released() -> None:
    assert release.obstacles("v1.2.0", GOOD, "1.2.0") == []


def test_the_changes_of_a_version_are_those_below_its_heading() -> None:
    assert release.sections(GOOD)["1.2.0"] == ("2026-02-28", "### Fixed\n\n- A fault.")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("## Unreleased\n", "", "the changelog does not begin with Unreleased"),
        ("2026-02-28", "soon", "1.2.0 has no date such as 2026-01-31"),
        ("2026-02-28", "2026-02-30", "1.2.0 has no date such as 2026-01-31"),
        ("### Fixed\n\n- A fault.\n", "", "1.2.0 has no changes"),
        ("1.1.0", "1.10.0", "the versions are not in order, the newest first"),
        ("1.2.0", "1.3.0", "the changelog has 1.3.0, but the package is 1.2.0"),
        ("1.1.0", "first", "first is not a version such as 1.2.3"),
        ("1.1.0", "1.2.0", "the changelog has a heading that is neither a version nor unique"),
    ],
)
def test_a_changelog_that_does_not_agree_with_the_version_is_refused(old: str, new: str, fault: str) -> None:
    assert fault in release.faults(GOOD.replace(old, new), "1.2.0")


@pytest.mark.parametrize(
    ("tag", "old", "new", "fault"),
    [
        ("v1.2.1", "", "", "the tag is v1.2.1, but the package is 1.2.0"),
        ("1.2.0", "", "", "the tag is 1.2.0, but the package is 1.2.0"),
        ("v1.2.0", "[1.2.0]", "1.1.9", "the changelog has no section 1.2.0"),
        ("v1.2.0", "Unreleased\n", "Unreleased\n\n- More.\n", "the changelog still has changes under Unreleased"),
    ],
)
def test_a_tag_that_does_not_agree_is_not_released(tag: str, old: str, new: str, fault: str) -> None:
    assert release.obstacles(tag, GOOD.replace(old, new) if old else GOOD, "1.2.0") == [fault]


def test_the_script_says_every_reason_and_fails() -> None:
    words = [sys.executable, str(REPOSITORY / ".ci" / "release.py"), "v0.0.0"]
    result = subprocess.run(words, capture_output=True, text=True)

    assert result.returncode == 1
    assert f"the tag is v0.0.0, but the package is {__version__}" in result.stderr.splitlines()


def test_the_version_is_written_in_one_place() -> None:
    files = [*REPOSITORY.glob("*.*"), *(REPOSITORY / "remediation").rglob("*.py"), *REPOSITORY.glob(".github/**/*.yml")]
    written = re.compile(rf"version\w*\W+{re.escape(__version__)}\b", re.IGNORECASE)
    names = [str(file.relative_to(REPOSITORY)) for file in files if file.suffix in {".py", ".toml", ".yml"}]

    assert "version" in PROJECT["dynamic"]
    assert [name for name in names if written.search((REPOSITORY / name).read_text(encoding="utf-8"))] == [
        "remediation/__init__.py"
    ]


# The workflow.


def test_only_what_was_compared_built_tried_and_attested_is_published() -> None:
    jobs = WORKFLOW["jobs"]
    runs = [step["run"] for step in jobs["build"]["steps"] if "run" in step]

    assert [jobs[name].get("needs") for name in ("build", "try", "attest", "publish")] == [
        None,
        "build",
        "try",
        "attest",
    ]
    assert runs[0] == 'python .ci/release.py "$GITHUB_REF_NAME"'
    assert [run for run in runs if run in {"python -m build", "twine check --strict dist/*"}] == runs[-2:]
    # YAML 1.1 reads the key `on` as true.
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}


def test_only_the_jobs_that_sign_get_a_token_and_only_a_reviewed_one_publishes() -> None:
    jobs = WORKFLOW["jobs"]

    assert WORKFLOW["permissions"] == {}
    assert {name for name, job in jobs.items() if "id-token" in job["permissions"]} == {"attest", "publish"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert [name for name, job in jobs.items() if "environment" in job] == ["publish"]
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]] == [
        "actions/download-artifact", "pypa/gh-action-pypi-publish"
    ]  # fmt: skip


# What is built.


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and the wheel from it, as a release does; return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    result = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return folder


def metadata(folder: Path) -> Message:
    """Return the metadata of the wheel."""
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(wheel.read(name).decode())


@pytest.mark.soak
def test_a_package_index_accepts_what_is_built(built: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout
    assert result.stdout.count("PASSED") == 2


@pytest.mark.soak
def test_every_link_of_the_readme_leads_to_the_tag_of_its_version_on_a_package_index(built: Path) -> None:
    text = str(metadata(built).get_payload())
    inside = re.findall(r"\]\(((?!https?:|#)[^)]*)\)", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)]*)\)", text)

    assert inside
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert {f"{SOURCE}/blob/v{__version__}/{link}" for link in inside} <= set(links)


def test_the_metadata_names_the_version_and_the_pages_of_the_project(built: Path) -> None:
    known = metadata(built)
    named = dict(link.split(", ") for link in known.get_all("Project-URL", []))

    assert known["Version"] == __version__
    assert named.keys() == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert [link for link in named.values() if not link.startswith(SOURCE)] == []
    pages = [link.partition("/blob/main/")[2] for link in named.values() if "/blob/" in link]
    assert [page for page in pages if not (REPOSITORY / page).is_file()] == []


def test_the_source_distribution_has_what_its_own_build_reads(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "docs/README.md"} <= names


@pytest.mark.soak
@pytest.mark.parametrize(
    "words",
    ["-m pytest healthtests", "-m remediation check", "-c 'import auto_heal_command as command; command.run()' check"],
    ids=["pytest", "module", "command"],
)
def test_an_installed_wheel_heals_where_warnings_are_errors(
    built: Path, tmp_path_factory: pytest.TempPathFactory, project: Sandbox, words: str
) -> None:
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)

    result = subprocess.run(
        [sys.executable, *shlex.split(words), "-W", "error"],
        cwd=project.root, env=project.environment(PYTHONPATH=str(site)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout
    assert project.property("verdict") == "healed", result.stdout
    assert "Warning" not in result.stdout
