"""Data sets. A module that defines `Config` and `load` is one; its file name is its name.

They stand here, or anywhere else where `dataset.extra` names their files.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Hashable
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import ModuleType

from bench.config import DatasetConfig
from bench.data import release
from bench.data.checks import checked
from bench.data.ratings import Interactions, Ratings, Truth
from bench.errors import BenchError, nearest
from bench.outside import Outside

__all__ = [
    "Interactions",
    "Ratings",
    "Truth",
    "config_class",
    "file_of",
    "key",
    "load",
    "load_extra",
    "names",
]

_extra = Outside("dataset.extra", "data set", "extra_datasets")
_from_outside: dict[str, ModuleType] = {}


@cache
def _own_modules() -> dict[str, ModuleType]:
    """The suite's modules by name."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "__main__")
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in found}
    return {name: module for name, module in modules.items() if _is_data_set(module)}


def _is_data_set(module: ModuleType) -> bool:
    return {"Config", "load"} <= vars(module).keys()


def load_extra(path: Path) -> str:
    """Enters the data set of a file from outside the checkout and returns its name, the file's.

    A file that was edited since is loaded again, for a notebook.

    Raises:
        BenchError: there is no such file, it cannot be imported, it defines no data set, or another data set
            has its name.
    """
    name = path.stem
    known = {**_own_modules(), **_from_outside}.get(name)
    owner = known.__name__ if known is not None else None
    module = _extra.load(path, owner, lambda: _from_outside.pop(name))
    if module is not None:
        kind = vars(module).get("Config")
        if not (_is_data_set(module) and isinstance(kind, type) and issubclass(kind, DatasetConfig)):
            raise BenchError(
                f"dataset.extra: {path} defines no data set: it needs a dataclass Config(DatasetConfig) "
                "and a function load(config, data_dir)."
            )
        _from_outside[name] = module
    return name


def _module(name: str) -> ModuleType:
    modules = {**_own_modules(), **_from_outside}
    if name not in modules:
        raise BenchError(f"There is no data set '{name}': {nearest(name, modules)}")
    return modules[name]


def names() -> list[str]:
    """Names of all data sets, sorted, those from outside last."""
    return [*_own_modules(), *sorted(_from_outside)]


def file_of(name: str) -> Path:
    """The file of a data set's module.

    Raises:
        BenchError: there is no such data set.
    """
    file = _module(name).__file__
    assert file is not None
    return Path(file)


def config_class(name: str) -> type[DatasetConfig]:
    """The dataclass of a data set's configuration.

    Raises:
        BenchError: there is no such data set.
    """
    found: type[DatasetConfig] = _module(name).Config
    return found


def key(config: DatasetConfig, data_dir: Path) -> Hashable:
    """What decides what `load` returns, for those who keep it.

    Of a data set of the suite no grids and no sizes of methods; of files that a field names, and of one from
    outside, the age.
    """
    guest = config.name in _from_outside
    shared = set() if guest else {each.name for each in fields(DatasetConfig)} - {"name", "threshold"}
    values = {name: value for name, value in vars(config).items() if name not in shared}
    files = [
        place / value for value in values.values() if isinstance(value, str) for place in (Path(), data_dir)
    ]
    states = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()]
    state = _extra.state(config.name) if guest else None
    return repr((data_dir.resolve(), values, states, state))


def load(config: DatasetConfig, data_dir: Path) -> Ratings:
    """Read or generate the data set that the configuration names, checked whoever wrote it.

    Raises:
        MissingData: its files are absent.
        BenchError: there is no such data set, its files or fields are wrong, or its ratings are (`checked`).
    """
    ratings = checked(_module(config.name).load(config, data_dir), config)
    if config.name in _from_outside:
        # Its content counts, whatever its loader has hashed.
        arrays = release.contents(ratings.biased, ratings.unbiased)
        if ratings.truth is not None:
            arrays += [ratings.truth.labels, ratings.truth.propensity]
        shape = (ratings.n_users, ratings.n_items)
        digest = release.checksum(*arrays, name=config.name, shape=shape, own=ratings.checksum)
        ratings = replace(ratings, checksum=digest)
    return ratings
