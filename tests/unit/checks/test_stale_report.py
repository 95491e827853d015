"""A report of an earlier run is removed, and one that another run has just written is not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sandbox import REPOSITORY

SCRIPT = """
import os, pathlib, sys, time
from remediation.checks import stale_report
report = pathlib.Path("reports/health.xml")
if sys.argv[1:] == ["another run writes it"]:
    # Later than a start that is known to a second.
    time.sleep(1.5)
    report.write_text("<new/>")
stale_report.remove([], pathlib.Path.cwd())
"""


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(("words", "stays"), [([], False), (["another run writes it"], True)])
def test_a_report_stays_only_if_it_was_written_after_the_start_of_the_process(
    tmp_path: Path, words: list[str], *, stays: bool
) -> None:
    report = tmp_path / "reports" / "health.xml"
    report.parent.mkdir()
    report.write_text("<old/>")
    (tmp_path / "auto-heal.toml").write_text("")
    # The resolution of a start is worse than that of a file's time.
    time.sleep(0.1)

    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{SCRIPT}", *words],
        cwd=tmp_path, check=True,
    )  # fmt: skip

    assert report.exists() is stays
