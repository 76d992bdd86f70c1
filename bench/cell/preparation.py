"""From a resolved configuration to a checked cell, and the ratings that it names."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path

import methods
from bench import data
from bench.cell import compiled, identity, loaded, selection
from bench.cell import plan as sweep
from bench.cell.plan import Plan
from bench.cell.spec import SAVED, Cell, Setting, point_of
from bench.config import DATASET_LISTS, Config
from bench.conventions import NO_POSITIVE
from bench.data.ratings import Ratings
from bench.engine import kernels
from bench.engine.device import dtype_of
from bench.engine.method import MethodConfig
from bench.errors import BenchError, nearest

# Words of a command line that say where, with what and whether it runs, not what comes out.
_PLACES = (
    "results",
    "data_dir",
    "hydra",
    "again",
    "save",
    "dry_run",
    "engine.device",
    "engine.threads",
    "engine.memory_gib",
)
_KEPT = 8  # data sets that a process keeps
_loaded: OrderedDict[Hashable, Ratings] = OrderedDict()


def load_ratings(config: Config) -> Ratings:
    """The ratings that the configuration names, read once in a process.

    Raises:
        MissingData: the files are absent.
        BenchError: they are wrong.
    """
    loaded.keep_sources()  # before what takes its time: the files may be edited meanwhile
    compiled.use_cache_folder()
    place = Path(config.data_dir)
    key = data.key(config.dataset, place)
    if key not in _loaded:
        _loaded[key] = data.load(config.dataset, place)
    _loaded.move_to_end(key)
    if len(_loaded) > _KEPT:
        _loaded.popitem(last=False)
    return _loaded[key]


def prepare(config: Config, ratings: Ratings, words: Sequence[str] = ()) -> Cell:
    """Checks a resolved configuration and lays out its plan.

    Args:
        words: of the command line, for the record.

    Raises:
        BenchError: a field, a method or a list of the grid is wrong.
    """
    selection.check(config.selection)
    dtype_of(config.engine)
    _check_ranges(config)
    if config.sweep.slice >= config.sweep.slices:
        raise BenchError(
            f"sweep.slice={config.sweep.slice} is too large: with sweep.slices={config.sweep.slices} they "
            f"are 0 to {config.sweep.slices - 1}."
        )
    if config.protocol.no_positive not in NO_POSITIVE:
        raise BenchError(
            f"protocol.no_positive={config.protocol.no_positive} is not known: "
            f"{nearest(config.protocol.no_positive, NO_POSITIVE)}"
        )
    fields = vars(config.method)
    key = fields["name"]
    kind = methods.get(key)
    base = {field.name: fields[field.name] for field in dataclasses.fields(kind.Config)}
    plan = plan_of(config, kind.trained, base)
    points = _values(key, base, plan)
    setting = Setting(
        protocol=config.protocol,
        dataset=config.dataset,
        method=key,
        engine=dataclasses.replace(config.engine, kernels=kernels.name_for(config.engine)),
        ratings=ratings,
        seeds=config.seeds,
    )
    choices = {
        "base": base,
        "plan": [dataclasses.asdict(stage) for stage in plan.stages],
        "seeds": config.seeds,
        "tuned_points": config.tuned_points,
        "selection": config.selection,
    }
    return Cell(
        **vars(setting),
        base=base,
        plan=plan,
        sweep=config.sweep.name,
        slices=config.sweep.slices,
        slice=config.sweep.slice,
        tuned_points=config.tuned_points,
        selection=config.selection,
        identity=identity.of_cell(setting, choices, points),
        again=config.again,
        save=tuple(name for name in SAVED if name in config.save),
        words=tuple(word for word in words if not word.lstrip("+").startswith(_PLACES)),
    )


# Least and largest of whole numbers, wherever they stand: beyond them a run cannot be meant, and would end by
# an error of Python's, of the machine or not at all.
_RANGES = {
    "seeds": (1, 1000),
    "engine.max_epochs": (1, 1_000_000),
    "engine.patience": (1, 1_000_000),
    "engine.threads": (0, 1024),
    "dataset.screening_seeds": (1, 1000),
    "dataset.selection_seeds": (1, 1000),
    "dataset.k": (1, 1_000_000),
    "dataset.evaluations_per_epoch": (1, 10_000),
    "sweep.slices": (1, 100_000),
    "sweep.slice": (0, 100_000),
    "tuned_points": (0, 10**9),
}


def _check_ranges(config: Config) -> None:
    for name, (least, most) in _RANGES.items():
        group, _, field = name.rpartition(".")
        value = getattr(getattr(config, group) if group else config, field)
        if not least <= value <= most:
            demand = f"at least {least}" if value < least else f"at most {most:,}"
            raise BenchError(f"{name} must be {demand}, but it is {value}.")
    for group in ("protocol", "dataset", "engine"):
        for field, value in vars(getattr(config, group)).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise BenchError(f"{group}.{field} must be a finite number, but it is {value}.")
    for name in config.save:
        if name not in SAVED:
            raise BenchError(f"save={name} is not known: {nearest(name, SAVED)}")


def plan_of(config: Config, trained: bool, base: dict[str, object]) -> Plan:
    """The plan of a configuration (see `StageConfig`).

    Args:
        trained: whether its method is. base: the method's fields as they are configured.

    Raises:
        BenchError: a list names no field, no value or one twice, or a stage cannot be meant.
    """
    dataset, method = config.dataset, config.method
    of_dataset = {name: getattr(dataset, name) for name in DATASET_LISTS}
    lists = {
        # A method that is not trained has no use for learning rates and the like.
        **{name: grid if trained else {} for name, grid in of_dataset.items()},
        "own_grid": method.grid,
        "long_grid": method.long_grid or method.grid,
    }
    for name, grid in (*lists.items(), ("grid", config.grid)):
        where = name if name == "grid" else f"the {name}'s"
        for field, values in grid.items():
            if field not in base:
                raise BenchError(f"{where}.{field}: the method has no such field; {nearest(field, base)}")
            if not values:
                raise BenchError(
                    f"{where}.{field} is an empty list: give at least one value, or leave it out."
                )
            if len(set(map(repr, values))) != len(values):
                raise BenchError(f"{where}.{field} names a value twice.")
    inert = getattr(methods.get(method.name).Config, "inert", {})
    return sweep.plan(
        config.sweep.stages, lists, config.grid, base, config.seeds, config.dataset.selection_seeds, inert
    )


def _values(method: str, base: dict[str, object], plan: Plan) -> list[MethodConfig]:
    """Points with every listed value beside the configured ones, checked before hours have passed."""
    return [point_of(method, base)] + [
        point_of(method, {**base, name: value})
        for stage in plan.stages
        for name, values in stage.lists.items()
        for value in values
    ]
