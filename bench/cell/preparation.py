"""From a resolved configuration to a checked cell, and the ratings that it names."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import methods
from bench import data
from bench.cell import compiled, identity, loaded, selection
from bench.cell import plan as sweep
from bench.cell.plan import Plan
from bench.cell.spec import Cell, Setting
from bench.config import DATASET_LISTS, Config
from bench.conventions import NO_POSITIVE
from bench.data.ratings import Ratings
from bench.engine import kernels
from bench.engine.device import dtype_of
from bench.errors import BenchError, nearest

# Words of a command line that say where, with what and whether it runs, not what comes out.
_PLACES = ("results", "data_dir", "hydra", "again", "engine.device", "engine.threads", "engine.memory_gib")
_KEPT = 8  # data sets that a process keeps
_loaded: OrderedDict[str, Ratings] = OrderedDict()


def load_ratings(config: Config) -> Ratings:
    """The ratings that the configuration names, read once in a process.

    Raises:
        MissingData: the files are absent.
        BenchError: they are wrong.
    """
    loaded.keep_sources()  # before what takes its time: the files may be edited meanwhile
    compiled.use_cache_folder()
    place = Path(config.data_dir)
    key = repr((place.resolve(), config.dataset))
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
    for place, name, least in (
        (config, "seeds", 1),
        (config.engine, "max_epochs", 1),
        (config.engine, "patience", 1),
        (config.dataset, "screening_seeds", 1),
        (config.dataset, "selection_seeds", 1),
        (config.dataset, "k", 1),
        (config.dataset, "evaluations_per_epoch", 1),
        (config.sweep, "slices", 1),
        (config.sweep, "slice", 0),
    ):
        if getattr(place, name) < least:
            raise BenchError(f"{name} must be at least {least}, but it is {getattr(place, name)}.")
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
    cell = Cell(
        **vars(setting),
        base=base,
        plan=plan,
        sweep=config.sweep.name,
        slices=config.sweep.slices,
        slice=config.sweep.slice,
        tuned_points=config.tuned_points,
        selection=config.selection,
        identity=identity.of_cell(setting, choices),
        again=config.again,
        words=tuple(word for word in words if not word.lstrip("+").startswith(_PLACES)),
    )
    _check_values(cell)
    return cell


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
    return sweep.plan(
        config.sweep.stages, lists, config.grid, base, config.seeds, config.dataset.selection_seeds
    )


def _check_values(cell: Cell) -> None:
    """Checks every listed value beside the configured ones, before hours have passed."""
    cell.config(cell.plan.start)
    for stage in cell.plan.stages:
        for name, values in stage.lists.items():
            for value in values:
                cell.typed({name: value})
