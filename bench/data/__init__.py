"""Data sets. A module here that defines `Config` and `load` is one; its file name is its name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType

from bench.config import DatasetConfig
from bench.data.checks import checked
from bench.data.ratings import Interactions, Ratings, Truth
from bench.errors import BenchError, nearest

__all__ = ["Interactions", "Ratings", "Truth", "config_class", "load", "names"]


@cache
def _modules() -> dict[str, ModuleType]:
    """The data sets' modules by name."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in found}
    return {name: module for name, module in modules.items() if {"Config", "load"} <= vars(module).keys()}


def _module(name: str) -> ModuleType:
    modules = _modules()
    if name not in modules:
        raise BenchError(f"There is no data set '{name}': {nearest(name, modules)}")
    return modules[name]


def names() -> list[str]:
    """Names of all data sets, sorted."""
    return list(_modules())


def config_class(name: str) -> type[DatasetConfig]:
    """The dataclass of a data set's configuration.

    Raises:
        BenchError: there is no such data set.
    """
    found: type[DatasetConfig] = _module(name).Config
    return found


def load(config: DatasetConfig, data_dir: Path) -> Ratings:
    """Read or generate the data set that the configuration names, checked whoever wrote it.

    Raises:
        MissingData: its files are absent.
        BenchError: there is no such data set, its files or fields are wrong, or its ratings are (`checked`).
    """
    return checked(_module(config.name).load(config, data_dir), config)
