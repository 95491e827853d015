"""A service manager that runs a server, as systemd or docker would; the tests control it by commands.

`service_manager.py start|stop|restart`, in the folder of the project. It does not watch the server once that runs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

PATIENT = Path(__file__).with_name("patient.py")
PID_FILE = Path("manager.pid")


def running() -> psutil.Process | None:
    """Return the process of the server."""
    try:
        process = psutil.Process(int(PID_FILE.read_text(encoding="ascii")))
        is_server = str(PATIENT) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if is_server else None


def stop() -> None:
    """End the server, if it runs."""
    while process := running():
        process.kill()
        time.sleep(0.01)
    PID_FILE.unlink(missing_ok=True)


def start() -> None:
    """Start the server, unless it runs."""
    if not running():
        process = subprocess.Popen([sys.executable, PATIENT], stdin=subprocess.DEVNULL, start_new_session=True)
        PID_FILE.write_text(str(process.pid), encoding="ascii")


if __name__ == "__main__":
    if sys.argv[1] in ("stop", "restart"):
        stop()
    if sys.argv[1] in ("start", "restart"):
        start()
