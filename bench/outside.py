"""Python files from outside the checkout: methods and data sets of one's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from bench.errors import BenchError

PACKAGES = ("extra_methods", "extra_datasets")  # their modules; no other process can import them


class _Source(SourceFileLoader):
    """Compiles the file as it is: Python's cache takes one edited within the second for unchanged."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


class Outside:
    """The files that a field of the configuration names.

    field: as a command line has it. kind: what a file holds. package: one of `PACKAGES`.
    """

    def __init__(self, field: str, kind: str, package: str) -> None:
        assert package in PACKAGES
        self._field, self._kind, self._package = field, kind, package
        self._states: dict[str, tuple[Path, int, int]] = {}  # name → file, its age and its size

    def state(self, name: str) -> tuple[Path, int, int]:
        """Of a file when it was loaded: where it lies, its age and its size."""
        return self._states[name]

    def load(self, path: Path, owner: str | None, forget: Callable[[], object]) -> ModuleType | None:
        """The module of a file, or None where it is in the registry as the file is now.

        Args:
            owner: the module from which the registry has that name, if it has it.
            forget: takes the name out of the registry: a file that was edited is loaded again.

        Raises:
            BenchError: there is no such file, it cannot be imported, or the name is taken.
        """
        name = path.stem
        module_name = f"{self._package}.{name}"
        if not path.is_file():
            raise BenchError(f"{self._field} names {path}, where there is no file.")
        state = path.resolve(), path.stat().st_mtime_ns, path.stat().st_size
        if owner is not None:
            if owner != module_name:
                raise BenchError(
                    f"{self._field}: the suite has a {self._kind} '{name}' already, so rename {path}."
                )
            known = self._states.get(name, state)
            if known == state:
                return None
            if known[0] != state[0]:
                raise BenchError(
                    f"{self._field}: {known[0]} is the {self._kind} '{name}' already, so rename {path}."
                )
            forget()
        spec = importlib.util.spec_from_file_location(
            module_name, path, loader=_Source(module_name, str(path))
        )
        if spec is None or spec.loader is None or path.suffix != ".py":
            raise BenchError(f"{self._field}: {path} is not a Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        self._states[name] = state
        try:
            spec.loader.exec_module(module)
        except BenchError:
            raise
        except Exception as error:
            raise BenchError(
                f"{self._field}: {path} cannot be imported ({type(error).__name__}: {error})."
            ) from error
        return module
