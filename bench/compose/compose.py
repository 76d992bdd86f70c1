"""From files and command line to a checked configuration: Hydra's groups, and errors in one sentence.

The groups' types come from the code (`bench/config.py`, each data set's and each method's `Config`), the
values from `conf/`. No `_target_` is ever instantiated.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

import methods
from bench import data
from bench.config import Config, ProtocolConfig, SweepConfig
from bench.engine.method import MethodConfig
from bench.errors import BenchError, nearest

CONF = Path(__file__).resolve().parents[2] / "conf"
_EXTRA = "methods.extra"
_OF_DATASET = ("quick_grid", "shared_grid", "common_grid")  # lists that a data set has for sweeps
_GROUPS = ("protocol", "dataset", "method", "sweep")
_MULTIRUN = ("-m", "--multirun")
# Hydra's options, and those of them that take the next word as their value.
_ALONE = {
    *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", *_MULTIRUN),
    *("--shell-completion", "-sc"),
}
_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
}


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
    """A method's configuration as a type of Hydra's: its fields, its name and its grids."""
    config = methods.get(key).Config
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


def read(words: Sequence[str]) -> list[str]:
    """The words of a command line as Hydra is to get them, after a check of each by itself.

    `-m` may stand anywhere, and `grid.FIELD=[...]` adds a list for any field, which Hydra spells
    `++grid.FIELD=[...]`.

    Raises:
        BenchError: a word is no override, or cannot be meant.
    """
    multirun = any(word in _MULTIRUN or word.startswith("hydra.mode=MULTIRUN") for word in words)
    flags = [word for word in words if word in _MULTIRUN]
    rest = [word for word in words if word not in _MULTIRUN]
    for before, word in zip(["", *rest], rest, strict=False):
        if word.startswith("-"):
            if word.split("=")[0] not in _ALONE | _WITH_VALUE:
                raise BenchError(f"There is no option {word}: overrides have no dashes, such as seeds=20.")
        elif before not in _WITH_VALUE:
            _check_word(word, multirun)
    return [*flags, *(f"++{word}" if word.startswith("grid.") else word for word in rest)]


def swept(words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Those overrides of one job of a multirun in which its jobs differ, or all of them if none does."""
    parsed = [_parsed(word) for word in words if "=" in word and not word.startswith("-")]
    keys = {override.key_or_group for override in parsed if override.is_sweep_override()}
    own = [word for word in overrides if _parsed(word).key_or_group in keys]
    return [word.removeprefix("++") for word in own or overrides]


