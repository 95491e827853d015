"""Simulates a full disk: mounts a tiny file system, fills it, and mounts files of it over some logs.

It is a separate program, `fulldisk.py FOLDER LOG ...`. It undoes the mounts when its standard input is closed, so
that they are undone however the drill ends. It prints `full`, or why it failed. The source of the file system is the
path of the folder, so that the mounts can be found.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

# mount(2) and umount2(2).
_MS_BIND, _MNT_DETACH = 0x1000, 0x2
_SIZE = 65_536


def main() -> None:
    """Mount and fill the file system, wait, and undo the mounts."""
    folder, logs = sys.argv[1], sys.argv[2:]
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: sys.exit())
    undo: list[str] = []
    try:
        _mount(folder, folder, "tmpfs", 0, f"size={_SIZE},mode=700")
        undo.append(folder)
        for index, log in enumerate(logs):
            full = Path(folder, str(index))
            full.touch(mode=0o600)
            _mount(str(full), log, "", _MS_BIND, "")
            undo.append(log)
        _fill(Path(folder, "fill"))
        print("full", flush=True)
        while os.read(0, 1):
            pass
    except OSError as error:
        print(error.strerror or error, flush=True)
    finally:
        for target in reversed(undo):
            unmount(target)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(_SIZE))
        except OSError:
            return


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    if ctypes.CDLL(None, use_errno=True).mount(*words, ctypes.c_ulong(flags), os.fsencode(options)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unmount(target: str) -> bool:
    """Undo a mount, even if its files are open; return whether that succeeded."""
    return not ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(target), _MNT_DETACH)


if __name__ == "__main__":
    main()
