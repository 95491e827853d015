"""A short soak test: after each fault the services recover, although healers are killed in between."""

from __future__ import annotations

import subprocess
import sys

from sandbox import REPOSITORY, Sandbox


def test_a_town_survives_faults_and_the_death_of_its_healers() -> None:
    soak = [sys.executable, str(REPOSITORY / "tests" / "chaos" / "soak.py"), "--faults", "8", "--seed", "2026"]

    done = subprocess.run(soak, env=Sandbox.environment(), capture_output=True, text=True, encoding="utf-8")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("all invariants held")
