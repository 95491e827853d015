"""Room for the frames of Python's stack, so that no loop of pytest runs at the end of a chunk of it.

CPython 3.11 and later keep frames in chunks of 16 KiB. A loop at the end of a chunk gets another chunk from the system
with each call, and returns it: 5,000 times in a session of three checks at that depth.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

# In words of 8 bytes: more than half of a chunk of 128 KiB. The frames that follow use the rest.
_WORDS = 8_300


def _call(body: Callable[[], int]) -> int:
    return body()


with_room: Callable[[Callable[[], int]], int] = FunctionType(
    _call.__code__.replace(co_stacksize=_WORDS), globals(), "with_room"
)
"""Call a function in a frame so large that it has a chunk of its own."""
