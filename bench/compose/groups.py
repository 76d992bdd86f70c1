"""Hydra's groups: their types, which come from the code, and the names of the files in `conf/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

import methods
from bench import data
from bench.compose.paths import readable
from bench.config import Config, ProtocolConfig, SweepConfig
from bench.data.describe import values_without_file
from bench.engine.method import MethodConfig
from bench.errors import BenchError
from bench.files import CONF

GROUPS = ("protocol", "dataset", "method", "sweep")  # of which a cell has one each


def register(arguments: Sequence[str] = ()) -> None:
    """Enters all types into Hydra's store, those that `methods.extra` and `dataset.extra` name included.

    Raises:
        BenchError: an extra method or data set cannot be loaded.
    """
    _enter("schema", "config", Config)
    _enter("schema/protocol", "protocol", ProtocolConfig)
    _enter("schema/sweep", "sweep", SweepConfig)
    for path in _extra_files("dataset.extra", arguments):
        data.load_extra(path)
    for name in data.names():
        node: Any = data.config_class(name)
        _enter("schema/dataset", name, node)
        if not (CONF / "dataset" / f"{name}.yaml").is_file():
            # It needs no YAML either.
            _enter("dataset", name, _with_values(name, node))
    beside: dict[str, Path] = {}
    for path in _extra_files("methods.extra", arguments):
        beside[methods.load_extra(path)] = path.with_suffix(".yaml")
    for key in methods.names():
        config: Any = methods.get(key).Config
        node = _schema(key, config)
        _enter("schema/method", key, node)
        if not (CONF / "method" / f"{key}.yaml").is_file():
            # A method needs no YAML: then the defaults of its dataclass are its configuration.
            # One from outside the checkout may have it beside its file.
            file = beside.get(key)
            _enter("method", key, node if file is None or not file.is_file() else _with_file(node, file))


# Hydra copies its store, all types in it, for each composition and for each group that `--help` lists. What
# it gives out of it is a copy anyway, so one store serves them all: help takes less than half as long.
ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]

_entered: dict[tuple[str, str], object] = {}


def _enter(group: str, name: str, node: object) -> None:
    """Into Hydra's store, unless it is there: a process asks once for each cell."""
    if _entered.get((group, name)) is not node:
        ConfigStore.instance().store(group=group, name=name, node=node)
        _entered[group, name] = node


def state() -> tuple[object, ...]:
    """What a composed configuration depends on besides its overrides, to be compared with an earlier one."""
    files = []
    folders = [str(CONF)]
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir():
                folders.append(entry.path)
            elif entry.name.endswith(".yaml"):
                known = entry.stat()
                files.append((entry.path, known.st_mtime_ns, known.st_size))
    return os.environ.get("BENCH_DATA"), tuple(_entered.items()), frozenset(files)


@cache
def _schema(key: str, config: Any) -> type:
    """A method's configuration as a type of Hydra's: its fields, its name and its grids."""
    # These follow the data set unless the command line or the method's own files say otherwise.
    types = {
        **{"batch_size": int, "embedding_size": int, "learning_rate": float, "weight_decay": float},
        "backbone": str,
    }
    bases = config.__mro__[: config.__mro__.index(MethodConfig)]
    own = {name for base in bases for name in vars(base).get("__annotations__", {})}
    sizes = [
        (name, kind, field(default=cast(Any, "${dataset.%s}" % name)))  # noqa: UP031
        for name, kind in types.items()
        if name not in own
    ]
    more: list[Any] = [
        ("name", str, field(default=key)),
        # Of `sweep: default` and of `sweep: paper`, which takes the short one where there is no long one.
        ("grid", dict[str, list[Any]], field(default_factory=dict)),
        ("long_grid", dict[str, list[Any]], field(default_factory=dict)),
    ]
    return make_dataclass(f"{key}_schema", [*sizes, *more], bases=(config,), kw_only=True)


@cache
def _with_values(name: str, config: Any) -> DictConfig:
    """The configuration of a data set without a YAML."""
    node = OmegaConf.structured(config)
    for key, value in values_without_file(name, config).items():
        node[key] = value
    assert isinstance(node, DictConfig)
    return node


def _with_file(schema: Any, file: Path) -> DictConfig:
    """The configuration of a method from outside with the YAML that lies beside it.

    Raises:
        BenchError: the YAML cannot be read, or has a field or a value that the method does not know.
    """
    known = file.stat()
    return _read_beside(schema, file, known.st_mtime_ns, known.st_size)


@cache
def _read_beside(schema: Any, file: Path, age: int, size: int) -> DictConfig:
    try:
        values = OmegaConf.load(file)
        if not isinstance(values, DictConfig):
            raise BenchError(f"{file} has no fields: each line is `FIELD: value`.")
        # In `conf/` the list of defaults names the schema, which is at hand here.
        values.pop("defaults", None)
        node = OmegaConf.merge(OmegaConf.structured(schema), values)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        said = str(error).splitlines()[0]
        raise BenchError(f"{file} does not fit the method beside it ({said}).") from error
    assert isinstance(node, DictConfig)
    return node


def options(group: str) -> list[str]:
    """The names in a group of `conf/`, and methods and data sets that have no file there."""
    names = {file.stem for file in (CONF / group).glob("*.yaml")}
    more = {"method": methods.names, "dataset": data.names}.get(group, list)
    return sorted(names | set(more()))


def _extra_files(key: str, words: Sequence[str]) -> list[Path]:
    """The files that an override of one of the two fields names; of a data set's, those of all jobs alike."""
    given = [word for word in words if word.split("=", 1)[0].lstrip("+") == key]
    if not given:
        return []
    try:
        value = OverridesParser.create().parse_override(readable(given[-1])).value()
    except HydraException:
        value = None
    files = [value] if isinstance(value, str) else value
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise BenchError(f"{given[-1]} is not a list of files, such as {key}=[mine.py].")
    return [Path(file) for file in files]
