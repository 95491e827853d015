"""Make each fault on each real server, let `auto-heal check` heal it, and print a table of what that took.

    python tests/servers/table.py [NAME ...]

Servers that are not installed are named and left out. As root, so that those with workers of another user take part.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from sandbox import Result, Sandbox, sandbox, wait_for
from servers import FAULTS, SERVERS, Fault, Server, configure, worker_crashes


def main(names: Sequence[str]) -> int:
    """Print the table of the servers with these names, or of all; return 0, or 1 if a fault was not healed."""
    faults = " | ".join(fault.__name__.replace("_", " ") for fault in FAULTS)
    print(f"| server | {faults} |\n|---|{'---|' * len(FAULTS)}")
    failed = False
    for server in SERVERS:
        if names and server.name not in names:
            continue
        try:
            cells = [_cell(server, fault) for fault in FAULTS]
        except pytest.skip.Exception as missing:
            print(f"{server.name}: {missing}", file=sys.stderr)
            continue
        failed = failed or any(cell.startswith("not ") for cell in cells)
        print(f"| {server.name} | {' | '.join(cells)} |", flush=True)
    return int(failed)


def _cell(server: Server, fault: Fault) -> str:
    if fault is worker_crashes and not server.has_workers:
        return "has none"
    with tempfile.TemporaryDirectory() as folder:
        # The workers of a server that drops privileges have to enter it.
        Path(folder).chmod(0o755)
        for project in sandbox(Path(folder)):
            configure(project, server)
            project.auto_heal("start")
            process = psutil.Process(project.pid)
            if server.has_workers:
                wait_for(process.children)
            fault(process)
            cell = _outcome(project, project.auto_heal("check"))
            project.auto_heal("stop")
            return cell
    return ""


def _outcome(project: Sandbox, result: Result) -> str:
    if result.code:
        return f"not healed: {_reason(result)}"
    if project.property("verdict") == "healthy":
        taken = "has taken the place" in result.output
        return "well: another of its processes is its main one now" if taken else "well: the server replaced it itself"
    return f"healed in {float(project.property('api.downtime') or 0):.1f} s"


def _reason(result: Result) -> str:
    lines = [line for line in result.lines if re.match(r"\S+: ", line)]
    return lines[-1].replace("|", "\\|") if lines else f"exit code {result.code}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
