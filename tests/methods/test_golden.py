"""Golden trajectories: losses at the first evaluations and the metrics after them, for every row, in float64.

A change that should not change numbers leaves them as they are; after one that does, and says so,
`PYTHONPATH=. python tests/methods/test_golden.py` writes them anew.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from bench import cell as cells
from bench import compose
from bench.cell.trainer import Trainer
from bench.engine.members import Member

GOLDEN = Path(__file__).with_name("golden_trajectories.json")
TOLERANCE = 1e-6  # relative: sums of float64 in another order differ by far less
SETTINGS = (
    *(
        "dataset=synthetic_item_effects",
        "dataset.n_users=60",
        "dataset.n_items=50",
        "dataset.ratings_per_user=10",
    ),
    *("dataset.batch_size=60", "dataset.embedding_size=4", "dataset.evaluations_per_epoch=10"),
    *("sweep=none", "seeds=1", "engine.max_epochs=3", "engine.patience=1000", "engine.dtype=float64"),
    *("method.learning_rate=0.02", "method.weight_decay=1e-3"),
)

# What three epochs would not reach.
SOONER = {"invpref": ("method.interval=1",)}


def trajectory(key: str) -> dict[str, Any]:
    """Losses of each part and phase at the first 30 evaluations, the last phase's validation AUC, metrics."""
    compose.register()
    config = compose.composed([f"method={key}", *SETTINGS, *SOONER.get(key, ())])
    cell = cells.prepare(config, cells.load_ratings(config))
    torch.set_num_threads(1)
    (found,) = Trainer(cell).train([Member(0, 0, cell.points[0])], True, lambda n: None)
    losses = {
        name: [float(value) for value in values[1:31]]
        for name, values in found.losses.items()
        if values[1:].size and not bool(torch.from_numpy(values[1:]).isnan().all())
    }
    test = {"auc": found.test["auc"], "ideal_loss": found.test["ideal_loss"]}
    test |= {name: found.test[name]["skip"] for name in ("ndcg", "recall")}
    return {
        "losses": losses,
        "validation_auc": [float(value) for value in found.curve],
        "best": found.best,
        "test": test,
    }


@cache
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


def test_every_row_has_one() -> None:
    own = {key for key in methods.names() if methods.get(key).__module__.startswith("methods.")}
    assert set(golden()) == own  # other tests may have loaded methods from elsewhere


@pytest.mark.parametrize("key", methods.names())
def test_the_trajectory_is_the_golden_one(key: str) -> None:
    found, expected = trajectory(key), golden()[key]
    assert found["best"] == expected["best"]
    assert found["losses"].keys() == expected["losses"].keys()
    for name, losses in expected["losses"].items():
        assert found["losses"][name] == pytest.approx(losses, rel=TOLERANCE, abs=1e-9, nan_ok=True), name
    assert found["validation_auc"] == pytest.approx(expected["validation_auc"], rel=TOLERANCE)
    assert found["test"] == pytest.approx(expected["test"], rel=TOLERANCE)


if __name__ == "__main__":
    text = json.dumps({key: trajectory(key) for key in methods.names()}, indent=1) + "\n"
    GOLDEN.write_text(text, encoding="utf-8")
