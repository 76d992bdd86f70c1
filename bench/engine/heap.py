"""What the C library does with memory that is freed, as far as it lets itself be told; glibc alone does.

Imports nothing of the suite.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

KEPT_BYTES = 128 * 2**20  # freed at the end of the heap, which stay there
_ARRAY_BYTES = 32 * 2**20  # the most that glibc takes from the heap, not from the system
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's numbers


def keep_freed() -> None:
    """Has it keep what is freed, up to `KEPT_BYTES`, for what is asked for next.

    By default glibc hands large arrays back to the system, which clears their pages anew for the next step.
    """
    _tell("mallopt", _M_TRIM_THRESHOLD, KEPT_BYTES)
    _tell("mallopt", _M_MMAP_THRESHOLD, _ARRAY_BYTES)


def give_back() -> None:
    """Has it hand back what is freed."""
    _tell("malloc_trim", 0)


def _tell(what: str, *numbers: int) -> None:
    # Another C library lacks the function, and Windows has no library of all that a process has loaded.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        function: Any = getattr(ctypes.CDLL(None), what)
        function(*numbers)
