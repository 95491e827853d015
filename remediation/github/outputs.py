"""The outputs of a step on GitHub: what the later steps of a job can decide by."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from remediation.system import files


def append(path: Path, *, verdict: str, healed: bool, report: str | Path) -> None:
    """Append the outputs of a run to what the step has there already. OSError as usual."""
    told = {"verdict": verdict, "healed": "true" if healed else "false", "report": str(report)}
    lines = "".join(_output(name, value) for name, value in told.items())
    before = b""
    with suppress(FileNotFoundError):
        before = files.tail(path, start=0, limit=1)
    # Who wrote there before may have left the last line open.
    start = "" if before in (b"", b"\n") else "\n"
    files.append(path, f"{start}{lines}".encode(errors="backslashreplace"))


def _output(name: str, value: str) -> str:
    if not {"\r", "\n"} & set(value):
        return f"{name}={value}\n"
    # A value that could guess its own end could go on with outputs of its choice.
    end = f"auto-heal-{token_hex(16)}"
    return f"{name}<<{end}\n{value}\n{end}\n"
