"""A patient that writes down its birth, and goes on to print numbered lines, so that none can be lost unseen."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import patient

# Between two lines, in seconds.
_PAUSE = 0.05


def birth() -> str:
    """Return our PID with our start in clock ticks since boot, proc(5) field 22."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return f"{os.getpid()} {fields[19].decode()}\n"


def talk() -> None:
    """Print lines for ever; a full disk takes some of them."""
    number = 0
    while True:
        number += 1
        with suppress(OSError):
            os.write(1, f"{os.getpid()} says {number}\n".encode())
        time.sleep(_PAUSE)


if __name__ == "__main__":
    with Path(os.environ["BIRTHS"]).open("a", encoding="ascii") as births:
        births.write(birth())
    threading.Thread(target=talk, daemon=True).start()
    patient.main()
