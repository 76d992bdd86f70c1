"""The configuration's dataclasses. Values live in `conf/`; types and their meaning live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass(kw_only=True)
class DatasetConfig:
    """Fields every data set has. A data set's file adds its own (`bench/data/kuairec.py`)."""

    name: str = MISSING
    extra: list[str] = field(default_factory=list)  # files of data sets from outside the checkout
    title: str = MISSING  # how the table writes it
    paper: str = ""  # the data set whose numbers of the paper's stand beside it; "": its own
    note: str = ""  # a sentence about it under the table
    threshold: float = MISSING  # a rating of at least this is a positive label
    k: int = MISSING  # cut-off of NDCG@K and Recall@K
    batch_size: int = MISSING  # defaults of every method on this data set
    embedding_size: int = MISSING
    # What the quick grid chose for plain MF on validation: where every method starts.
    learning_rate: float = MISSING
    weight_decay: float = MISSING
    backbone: str = "ids"  # ids | features
    everywhere_ratio: int = 1  # pairs of all of D per observed pair, for the methods that draw them
    evaluations_per_epoch: int = 1  # how often validation AUC is measured
    untuned_sweep: str = "default"  # what `make table1` does for a cell that no sweep has tuned yet
    # Seeds with which the points of a sweep are compared (all of them where there are fewer): few for all
    # points of a long sweep, more for its best ones.
    screening_seeds: int = 5
    selection_seeds: int = 10
    # Lists that a stage may name (`DATASET_LISTS`); conf/README.md says what each is for.
    quick_grid: dict[str, list[Any]] = field(default_factory=dict)
    rates_grid: dict[str, list[Any]] = field(default_factory=dict)
    sizes_grid: dict[str, list[Any]] = field(default_factory=dict)
    shared_grid: dict[str, list[Any]] = field(default_factory=dict)
    common_grid: dict[str, list[Any]] = field(default_factory=dict)


DATASET_LISTS = ("quick_grid", "rates_grid", "sizes_grid", "shared_grid", "common_grid")


@dataclass(kw_only=True)
class ProtocolConfig:
    """What is measured (`conf/protocol/`)."""

    name: str = MISSING
    star_threshold: float = MISSING  # positive label on data sets of one to five stars
    no_positive: str = "skip"  # users without a positive test rating: skip | one | zero
    unbiased_train: float = 0.05  # share of the unbiased ratings that methods may train on (A)
    unbiased_validation: float = 0.05
    compare_with_paper: bool = True  # whether the paper's numbers were measured like this
    # Leaks, to ask where other numbers may come from; no row of a table has them.
    leak_a_stays_in_test: bool = False  # methods are tested by the ratings that they train on, too
    leak_validates_on_test: bool = False  # stopping and choosing look at the test ratings


@dataclass(kw_only=True)
class EngineConfig:
    """How training runs. None of device, threads and memory_gib is part of a record's identity."""

    device: str = "auto"  # auto | cpu | cuda
    # What computes a step (bench/engine/kernels): numba is for float32 on a CPU, torch for everything and the
    # reference. They round differently, so what auto comes to is part of a record's identity.
    kernels: str = "auto"  # auto (numba where it fits) | torch | numba
    threads: int = 1  # of torch and the kernels, per process; 0: as many as there are CPUs for it
    # What the process may hold (on a GPU: a group of members); 0: a group takes half of what is free at most.
    memory_gib: float = 0.0
    max_epochs: int = 500
    patience: int = 20  # evaluations without a better validation AUC
    dtype: str = "float32"  # float32 | float64
    # dense | rows: whether a step moves all of a table, or the rows of its batch only (their moments and
    # decay too): another optimiser, whose cost does not grow with the tables. For millions of users.
    adam: str = "dense"


@dataclass(kw_only=True)
class ExtraMethods:
    """Method files from outside the checkout."""

    extra: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class StageConfig:
    """One stage of a sweep (`bench/cell/plan.py`).

    lists: the lists whose product is tried, the later of two lists for one field counting: `DATASET_LISTS` of
        the data set, own_grid and long_grid of the method.
    instead: those of a row for which they are empty, so that it is given as many points as the others.
    near: only values next to a point's own in each list; of a given number of points, those that differ from
        it in fewest fields.
    around: around so many of the best points so far; 0: around the configured one. Without lists, those
        points are trained again with this stage's seeds.
    points: so many new points, drawn where there are more; 0: all.
    seeds: 0: the data set's selection_seeds.
    """

    name: str = MISSING
    lists: list[str] = field(default_factory=list)
    instead: list[str] = field(default_factory=list)
    near: bool = False
    around: int = 0
    points: int = 0
    seeds: int = 0


@dataclass(kw_only=True)
class SweepConfig:
    """Which points of the hyper-parameter space a cell tries.

    slices, slice: this process trains only the given one of so many shares of the first stage, for other
        machines to take the others; a run without them puts all together. No part of a record's identity.
    """

    name: str = MISSING
    stages: list[StageConfig] = field(default_factory=list)
    slices: int = 1
    slice: int = 0


@dataclass(kw_only=True)
class Config:
    """The whole configuration of one cell."""

    protocol: ProtocolConfig = MISSING
    dataset: DatasetConfig = MISSING
    method: Any = MISSING  # the method's fields, its name and its grid (`methods/`)
    sweep: SweepConfig = MISSING
    grid: dict[str, list[Any]] = field(default_factory=dict)  # of this run, above those in the files
    seeds: int = 10  # of the final runs: 0 .. seeds - 1
    tuned_points: int = 0  # points of the sweep that chose this configuration; 0: this run's own sweep does
    selection: str = "validation_held_out"  # bench/cell/selection.py
    engine: EngineConfig = field(default_factory=EngineConfig)
    methods: ExtraMethods = field(default_factory=ExtraMethods)
    # Of the final runs, kept beside the record: scores (of each seed's test ratings), model (parameters). No
    # part of a record's identity: a record that stands without them is completed.
    save: list[str] = field(default_factory=list)
    dry_run: bool = False  # say what would be trained, and train nothing
    again: bool = False  # train anew even where the record stands; no part of its identity
    data_dir: str = "data"
    results: str = "results"
