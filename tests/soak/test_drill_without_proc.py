"""A whole drill with only what POSIX has, as on macOS and the BSDs."""

from __future__ import annotations

import pytest
from drilling import QUICK, QUICK_TOP, cases, drilled, nothing_is_left, outcome
from sandbox import Sandbox

from remediation.drill.fault_names import FAULTS


@pytest.mark.usefixtures("only_posix")
def test_every_fault_but_a_full_log_is_healed_and_nobody_harmed(healthy: Sandbox) -> None:
    healthy.configure(QUICK, top=QUICK_TOP)

    result = drilled(healthy)

    assert result.code == 0, result
    found = {name: outcome(case) for name, case in cases(healthy).items()}
    # Only Linux mounts a full disk over a log.
    assert found == {f"{fault}[1]": "skipped" if fault == "full-log" else "passed" for fault in FAULTS}, result
    assert healthy.servers() == [healthy.pid]
    assert nothing_is_left(healthy)
