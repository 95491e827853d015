"""What a configuration costs grows with the number of its services, not with its square."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from remediation.cli.status import status
from remediation.config.load import load_project
from remediation.system import secrets

FEW = 20
_SERVICE = """
[services.s{number}]
command = ["node", "index{number}.js", "--password", "Tr0ub4dor-{number}"]
url = "http://user:Tr0ub4dor-{number}@127.0.0.1:{port}"
ready = "/health{number}"
pid_file = "{number}.pid"
free_port = "never"
env = {{ API_TOKEN = "s3cr3t-{number}-t0ken" }}
"""


def _calls(action: Callable[[], object]) -> int:
    """Return the number of Python functions that an action calls."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        del frame, argument
        count += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def _growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> float:
    """Return how many times as much work the second half of some services adds as the first half did."""
    calls = []
    for count in (FEW, 2 * FEW, 4 * FEW):
        monkeypatch.setattr(secrets, "_known", secrets._Register())
        # Nobody listens there by habit.
        text = "".join(_SERVICE.format(number=number, port=700 + number) for number in range(count))
        (tmp_path / "auto-heal.toml").write_text(text)
        monkeypatch.chdir(tmp_path)
        action()
        monkeypatch.setattr(secrets, "_known", secrets._Register())
        calls.append(_calls(action))
    return (calls[2] - calls[1]) / (calls[1] - calls[0])


@pytest.mark.parametrize("command", ["load", "status"])
def test_twice_as_many_services_cost_twice_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    actions = {"load": lambda: load_project(tmp_path, {}), "status": lambda: status([], as_json=False)}

    growth = _growth(tmp_path, monkeypatch, actions[command])

    # 2 is linear, 4 is quadratic.
    assert growth == pytest.approx(2, rel=0.1)
    assert command == "load" or f"s{4 * FEW - 1}" in capsys.readouterr().out


def test_secrets_are_sorted_only_when_a_text_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    known = secrets._Register()
    monkeypatch.setattr(secrets, "_known", known)
    secrets.learn({f"TOKEN_{number}": f"s3cr3t-{number}-t0ken" for number in range(FEW)})

    before = known._sorted
    shown = secrets.redacted("it is s3cr3t-7-t0ken")

    assert (before, shown) == (None, "it is ***")
    assert known.spellings() is known.spellings()
