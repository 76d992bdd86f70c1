"""From files and command line to a checked configuration: Hydra's groups, and errors in one sentence.

The groups' types come from the code (`bench/config.py`, each data set's and each method's `Config`), the
values from `conf/`. No `_target_` is ever instantiated.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

import methods
from bench import data
from bench.config import Config, ProtocolConfig, SweepConfig
from bench.errors import BenchError, nearest

CONF = Path(__file__).resolve().parents[1] / "conf"
_EXTRA = "methods.extra"


def register(arguments: Sequence[str] = ()) -> None:
    """Enters all types into Hydra's store, those of `methods.extra` on the command line included.

    Raises:
        BenchError: an extra method cannot be loaded.
    """
    store = ConfigStore.instance()
    store.store(group="schema", name="config", node=Config)
    store.store(group="schema/protocol", name="protocol", node=ProtocolConfig)
    store.store(group="schema/sweep", name="sweep", node=SweepConfig)
    for name in data.names():
        store.store(group="schema/dataset", name=name, node=data.config_class(name))
    for path in _extra_files(arguments):
        methods.load_extra(path)
    for key in methods.names():
        node = _schema(key)
        store.store(group="schema/method", name=key, node=node)
        if not (CONF / "method" / f"{key}.yaml").is_file():
            # A method needs no YAML: then the defaults of its dataclass are its configuration.
            store.store(group="method", name=key, node=node)


def _schema(key: str) -> type:
    """A method's configuration as a type of Hydra's: its fields, its name and its grid."""
    config = methods.get(key).Config
    # These follow the data set unless the command line or the method's file says otherwise.
    types = {"batch_size": int, "embedding_size": int, "learning_rate": float, "weight_decay": float}
    sizes = [
        (name, kind, field(default=cast(Any, "${dataset.%s}" % name)))  # noqa: UP031
        for name, kind in types.items()
    ]
    more: list[Any] = [
        ("name", str, field(default=key)),
        ("grid", dict[str, list[Any]], field(default_factory=dict)),
    ]
    return make_dataclass(f"{key}_schema", [*sizes, *more], bases=(config,), kw_only=True)


def open_grid(overrides: Sequence[str]) -> list[str]:
    """Lets `grid.FIELD=[...]` add a list for any field, which Hydra spells `++grid.FIELD=[...]`."""
    return [f"++{word}" if word.startswith("grid.") else word for word in overrides]


def _extra_files(arguments: Sequence[str]) -> list[Path]:
    given = [word for word in arguments if word.split("=", 1)[0].lstrip("+") == _EXTRA]
    if not given:
        return []
    try:
        value = OverridesParser.create().parse_override(given[-1]).value()
    except HydraException as error:
        raise BenchError(f"{given[-1]} is not a list of files, such as {_EXTRA}=[my_method.py].") from error
    files = value if isinstance(value, list) else [value]
    return [Path(str(file)) for file in files]


def resolved(config: DictConfig) -> Config:
    """The configuration as plain objects, every interpolation resolved.

    Raises:
        BenchError: a value is missing or does not fit its type.
    """
    with one_sentence():
        OmegaConf.resolve(config)
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise BenchError(f"{missing[0]} has no value: give one on the command line or in conf/.")
        plain = OmegaConf.to_object(config)
    assert isinstance(plain, Config)
    plain.data_dir = plain.data_dir or "data"
    return plain


def composed(overrides: Sequence[str]) -> Config:
    """The configuration of one cell, as `python -m bench OVERRIDES` has it.

    Raises:
        BenchError: an override is wrong.
    """
    with one_sentence(), initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return resolved(compose(config_name="config", overrides=open_grid(overrides)))


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns Hydra's and OmegaConf's errors into a BenchError that says where and what to do."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise BenchError(explain(error)) from error


def explain(error: BaseException) -> str:
    """One sentence about an error of the configuration, with the nearest name where one is misspelt."""
    chain: list[BaseException] = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None and deeper not in chain:
        chain.append(deeper)
    for each in chain:
        if isinstance(each, ConfigKeyError | ConfigAttributeError) and each.key is not None:
            full = str(each.full_key or each.key)
            known = [name for name in _siblings(each) if name not in ("hydra", "schema")]
            if known:
                return f"There is no field '{full}': {nearest(str(each.key), known)}"
    group = re.search(r"(?:In '[^']*': )?Could not find '([^']+)/([^'/]+)'", str(error))
    if group:
        options = re.findall(r"^\t(\S+)$", str(error), re.MULTILINE)
        return f"There is no {group[1]} '{group[2]}': {nearest(group[2], options)}"
    for each in reversed(chain):
        if isinstance(each, OmegaConfBaseException) and each.full_key:
            return f"{each.full_key}: {_first(each)}"
    return _first(error)


def _siblings(error: OmegaConfBaseException) -> list[str]:
    """The fields that stand where an unknown one was asked for."""
    node = error.parent_node
    if isinstance(node, DictConfig):
        return [str(key) for key in node]
    return [f.name for f in dataclasses.fields(error.object_type)] if error.object_type else []


def _first(error: BaseException) -> str:
    """The first line of an error's text, as a sentence."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[0].rstrip(". ") if lines else type(error).__name__) + "."
