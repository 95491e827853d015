"""Checks that misbehave: they hang where no signal interrupts them, end their process, or leave something behind."""

from __future__ import annotations

# A lock that waits for itself, as a client in C waits for its peer; a signal does not end the wait.
NATIVE = """
import ctypes

def hang():
    lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)
"""
# The interpreter itself waits, so no other Python thread runs either.
NATIVE_WITH_LOCK = NATIVE.replace("ctypes.CDLL(None)", "ctypes.PyDLL(None)")
CRASHES = {
    "exits": ("import os", "os._exit(0)", "ended its process with exit code 0"),
    "fails": ("import os", "os._exit(139)", "ended its process with exit code 139"),
    "aborts": ("import os", "os.abort()", "crashed: its process was killed by SIGABRT"),
    "segfaults": ("import ctypes", "ctypes.string_at(0)", "crashed: its process was killed by SIGSEGV"),
    "killed": ("import os", "os.kill(os.getpid(), 9)", "crashed: its process was killed by SIGKILL"),
}


def check(head: str, deed: str, *, name: str = "test_it", heals: str = '@pytest.mark.heals("api")') -> str:
    """Return a module with one check that runs this code."""
    return f"import pytest\n{head}\n\n\n{heals}\ndef {name}():\n    {deed}\n"
