"""From files and command line to a checked configuration.

The groups' types come from the code (`bench/config.py`, each data set's and each method's `Config`), the
values from `conf/`. No `_target_` is ever instantiated.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import methods
from bench.compose import groups
from bench.compose.messages import demand, one_sentence
from bench.compose.words import hydra_words, parsed
from bench.config import DATASET_LISTS, Config
from bench.errors import BenchError, nearest


def composed(overrides: Sequence[str]) -> Config:
    """The configuration of one cell, as `python -m bench OVERRIDES` has it.

    Raises:
        BenchError: an override is wrong.
    """
    for word in overrides:
        if word.startswith("-"):
            raise BenchError(
                f"{word} is an option of the command line: here are overrides of one cell, such as seeds=20."
            )
    return copy.deepcopy(_composed(tuple(overrides), groups.state()))


@lru_cache(maxsize=256)
def _composed(overrides: tuple[str, ...], state: object) -> Config:
    """`composed`, once for each state of what it reads: Hydra takes a tenth of a second."""
    with one_sentence(), _hydra_to_itself(), initialize_config_dir(str(groups.CONF), version_base="1.3"):
        return resolved(compose(config_name="config", overrides=hydra_words(overrides)), overrides)


_one_at_a_time = threading.RLock()


@contextmanager
def _hydra_to_itself() -> Iterator[None]:
    """Hydra has one state for the whole process: other threads wait, and a program's own Hydra comes back."""
    with _one_at_a_time:
        state = GlobalHydra.instance()
        theirs, state.hydra = state.hydra, None
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = theirs  # Hydra may have put another instance there


def resolved(config: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """The configuration as plain objects, every interpolation resolved.

    Args:
        overrides: those that the configuration was composed with. A field of the method that one of
            them fixes is not swept.

    Raises:
        BenchError: a value is missing, does not fit its type or is out of range, or a field is unknown.
    """
    with one_sentence():
        _refuse_strangers(config)
        OmegaConf.resolve(config)
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise BenchError(f"{missing[0]} has no value: give one on the command line or in conf/.")
        plain = OmegaConf.to_object(config)
    assert isinstance(plain, Config)
    plain.data_dir = plain.data_dir or "data"
    for name, value in (
        ("engine.threads", plain.engine.threads),
        ("engine.memory_gib", plain.engine.memory_gib),
        ("tuned_points", plain.tuned_points),
    ):
        if not (value >= 0 and math.isfinite(value)):
            raise BenchError(f"{name} must be a finite number of at least 0, but it is {value}.")
    _fix(plain, overrides)
    schema = OmegaConf.structured(methods.get(plain.method.name).Config)
    for where, grid in (
        ("grid", plain.grid),
        ("method.grid", plain.method.grid),
        ("method.long_grid", plain.method.long_grid),
        *((f"dataset.{name}", getattr(plain.dataset, name)) for name in DATASET_LISTS),
    ):
        _check_types(where, grid, schema)
    return plain


def _refuse_strangers(config: DictConfig) -> None:
    """Fields that Hydra's `+` put where the code knows of none would be ignored without a word."""
    kind = OmegaConf.get_type(config)
    if not dataclasses.is_dataclass(kind):
        return
    known = [f.name for f in dataclasses.fields(kind)]
    for key in map(str, config):
        node = config._get_node(key)
        if key not in known:
            full = config._get_full_key(key)
            raise BenchError(f"There is no field '{full}': {nearest(key, known)}")
        if isinstance(node, DictConfig) and not node._is_missing() and not node._is_interpolation():
            _refuse_strangers(node)


def _fix(config: Config, overrides: Sequence[str]) -> None:
    """Takes the fields that the command line fixes out of the lists in the files.

    That is `method.FIELD=value`, or `dataset.FIELD=value` of a field that follows the data set. A list that
    it empties (`dataset.quick_grid={}`) is empty.

    With a list of its own on the command line too (`method.long_grid.FIELD=[...]`) the value is where a sweep
    starts from.
    """
    given = [parsed(word) for word in overrides]
    keys = [override.key_or_group for override in given]
    for override in given:
        group, _, name = override.key_or_group.partition(".")
        lists_of = {"dataset": DATASET_LISTS, "method": ("grid", "long_grid")}
        if override.value() == {} and name in lists_of.get(group, ()):
            getattr(getattr(config, group), name).clear()  # Hydra would merge nothing into it
    listed = {key.removeprefix("grid.") for key in keys if key.startswith("grid.")}
    for override in given:
        value = override.value()
        if override.key_or_group == "grid" and isinstance(value, dict):
            listed |= set(map(str, value))
    lists = [getattr(config.dataset, name) for name in DATASET_LISTS]
    fixed = [key.removeprefix("method.") for key in keys if key.startswith("method.")]
    for field_name in fixed:
        if field_name in listed:
            raise BenchError(
                f"method.{field_name} and grid.{field_name} are both given: keep the one that is meant."
            )
    fixed += [
        name
        for name in (key.removeprefix("dataset.") for key in keys if key.startswith("dataset."))
        if name in vars(config.method)
        and getattr(config.method, name) == getattr(config.dataset, name)
        and name not in listed
    ]
    for field_name in fixed:
        for grid in lists:
            grid.pop(field_name, None)
        for name in ("grid", "long_grid"):
            if f"method.{name}.{field_name}" not in keys:
                getattr(config.method, name).pop(field_name, None)


def _check_types(where: str, grid: Mapping[str, list[Any]], schema: DictConfig) -> None:
    """The lists of a grid are untyped in the files; the fields that they give values to are not.

    schema: of those fields; it takes the values on as it tries them.
    """
    for name in grid.keys() & schema.keys():
        for value in grid[name]:
            try:
                schema[name] = value
            except OmegaConfBaseException as error:
                raise BenchError(f"{where}.{name} {demand(str(error))}.") from error
