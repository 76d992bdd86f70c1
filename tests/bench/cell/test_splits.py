"""The parts of a seed's split: each needs ratings of both classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import cell as cells
from bench import compose
from bench.cell.splits import Seeds
from bench.data.split import split
from bench.errors import BenchError

TINY = ("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("train", "The A ratings of seed 0 are all negative at dataset.threshold=1, so nothing"),
        ("validation", "The validation ratings of seed 0 are all negative at dataset.threshold=1, so no AUC"),
        ("test", "The test ratings of seed 0 are all negative at dataset.threshold=1, so no AUC"),
    ],
)
def test_a_part_of_one_class_is_refused(part: str, said: str) -> None:
    compose.register()
    config = compose.composed([*TINY, "method=item_mean", "sweep=none", "seeds=1"])
    ratings = cells.load_ratings(config)
    values = ratings.unbiased.values.copy()
    own = getattr(split(len(values), 0), part)
    values[own] = 0
    others = np.setdiff1d(np.arange(len(values)), own)
    values[others] = np.arange(len(others)) % 2
    cell = cells.prepare(config, replace(ratings, unbiased=replace(ratings.unbiased, values=values)))
    with pytest.raises(BenchError) as raised:
        Seeds.of(cell, torch.device("cpu"), torch.float32)
    assert str(raised.value).startswith(said)
