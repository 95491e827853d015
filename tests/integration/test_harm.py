"""Every output names a heal that breaks another check."""

from __future__ import annotations

import json
import sys

import pytest
from sandbox import PATIENT, Sandbox

BESIDE = '''
import pathlib
import pytest

def test_beside():
    """beside"""
    assert not pathlib.Path("started").exists(), "the cache is gone"
'''


@pytest.fixture
def harmful(project: Sandbox) -> Sandbox:
    """Return a project whose service, when it starts, breaks a check that does not belong to it."""
    project.write("healthtests/test_beside.py", BESIDE)
    project.write("server.sh", f'#!/bin/sh\ntouch "{project.root}/started"\nexec "$@"\n').chmod(0o755)
    words = [f"{project.root}/server.sh", sys.executable, str(PATIENT)]
    project.configure(command=f"command = {json.dumps(words)}", top="retries = 1")
    return project


def test_a_check_that_a_heal_broke_is_named_everywhere(harmful: Sandbox) -> None:
    result = harmful.check(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(harmful.root / "summary.md"))

    case = harmful.report.find("testcase[@name='test_beside']/failure")
    told = "❌ beside: broken by the heal of api"
    assert result.code == 1
    assert told in result.output
    assert f"[ERROR] {told}" in harmful.log
    assert case is not None
    assert case.get("message", "").startswith("broken by the heal of api: ")
    assert "the cache is gone" in case.get("message", "")
    assert "broken by the heal of api" in (harmful.root / "summary.md").read_text(encoding="utf-8")
    assert harmful.property("verdict") == "sick"


def test_it_is_told_once(harmful: Sandbox) -> None:
    result = harmful.auto_heal("check")

    assert result.lines.count("❌ beside: broken by the heal of api") == 1