def jobs(words: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a multirun, in Hydra's order."""
    choices = []
    for word in words:
        if word.startswith("-") or "=" not in word or word.lstrip("+~").startswith("hydra"):
            continue
        override = _parsed(word)
        key, value = override.get_key_element(), override.value()
        if not override.is_sweep_override():
            choices.append([word])
        elif isinstance(value, Glob):
            choices.append([f"{key}={name}" for name in value.filter(_options(override.key_or_group))])
        elif override.is_discrete_sweep():
            choices.append([f"{key}={each}" for each in override.sweep_string_iterator()])
    return [list(job) for job in itertools.product(*choices)]


def _parsed(word: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise BenchError(
            f"{word} cannot be read: write each override as one word FIELD=VALUE, such as seeds=20, and in "
            "quotation marks where the shell knows its characters."
        ) from error
    if not override.key_or_group:
        raise BenchError(f"{word} names no field: write FIELD=VALUE, such as seeds=20.")
    return override


def _check_word(word: str, multirun: bool) -> None:
    override = _parsed(word)
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override() and not multirun:
        raise BenchError(
            f"{word} names several values: add -m to run each of them, or write a list as [a,b]."
        )
    group, _, name = key.partition(".")
    if group in _GROUPS and name == "name":
        raise BenchError(f"{key} is not to be set: choose another {group} by {group}={value}.")
    if isinstance(value, Glob) and key in _GROUPS:
        options = _options(key)
        if not value.filter(options):
            raise BenchError(f"{word} matches no {key}: the choices are {', '.join(options)}.")
    if key == "results" and value in ("", None):
        raise BenchError("results names no folder: leave it out, or give one.")


def _options(group: str) -> list[str]:
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
    for where, grid in (
        ("grid", plain.grid),
        ("method.grid", plain.method.grid),
        ("method.long_grid", plain.method.long_grid),
        *((f"dataset.{name}", getattr(plain.dataset, name)) for name in _OF_DATASET),
    ):
        _check_types(where, grid, methods.get(plain.method.name).Config)
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
    """Takes the fields that the command line fixes (`method.FIELD=value`) out of the lists in the files.

    With a list of its own on the command line too (`method.long_grid.FIELD=[...]`) the value is where a sweep
    starts from.
    """
    keys = [_parsed(word).key_or_group for word in overrides]
    listed = {key.removeprefix("grid.") for key in keys if key.startswith("grid.")}
    lists = [getattr(config.dataset, name) for name in _OF_DATASET]
    for field_name in (key.removeprefix("method.") for key in keys if key.startswith("method.")):
        if field_name in listed:
            raise BenchError(
                f"method.{field_name} and grid.{field_name} are both given: keep the one that is meant."
            )
        for grid in lists:
            grid.pop(field_name, None)
        for name in ("grid", "long_grid"):
            if f"method.{name}.{field_name}" not in keys:
                getattr(config.method, name).pop(field_name, None)


def _check_types(where: str, grid: Mapping[str, list[Any]], kind: type) -> None:
    """The lists of a grid are untyped in the files; the fields that they give values to are not."""
    schema = OmegaConf.structured(kind)
    for name in grid.keys() & {f.name for f in dataclasses.fields(kind)}:
        for value in grid[name]:
            try:
                OmegaConf.merge(schema, {name: value})
            except OmegaConfBaseException as error:
                raise BenchError(f"{where}.{name} {_demand(str(error))}.") from error


def composed(overrides: Sequence[str]) -> Config:
    """The configuration of one cell, as `python -m bench OVERRIDES` has it.

    Raises:
        BenchError: an override is wrong.
    """
    with one_sentence(), initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return resolved(compose(config_name="config", overrides=read(overrides)), overrides)


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
            if full.startswith("method.grid."):
                return f"There is no field '{full}': write {full.removeprefix('method.')}=[...] instead."
            known = [name for name in _siblings(each) if name not in ("hydra", "schema", "name")]
            if known:
                return f"There is no field '{full}'{_whose(each)}: {nearest(str(each.key), known)}"
    group = re.search(r"(?:In '[^']*': )?Could not find '([^']+)/([^'/]*)'", str(error))
    if group:
        options = re.findall(r"^\t(\S+)$", str(error), re.MULTILINE)
        options = options or _options(group[1])  # Hydra lists none of a group that has no default
        if not options:
            return f"There is no conf/{group[1]}/{group[2]}.yaml, nor another file beside it."
        return f"There is no {group[1]} '{group[2]}': {nearest(group[2], options)}"
    for each in reversed(chain):
        if isinstance(each, OmegaConfBaseException) and each.full_key:
            key = str(each.full_key)
            if key.endswith("grid"):
                return f"{key} takes lists of values by field, such as {key}.learning_rate=[0.01,0.05]."
            return f"{key} {_demand(str(each))}."
    return _first(error)


# What OmegaConf says about a value → what is to be done. Its own words name classes of its own.
_DEMANDS = (
    (r"Value '(.*)' of type '\w+' could not be converted to Float", r"must be a number, but it is '\1'"),
    (
        r"Value '(.*)' of type '\w+' could not be converted to Integer",
        r"must be a whole number, but it is '\1'",
    ),
    (r"Value '(.*)' is not a valid bool.*", r"must be true or false, but it is '\1'"),
    (r"field '.*' is not Optional", "needs a value, but it is null"),
    (r"Incompatible value 'None' for field of type .*", "needs a value, but it is null"),
    (
        r"Invalid value assigned: \w+ is not a ListConfig.*|Cannot merge DictConfig with ListConfig",
        "must be a list, such as [0.01,0.05]",
    ),
    (
        r"Invalid type assigned: \w+ is not a subclass of .*|Cannot assign \w+ to Dict.*",
        "has fields of its own: set one of those",
    ),
)


def _demand(text: str) -> str:
    """What a field must be, out of OmegaConf's words about the value that it got."""
    line = text.splitlines()[0].rstrip(". ")
    for pattern, demand in _DEMANDS:
        found = re.fullmatch(pattern, line)
        if found:
            return found.expand(demand)
    return f"cannot be set: {line}"


def _siblings(error: OmegaConfBaseException) -> list[str]:
    """The fields that stand where an unknown one was asked for."""
    node = error.parent_node
    if isinstance(node, DictConfig):
        return [str(key) for key in node]
    return [f.name for f in dataclasses.fields(error.object_type)] if error.object_type else []


def _whose(error: OmegaConfBaseException) -> str:
    """Which method or data set an unknown field was asked of, since others may have it."""
    node = error.parent_node
    group = str(error.full_key).split(".")[0]
    if not isinstance(node, DictConfig) or group not in ("method", "dataset"):
        return ""
    return f" with {group}={node._get_node('name')}"


def _first(error: BaseException) -> str:
    """The first line of an error's text, as a sentence."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[0].rstrip(". ") if lines else type(error).__name__) + "."
