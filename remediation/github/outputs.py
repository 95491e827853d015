"""The outputs of a step on GitHub: what the later steps of a job can decide by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from remediation.primitives import file


def place(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file in which GitHub wants the outputs of this step, or None elsewhere."""
    name = environ.get("GITHUB_OUTPUT") if environ.get("GITHUB_ACTIONS") == "true" else None
    return Path(name) if name else None


def append(path: Path, *, verdict: str, healed: bool, report: str | Path) -> None:
    """Append the outputs of a run to what the step has there already. OSError as usual."""
    told = {"verdict": verdict, "healed": "true" if healed else "false", "report": str(report)}
    lines = "".join(_output(name, value) for name, value in told.items())
    before = b""
    with suppress(FileNotFoundError):
        before = file.tail(path, start=0, limit=1)
    # Who wrote there before may have left the last line open.
    start = "" if before in (b"", b"\n") else "\n"
    file.append(path, f"{start}{lines}".encode(errors="backslashreplace"))


def _output(name: str, value: str) -> str:
    if not {"\r", "\n"} & set(value):
        return f"{name}={value}\n"
    # A value that could guess its own end could go on with outputs of its choice.
    end = f"auto-heal-{token_hex(16)}"
    return f"{name}<<{end}\n{value}\n{end}\n"
