"""A data set from outside the checkout: its fields, and a function that returns its ratings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.config import DatasetConfig
from bench.data import Interactions, Ratings


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Defaults stand here, or in a YAML of `--config-dir`; else conf/dataset/csv.yaml's hold."""

    threshold: float = 1
    n_users: int = 40


def load(config: Config, data_dir: Path) -> Ratings:
    """Users like every other item; they rate those more often."""
    random = np.random.default_rng(0)
    labels = (np.arange(30) % 2 == 0)[None, :] ^ (random.random((config.n_users, 30)) < 0.2)
    unbiased = random.random(labels.shape) < 0.3
    biased = ~unbiased & (random.random(labels.shape) < np.where(labels, 0.5, 0.2))
    o, a = (Interactions(*np.nonzero(part), labels[part].astype(np.float32)) for part in (biased, unbiased))
    return Ratings("toy_data", "drawn", config.n_users, 30, o, a, checksum="its content is hashed anyway")
