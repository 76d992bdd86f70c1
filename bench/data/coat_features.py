"""Coat once more, as a data set on which every model reads the release's side features.

The ratings are those of `coat.py`; a table has it as a group of its own, tuned for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.config import DatasetConfig
from bench.data import coat
from bench.data.ratings import Ratings


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Coat's, with `backbone: features` in `conf/`."""


def load(config: Config, data_dir: Path) -> Ratings:
    """Read Coat; see `coat.load`."""
    return replace(coat.load(coat.Config(name="coat"), data_dir), name=config.name)
