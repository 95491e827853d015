"""The pipelines that we run and show: valid, accepted by zizmor, and with options that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from sandbox import REPOSITORY, Sandbox
from tree_sitter import Language, Node, Parser

from remediation.cli.main import parser
from remediation.config.model import Project

ACTION = REPOSITORY / "action.yml"
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
EXAMPLES = REPOSITORY / "examples" / "ci"
GITHUB = EXAMPLES / "github-actions.yml"
GITLAB = EXAMPLES / "gitlab-ci.yml"
JENKINS = EXAMPLES / "Jenkinsfile"
SCHEMAS = [
    *((path, "vendor.github-workflows") for path in (*WORKFLOWS, GITHUB)),
    (ACTION, "vendor.github-actions"),
    (GITLAB, "vendor.gitlab-ci"),
]
REPORT = str(Project(source=Path("pyproject.toml")).report)


def loaded(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command without network, and without the settings of the user."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.devnull, "HTTPS_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def validate(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    """Validate a file by one of the schemas that check-jsonschema includes."""
    return run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path)


def zizmor(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Scan workflows and actions for vulnerabilities."""
    return run(Path(sysconfig.get_path("scripts"), "zizmor"), "--offline", "--no-config", "--strict-collection", *paths)


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=lambda value: getattr(value, "name", value))
def test_what_github_and_gitlab_read_is_as_their_schemas_have_it(path: Path, schema: str) -> None:
    result = validate(path, schema)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("path", "schema", "old", "new"),
    [
        (GITHUB, "vendor.github-workflows", "runs-on:", "runs-in:"),
        (ACTION, "vendor.github-actions", "shell: bash", "shel: bash"),
        (GITLAB, "vendor.gitlab-ci", "when: always", "when: allways"),
    ],
    ids=["workflow", "action", "gitlab"],
)
def test_a_misspelt_key_or_value_would_be_found(tmp_path: Path, path: Path, schema: str, old: str, new: str) -> None:
    bad = tmp_path / path.name
    bad.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    result = validate(bad, schema)

    assert result.returncode == 1, result.stdout


def test_zizmor_finds_nothing_in_workflows_example_and_action() -> None:
    result = zizmor(ACTION, GITHUB, *WORKFLOWS)

    assert result.returncode == 0, result.stdout
    assert "No findings to report" in result.stdout


@pytest.mark.parametrize(
    ("path", "old", "new", "audit"),
    [
        (ACTION, 'cd "$INPUT_PATH"', 'cd "${{ inputs.path }}"', "template-injection"),
        (GITHUB, r"@[0-9a-f]{40} # v\d", "@v7", "unpinned-uses"),
        (GITHUB, "permissions:\n  contents: read", "permissions: write-all", "excessive-permissions"),
    ],
    ids=["pasted", "unpinned", "permitted"],
)
def test_what_can_be_abused_would_be_found(tmp_path: Path, path: Path, old: str, new: str, audit: str) -> None:
    text = path.read_text(encoding="utf-8")
    changed = re.sub(old, new, text) if old.startswith("@") else text.replace(old, new)
    assert changed != text
    bad = tmp_path / path.name
    bad.write_text(changed, encoding="utf-8")

    result = zizmor(bad)

    assert result.returncode > 10, result.stdout
    assert f"[{audit}]" in result.stdout


# What the pipelines run.


def scripts(path: Path) -> list[str]:
    """Return the shell scripts of a pipeline, in order."""
    if path == JENKINS:
        return re.findall(r"\bsh '(.*)'", path.read_text(encoding="utf-8"))
    pipeline = loaded(path)
    if path == GITLAB:
        return list(pipeline["production"]["script"])
    return [step["run"] for job in pipeline["jobs"].values() for step in job["steps"] if "run" in step]


def auto_heals(path: Path) -> list[list[str]]:
    """Return the words of each command line of auto-heal in a pipeline."""
    found = []
    for script in scripts(path):
        for line in script.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words and Path(words[0]).name == "auto-heal":
                found.append(words[1:])
    return found


@pytest.mark.parametrize("path", [GITHUB, GITLAB, JENKINS, *WORKFLOWS], ids=lambda path: path.name)
def test_every_command_line_of_a_pipeline_is_one_of_auto_heal(path: Path) -> None:
    for words in auto_heals(path):
        _, rest = parser().parse_known_args(words)

        assert {word.partition("=")[0] for word in rest} <= {"--junitxml"}


