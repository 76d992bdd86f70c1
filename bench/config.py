"""The configuration's dataclasses. Values live in `conf/`; types and their meaning live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass(kw_only=True)
class DatasetConfig:
    """Fields every data set has. A data set's file adds its own (`bench/data/kuairec.py`)."""

    name: str = MISSING
    title: str = MISSING  # how the table writes it
    threshold: float = MISSING  # a rating of at least this is a positive label
    k: int = MISSING  # cut-off of NDCG@K and Recall@K
    batch_size: int = MISSING  # defaults of every method on this data set
    embedding_size: int = MISSING
    evaluations_per_epoch: int = 1  # how often validation AUC is measured
    shared_grid: dict[str, list[float]] = field(default_factory=dict)  # the paper's shared points


@dataclass(kw_only=True)
class ProtocolConfig:
    """What is measured (`conf/protocol/`)."""

    name: str = MISSING
    star_threshold: float = MISSING  # positive label on data sets of one to five stars
    no_positive: str = "skip"  # users without a positive test rating: skip | one | zero
    unbiased_train: float = 0.05  # share of the unbiased ratings that methods may train on (A)
    unbiased_validation: float = 0.05
    compare_with_paper: bool = True


@dataclass(kw_only=True)
class EngineConfig:
    """How training runs. None of device, threads and memory_gib is part of a record's identity."""

    device: str = "auto"  # auto | cpu | cuda
    threads: int = 0  # torch threads; 0: as many as there are cores
    memory_gib: float = 0.0  # budget for one group of members; 0: half of the device's free memory
    max_epochs: int = 500
    patience: int = 20  # evaluations without a better validation AUC
    dtype: str = "float32"


@dataclass(kw_only=True)
class ExtraMethods:
    """Method files from outside the checkout."""

    extra: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class SweepConfig:
    """Which points of the hyper-parameter space a cell tries."""

    name: str = MISSING
    grid: dict[str, list[Any]] = field(default_factory=dict)
