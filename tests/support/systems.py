"""What a test needs of the system, as marks that skip it elsewhere and say why."""

from __future__ import annotations

import shutil
import socket
import sys

import pytest

from remediation.system.capabilities import can_cut_files, has_proc


def _has_second_loopback() -> bool:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
    except OSError:
        return False
    return True


needs_proc = pytest.mark.skipif(not has_proc(), reason="needs Linux's /proc")
needs_cuts = pytest.mark.skipif(
    not can_cut_files(), reason="only Linux can cut the beginning of a file that is written"
)
needs_setsid = pytest.mark.skipif(not shutil.which("setsid"), reason="setsid(1) is not installed")
needs_second_loopback = pytest.mark.skipif(not _has_second_loopback(), reason="127.0.0.2 is not of this machine")
needs_open_environments = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS hides the environment of its own programs, such as sleep"
)