@pytest.mark.parametrize("path", [GITHUB, GITLAB, JENKINS], ids=lambda path: path.name)
def test_an_example_is_a_whole_deployment(path: Path) -> None:
    before, after = auto_heals(path)
    order = "\n".join(scripts(path))

    assert before[0] == "predeploy"
    assert after[0] == "postdeploy"
    assert {"--wait", "--expect-version"} <= set(after)
    assert order.index("predeploy") < order.index("./deploy.sh") < order.index("postdeploy")


def test_on_github_reports_are_uploaded_always_and_the_baseline_reaches_the_last_job() -> None:
    pipeline = loaded(GITHUB)
    jobs = pipeline["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    always = [step for step in steps if step.get("if") == "always()"]
    handed = [step["with"] for step in steps if step.get("with", {}).get("name") == "baseline"]
    words = [word for line in auto_heals(GITHUB) for word in line]

    assert [step["with"]["path"].split() for step in always] == [
        ["reports/predeploy.xml", "*.log"], ["reports/postdeploy.xml", "*.log"]
    ]  # fmt: skip
    assert [word for word in words if word.startswith("--junitxml")] == [
        "--junitxml=reports/predeploy.xml", "--junitxml=reports/postdeploy.xml",
    ]  # fmt: skip
    assert handed == [{"name": "baseline", "path": "baseline.json"}, {"name": "baseline"}]
    assert words.count("baseline.json") == words.count("--baseline") == 2
    assert jobs["postdeploy"]["needs"] == ["predeploy", "deploy"]
    assert pipeline["concurrency"]["cancel-in-progress"] is False


def test_on_gitlab_the_report_is_published_always_and_one_job_deploys_at_a_time() -> None:
    job = loaded(GITLAB)["production"]

    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"] == {"junit": REPORT}
    assert job["resource_group"]


@pytest.mark.parametrize(
    ("predeploy", "deploy", "postdeploy", "code", "ran"),
    [
        (0, 0, 0, 0, "predeploy deploy postdeploy"),
        (1, 0, 0, 1, "predeploy"),
        (0, 5, 0, 5, "predeploy deploy postdeploy"),
        (0, 0, 11, 11, "predeploy deploy postdeploy"),
        (0, 5, 1, 1, "predeploy deploy postdeploy"),
    ],
    ids=["well", "sick before", "deployment fails", "rolled back", "sick after"],
)
def test_on_gitlab_the_job_ends_as_the_deployment_did(
    tmp_path: Path, predeploy: int, deploy: int, postdeploy: int, code: int, ran: str
) -> None:
    codes = f"case $1 in predeploy) exit {predeploy} ;; postdeploy) exit {postdeploy} ;; esac"
    for name, script in {
        ".venv/bin/auto-heal": f"echo $1 >> ran; {codes}",
        ".venv/bin/pip": "",
        "bin/python3": "",
        "deploy.sh": f"echo deploy >> ran; exit {deploy}",
    }.items():
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "CI_COMMIT_SHA": "abc"}
    bash = shutil.which("bash")
    assert bash

    result = subprocess.run(
        [bash, "-eo", "pipefail", "-c", "\n".join(scripts(GITLAB))], cwd=tmp_path, env=environ, capture_output=True
    )

    assert result.returncode == code, result
    assert (tmp_path / "ran").read_text().split() == ran.split()


# Jenkins.


def groovy(text: str) -> Node:
    """Return the syntax tree of Groovy."""
    import tree_sitter_groovy

    return Parser(Language(tree_sitter_groovy.language())).parse(text.encode()).root_node


def test_the_jenkinsfile_is_groovy() -> None:
    text = JENKINS.read_text(encoding="utf-8")

    assert not groovy(text).has_error
    assert groovy(text.replace("stages {", "stages")).has_error


def test_on_jenkins_the_report_is_published_always_and_one_build_deploys_at_a_time() -> None:
    text = JENKINS.read_text(encoding="utf-8")

    assert re.findall(r"\bstage\('(\w+)'\)", text) == ["Install", "Predeploy", "Deploy", "Postdeploy"]
    assert re.search(rf"\bpost {{\s+always {{[^}}]*\bjunit '{REPORT}'[^}}]*\barchiveArtifacts ", text)
    assert re.search(r"\boptions {[^}]*^\s+disableConcurrentBuilds\(\)$", text, re.MULTILINE)


def test_nothing_by_which_jenkins_ends_what_a_build_leaves_reaches_a_service(project: Sandbox) -> None:
    result = project.auto_heal("start", JENKINS_NODE_COOKIE="of-the-build", JENKINS_SERVER_COOKIE="of-the-server")

    assert result.code == 0, result
    assert [{name for name in process.environ() if "COOKIE" in name} for process in project.family()] == [set()]
