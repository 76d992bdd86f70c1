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

import methods
from bench import data
from bench.config import Config, ProtocolConfig, SweepConfig
from bench.engine.method import MethodConfig
from bench.errors import BenchError
from bench.files import CONF

GROUPS = ("protocol", "dataset", "method", "sweep")  # of which a cell has one each
_EXTRA = "methods.extra"


def register(arguments: Sequence[str] = ()) -> None:
    """Enters all types into Hydra's store, those of `methods.extra` on the command line included.

    Raises:
        BenchError: an extra method cannot be loaded.
    """
    _enter("schema", "config", Config)
    _enter("schema/protocol", "protocol", ProtocolConfig)
    _enter("schema/sweep", "sweep", SweepConfig)
    for name in data.names():
        _enter("schema/dataset", name, data.config_class(name))
    for path in _extra_files(arguments):
        methods.load_extra(path)
    for key in methods.names():
        config: Any = methods.get(key).Config
        node = _schema(key, config)
        _enter("schema/method", key, node)
        if not (CONF / "method" / f"{key}.yaml").is_file():
            # A method needs no YAML: then the defaults of its dataclass are its configuration.
            _enter("method", key, node)


_entered: dict[tuple[str, str], type] = {}


def _enter(group: str, name: str, node: type) -> None:
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
    types = {"batch_size": int, "embedding_size": int, "learning_rate": float, "weight_decay": float}
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


def options(group: str) -> list[str]:
    """The names in a group of `conf/`, and methods that have no file there."""
    names = {file.stem for file in (CONF / group).glob("*.yaml")}
    return sorted(names | set(methods.names() if group == "method" else []))


def _extra_files(words: Sequence[str]) -> list[Path]:
    given = [word for word in words if word.split("=", 1)[0].lstrip("+") == _EXTRA]
    if not given:
        return []
    try:
        value = OverridesParser.create().parse_override(given[-1]).value()
    except HydraException:
        value = None
    files = [value] if isinstance(value, str) else value
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise BenchError(f"{given[-1]} is not a list of files, such as {_EXTRA}=[my_method.py].")
    return [Path(file) for file in files]
