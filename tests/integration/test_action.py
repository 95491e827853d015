"""The action: bash runs its script as on GitHub's runner, and no input value is ever read as code."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest
from folders import FOLDERS
from sandbox import PYTHON, REPOSITORY, Sandbox
from stepping import ACTION, INPUTS, Runner

from remediation.cli.main import parser

HOSTILE = [
    "$(touch canary)", "`touch canary`", '"; touch canary; "', "'; touch canary; '", "&& touch canary", "-x", "--", "*",
    "a b", "\\", "${HOME}", "::error::x", "#", "юни",
]  # fmt: skip
# Says how it was called, and exits as it is told.
RECORDER = """#!/bin/sh
exec {python} -c '
import json, os, sys
record = {{"words": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(), "environ": dict(os.environ)}}
json.dump(record, open(os.environ["RECORD"], "w"))
sys.exit(int(os.environ.get("EXIT", "0")))
' "$@"
"""
PIP = """#!/bin/sh
echo "$@" >> "{temp}/installed"
[ -z "$BROKEN" ] && cp "{recorder}" "${{0%pip}}auto-heal"
"""


@pytest.fixture
def recording(tmp_path: Path) -> Runner:
    """A runner whose auto-heal only records how it was called."""
    (tmp_path / "workspace").mkdir()
    runner = Runner(tmp_path, tmp_path / "workspace")
    runner.program("auto-heal", RECORDER.format(python=PYTHON))
    return runner


@pytest.fixture
def runner(project: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A runner with auto-heal on PATH, and the project as its workspace."""
    runner = Runner(tmp_path_factory.mktemp("runner"), project.root)
    runner.program("auto-heal", f'#!/bin/sh\nexec {PYTHON} -m remediation "$@"\n')
    return runner


# What the script is.


def test_no_expression_stands_in_a_script() -> None:
    assert [step["run"] for step in ACTION["runs"]["steps"] if "${{" in step["run"]] == []


def test_every_input_is_handed_over_by_the_environment_under_a_name_that_means_nothing_to_auto_heal() -> None:
    (step,) = ACTION["runs"]["steps"]

    assert tuple(ACTION["inputs"]) == INPUTS
    assert {Runner.resolved(text, {name: name for name in INPUTS}) for text in step["env"].values()} == set(INPUTS)
    assert not [name for name in step["env"] if name.startswith("AUTO_HEAL")]
    assert set(step) == {"id", "shell", "env", "run"}


# What it calls.


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["check"]),
        ({"command": "", "path": "", "heal": ""}, ["check"]),
        ({"heal": "plan", "report": "a b.xml"}, ["check", "--heal=plan", "--junitxml=a b.xml"]),
        ({"heal": "off"}, ["check", "--heal=off"]),
        ({"command": "predeploy", "report": "r.xml"}, ["predeploy", "--junitxml=r.xml"]),
        ({"command": "predeploy", "heal": "off"}, ["predeploy"]),
        ({"command": "postdeploy"}, ["postdeploy"]),
        (
            {"command": "postdeploy", "wait": "2m", "expect-version": "1.2", "heal": "off"},
            ["postdeploy", "--heal=off", "--wait=2m", "--expect-version=1.2"],
        ),
        (
            {"command": "postdeploy", "expect-version": "api=1.2\n\nshop=3\n"},
            ["postdeploy", "--expect-version=api=1.2", "--expect-version=shop=3"],
        ),
    ],
    ids=lambda value: " ".join(map(str, value.values() if isinstance(value, dict) else value)).strip() or "nothing",
)
def test_inputs_become_options_that_auto_heal_has(recording: Runner, inputs: dict[str, str], words: list[str]) -> None:
    result = recording.step(inputs)

    assert result.code == 0, result
    assert recording.record["words"] == words
    _, rest = parser().parse_known_args(words)
    assert {word.partition("=")[0] for word in rest} <= {"--heal", "--junitxml"}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_is_one_word_whatever_it_is(recording: Runner, text: str) -> None:
    result = recording.step({"command": "postdeploy", "wait": text, "expect-version": text, "report": text})

    assert result.code == 0, result
    options = [f"--wait={text}", f"--expect-version={text}", f"--junitxml={text}"]
    assert recording.record["words"] == ["postdeploy", *options]
    assert list(recording.workspace.iterdir()) == []


@pytest.mark.parametrize("name", [*FOLDERS, *HOSTILE, "-", "~"])
def test_the_path_is_a_folder_whatever_it_is_called(recording: Runner, name: str) -> None:
    folder = recording.workspace / name
    folder.mkdir()

    result = recording.step({"path": name}, CDPATH="/", OLDPWD="/")

    assert result.code == 0, result
    assert recording.record["cwd"] == str(folder)
    assert list(recording.workspace.iterdir()) == [folder]


def test_the_path_may_be_absolute(recording: Runner) -> None:
    folder = recording.folder("elsewhere")

    result = recording.step({"path": str(folder)})

    assert result.code == 0, result
    assert recording.record["cwd"] == str(folder)


def test_auto_heal_takes_the_place_of_the_shell_and_inherits_no_input(recording: Runner) -> None:
    result = recording.step({"command": "postdeploy", "wait": "1m"})

    assert result.code == 0, result
    assert recording.record["pid"] == recording.pid
    assert not [name for name in recording.record["environ"] if name.startswith("INPUT_")]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 10, 11])
def test_the_step_exits_as_auto_heal_does(recording: Runner, code: int) -> None:
    result = recording.step(EXIT=str(code))

    assert result.code == code, result


