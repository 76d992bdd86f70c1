"""Every row trains with its default settings on every data set of the table that is here."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

import methods
from bench import cell as cells
from bench import compose, reproduce
from bench.cell.trainer import Trainer
from bench.engine.members import Member
from bench.errors import MissingData, NotApplicable
from tests.every_row import LATER

pytestmark = list(LATER)
FOLDER = Path(os.environ.get("BENCH_DATA") or "data")


@pytest.mark.parametrize("dataset", reproduce.DATASETS)
@pytest.mark.parametrize("key", methods.names())
def test_two_epochs_with_default_settings(key: str, dataset: str) -> None:
    compose.register()
    torch.set_num_threads(1)
    words = [f"method={key}", f"dataset={dataset}", f"data_dir={FOLDER}", "sweep=none", "seeds=1"]
    config = compose.composed([*words, "engine.max_epochs=2"])
    try:
        cell = cells.prepare(config, cells.load_ratings(config))
        (found,) = Trainer(cell).train([Member(0, 0, cell.points[0])], True, lambda n: None)
    except (MissingData, NotApplicable) as reason:
        pytest.skip(str(reason))
    assert all(math.isfinite(float(value)) for losses in found.losses.values() for value in losses[1:])
    assert 0 < found.test["auc"] < 1
    if cell.method != "item_mean":
        assert len(found.curve) >= 2
