"""Where Numba keeps what it has compiled: a folder for each version of the kernels' code.

Numba takes a kept loop for current as long as its own file is as it was. What the file imports, such as
Adam's constants, is compiled into the loop, too: with another constant, the old numbers would stand under the
new code's digest.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.files import CHECKOUT
from bench.records.fingerprint import Code

KERNELS = CHECKOUT / "bench" / "engine" / "kernels"
_DIGITS = 16  # of a folder's name
_given: set[str] = set()  # names of folders that were chosen here


def cache_folder() -> Path:
    """The folder of today's code.

    Raises:
        BenchError: a file of it cannot be read or parsed.
    """
    code = Code((CHECKOUT,)).fingerprint({"kernels": KERNELS / "numba_.py"})
    return KERNELS / "__pycache__" / code[:_DIGITS]


def use_cache_folder() -> None:
    """Tells Numba, in this process and those that it starts, unless the user has chosen a folder.

    Raises:
        BenchError: see `cache_folder`.
    """
    name = cache_folder().name
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or KERNELS / "__pycache__")
    if folder.name != name:
        outer = folder.parent if folder.name in _given else folder
        _given.add(name)
        folder = outer / name
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