# What it refuses.


@pytest.mark.parametrize(
    "inputs",
    [
        *({"command": text} for text in ("monitor", "check\n::warning::x", "check; touch canary", *HOSTILE)),
        *({"heal": text} for text in ("on", "off\n::warning::x", *HOSTILE)),
        {"wait": "1m"}, {"expect-version": "1.2"}, {"command": "predeploy", "wait": "1m"},
        *({"path": text} for text in ("nowhere", "no\n::warning::where", "$(touch canary)", "-")),
    ],
    ids=lambda inputs: " ".join(map("=".join, inputs.items())),
)  # fmt: skip
def test_wrong_use_is_told_in_one_sentence(recording: Runner, inputs: dict[str, str]) -> None:
    result = recording.step(inputs)

    told = [line for line in result.lines if line.startswith("::")]
    assert result.code == 4, result
    assert len(told) == 1
    assert told[0].startswith("::error::auto-heal: ")
    assert recording.record is None
    assert list(recording.workspace.iterdir()) == []


# Without auto-heal on PATH.


@pytest.fixture
def bare(recording: Runner) -> Runner:
    """A runner without auto-heal, whose Python makes environments with a pip that installs the recorder."""
    recorder = (recording.folder("bin") / "auto-heal").rename(recording.temp / "recorder")
    recording.path = f"{recording.folder('bin')}:/usr/bin:/bin"
    assert shutil.which("auto-heal", path=recording.path) is None
    pip = recording.program("pip", PIP.format(temp=recording.temp, recorder=recorder)).rename(recording.temp / "pip")
    recording.program("python3", f'#!/bin/sh\nmkdir -p "$3/bin" && cp "{pip}" "$3/bin/"\n')
    return recording


def test_it_is_installed_from_where_the_action_is_and_once_a_job(bare: Runner) -> None:
    results = [bare.step(), bare.step({"command": "predeploy"})]

    assert [result.code for result in results] == [0, 0], results
    installed = (bare.temp / "installed").read_text().splitlines()
    assert installed == [f"install --quiet --disable-pip-version-check {REPOSITORY}"]
    assert bare.record["words"] == ["predeploy"]
    assert (bare.folder("temp") / "auto-heal" / "bin" / "auto-heal").exists()


def test_what_cannot_be_installed_has_come_to_no_verdict(bare: Runner) -> None:
    result = bare.step(BROKEN="1")

    assert result.code == 3, result
    assert "::error::auto-heal: it cannot be installed" in result.output


# The real thing.


def test_a_dead_service_is_healed_and_outlives_the_step(project: Sandbox, runner: Runner) -> None:
    result = runner.step({"report": "out/health.xml"})

    assert result.code == 0, result
    assert {name: runner.outputs[name] for name in ("verdict", "healed")} == {"verdict": "healed", "healed": "true"}
    assert (runner.workspace / runner.outputs["report"]).samefile(project.root / "out" / "health.xml")
    assert "auto-heal: healed" in runner.summary
    assert runner.leftovers() == []
    assert project.answers()


@pytest.mark.soak
def test_what_stays_sick_fails_the_step(project: Sandbox, runner: Runner) -> None:
    project.configure(command='command = ["false"]')

    result = runner.step()

    assert result.code == 1, result
    assert (runner.outputs["verdict"], runner.outputs["healed"]) == ("sick", "false")
    assert "::error " in result.output


@pytest.mark.soak
def test_with_heal_off_nothing_is_touched(project: Sandbox, runner: Runner) -> None:
    result = runner.step({"heal": "off"})

    assert result.code == 1, result
    assert project.family() == []


@pytest.mark.soak
def test_a_deployment_has_its_steps_before_and_after(project: Sandbox, runner: Runner) -> None:
    assert project.auto_heal("start").code == 0

    before = runner.step({"command": "predeploy"})
    psutil.Process(project.pid).kill()
    after = runner.step({"command": "postdeploy", "wait": "30s"})

    assert before.code == 0, before
    assert after.code == 0, after
    assert (runner.outputs["verdict"], runner.outputs["healed"]) == ("healed", "true")
    assert project.answers()
    assert runner.leftovers() == []


@pytest.mark.soak
def test_a_deployment_that_is_rolled_back_fails_the_step(project: Sandbox, runner: Runner) -> None:
    deployed = project.root / "deployed"
    project.configure(f'env = {{ BUSY = "{deployed}" }}\nrollback = ["rm", "{deployed}"]')
    assert project.auto_heal("start").code == 0

    before = runner.step({"command": "predeploy"})
    deployed.touch()
    psutil.Process(project.pid).kill()
    after = runner.step({"command": "postdeploy"})

    assert before.code == 0, before
    assert after.code == 11, after
    assert runner.outputs["verdict"] == "rolled-back"
    assert project.answers()
    assert runner.leftovers() == []


@pytest.mark.soak
def test_the_step_before_a_deployment_heals_nothing(project: Sandbox, runner: Runner) -> None:
    result = runner.step({"command": "predeploy"})

    assert result.code == 1, result
    assert runner.outputs["verdict"] == "sick"
    assert project.family() == []


@pytest.mark.soak
def test_the_project_may_be_in_a_folder_of_its_own(project: Sandbox, runner: Runner) -> None:
    runner.workspace = project.root.parent

    result = runner.step({"path": project.root.name})

    assert result.code == 0, result
    assert (runner.workspace / runner.outputs["report"]).samefile(project.root / "reports" / "health.xml")
    assert project.answers()
