"""The code that this process runs, as its files were when it was loaded.

A digest is made of files, numbers are made by what Python has loaded from them. Whoever edits a method while
a notebook or a long command runs would get the old code's numbers under the new code's digest.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.errors import BenchError
from bench.records.fingerprint import same_code

_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
# Module's name → the module and its file's content when it was first seen here; None of a library's.
_seen: dict[str, tuple[ModuleType, Path, bytes] | None] = {}


def keep_sources() -> None:
    """Keeps the files of all modules that were loaded since the last call, installed libraries' aside."""
    for name, module in list(sys.modules.items()):
        known = _seen.get(name)
        if name in _seen and (known is None or known[0] is module):
            continue
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        _seen[name] = None
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        path = Path(file).resolve()
        if _is_library(path):
            continue
        try:
            _seen[name] = module, path, path.read_bytes()
        except OSError:
            continue


def own_places() -> tuple[Path, ...]:
    """The folders in which Python looks for modules, installed libraries aside."""
    folders = (Path(folder).resolve() for folder in sys.path)
    return tuple(folder for folder in folders if folder.is_dir() and not _is_library(folder))


def _is_library(path: Path) -> bool:
    return any(path.is_relative_to(library) for library in _LIBRARIES)


def require_unchanged(files: Iterable[Path]) -> None:
    """Refuses files that compute something else by now than what is loaded.

    Raises:
        BenchError: such a file; comments and the like may change.
    """
    keep_sources()
    contents = {path: content for path, content in (entry[1:] for entry in _seen.values() if entry)}
    for file in files:
        if file in contents and not same_code(contents[file], file):
            raise BenchError(
                f"{file} was changed after this process had loaded it, so the numbers would be those of the "
                "old code: start Python, or the command, again."
            )
