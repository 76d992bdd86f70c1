"""The controls below the table's rule do what their formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import methods
from bench import cell as cells
from bench import compose
from bench.cell import Cell
from bench.cell.trained import Trained
from bench.cell.trainer import Trainer
from bench.engine.members import Member
from bench.engine.sampling import Pairs
from bench.errors import BenchError
from bench.table.statistics import wilcoxon
from tests.methods import small


def prepared(*overrides: str) -> Cell:
    """A cell of the generated data set."""
    compose.register()
    config = compose.composed(["dataset=synthetic", "sweep=none", *overrides])
    return cells.prepare(config, cells.load_ratings(config))


def trained(cell: Cell) -> list[Trained]:
    """Its first point with all seeds."""
    members = [Member(0, seed, cell.points[0]) for seed in range(cell.seeds)]
    return Trainer(cell).train(members, True, lambda n: None)


def test_true_propensities_lower_the_ideal_loss() -> None:
    """20 paired seeds, the same settings for both; the exact signed-rank test."""
    settings = ("seeds=20", "method.learning_rate=0.05", "method.weight_decay=3e-4")
    losses = {
        key: np.array([each.test["ideal_loss"] for each in trained(prepared(f"method={key}", *settings))])
        for key in ("mf", "ips_oracle")
    }
    p, _ = wilcoxon(losses["ips_oracle"], losses["mf"])
    assert p < 0.001
    assert np.median(losses["mf"] - losses["ips_oracle"]) > 0.01


def test_eib_without_missing_weight_is_mf() -> None:
    settings = (
        "seeds=2",
        "engine.max_epochs=3",
        "dataset.n_users=60",
        "dataset.n_items=50",
        "dataset.ratings_per_user=24",
    )
    mf = trained(prepared("method=mf", *settings))
    eib = trained(prepared("method=eib", "method.missing_weight=0", *settings))
    for one, other in zip(mf, eib, strict=True):
        assert one.test == other.test
        np.testing.assert_array_equal(one.curve, other.curve)


def test_a_whole_space_term_of_mf_on_both_is_that_of_eib() -> None:
    """Without A's share of the loss, and with it: the terms add."""
    method, eib = (small.built(key, missing_weight=0.3, imputed_label=0.2) for key in ("mf_combine", "eib"))
    plain = small.built("mf_combine")
    draw = small.Whole(method)
    steps = []
    for each in (method, eib, plain, small.built("eib", missing_weight=0.0)):
        before = {name: table.clone() for name, table in each.prediction.tables.items()}
        losses: list[torch.Tensor] = []
        each.prediction.note_loss = losses.append
        each.step(draw)  # type: ignore[arg-type]
        assert any(not torch.equal(each.prediction.tables[name], table) for name, table in before.items())
        steps.append(losses[0])
    torch.testing.assert_close(steps[0] - steps[2], steps[1] - steps[3])
    with pytest.raises(BenchError, match=r"^method.everywhere_ratio must be at least 1 for a whole-space"):
        small.built("mf_combine", everywhere_ratio=0, missing_weight=0.3)


def test_eib_pulls_pairs_that_nobody_rated_towards_the_imputed_label() -> None:
    cell = prepared(
        *("method=eib", "method.missing_weight=100", "method.imputed_label=0.2", "method.weight_decay=0"),
        *("seeds=1", "engine.max_epochs=20", "engine.patience=100", "method.learning_rate=0.05"),
        *("dataset.n_users=60", "dataset.n_items=50", "dataset.ratings_per_user=24"),
    )
    trainer = Trainer(cell)
    training, _ = trainer.seeds.of_members([Member(0, 0, cell.points[0])])
    method = methods.get("eib")([cell.points[0]], [0], training)
    from bench.engine.sampling import Sampler

    sampler = Sampler(training, method.config.batch_size, 1, method.kernels)
    for number in range(30):
        epoch = sampler.epoch(training, "training", number)
        for step in range(sampler.steps_per_epoch):
            method.step(epoch.draw(training, step))
    everything = torch.arange(60 * 50)
    with torch.no_grad():
        scores = method.score(Pairs(everything[None] // 50, everything[None] % 50))
    assert float(scores.mean()) == pytest.approx(0.2, abs=0.02)


def test_item_mean_is_the_smoothed_mean_label() -> None:
    cell = prepared("method=item_mean", "seeds=1", "method.pseudo_count=2")
    ratings = cell.ratings
    labels = ratings.biased.values >= 1
    item = int(ratings.biased.items[0])
    own = labels[ratings.biased.items == item]
    training, _ = Trainer(cell).seeds.of_members([Member(0, 0, cell.points[0])])
    method = methods.get("item_mean")([cell.points[0]], [0], training)
    score = method.score(Pairs(torch.tensor([[0, 5]]), torch.tensor([[item, item]])))
    expected = (own.sum() + 2 * labels.mean()) / (len(own) + 2)
    assert score[0].tolist() == pytest.approx([expected] * 2, rel=1e-6)


def test_mf_combine_weighs_every_rating_alike() -> None:
    cell = prepared(
        "method=mf_combine",
        "seeds=1",
        "dataset.n_users=60",
        "dataset.n_items=50",
        "dataset.ratings_per_user=24",
    )
    training, _ = Trainer(cell).seeds.of_members([Member(0, 0, cell.points[0])])
    method = methods.get("mf_combine")([cell.points[0]], [0], training)
    n_a, n_o = training.unbiased_labels.shape[-1], len(training.labels)
    assert method.share / n_a == pytest.approx((1 - method.share) / n_o)
