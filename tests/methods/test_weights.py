"""Propensities become weights: formulas, normalisation, the maximum-likelihood fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import methods
from bench.engine.part import minimise
from bench.engine.sampling import Batch, TrainingData
from methods.weights import known, logistic, logistic_propensity, naive_bayes


def data(n_users: int = 30, n_items: int = 20, n: int = 200) -> TrainingData:
    generator = torch.Generator().manual_seed(3)
    cells = torch.randperm(n_users * n_items, generator=generator)[:n]
    a = torch.randint(n_users * n_items, (2, 40), generator=generator)
    a_labels = (torch.rand(2, 40, generator=generator) < torch.tensor([[0.1], [0.5]])).double()
    return TrainingData(
        n_users=n_users,
        n_items=n_items,
        seeds=(0, 1),
        seed_row=torch.tensor([0, 1]),
        users=cells // n_items,
        items=cells % n_items,
        labels=(torch.rand(n, generator=generator) < 0.6).double(),
        unbiased_users=a // n_items,
        unbiased_items=a % n_items,
        unbiased_labels=a_labels,
        propensity=torch.rand(n_users, n_items, generator=generator, dtype=torch.float64) * 0.9 + 0.01,
    )


def all_observed(data: TrainingData) -> Batch:
    def both(values: torch.Tensor) -> torch.Tensor:
        return values.expand(2, -1)

    labels = both(data.labels)
    return Batch(both(data.users), both(data.items), labels, torch.ones_like(labels))


CLIP = torch.tensor([10.0, 10.0], dtype=torch.float64)


def test_naive_bayes_weights_are_the_ratio_of_shares() -> None:
    one = data()
    weights = naive_bayes(one, CLIP).values
    pi = float(one.labels.mean())
    for member in range(2):
        q = (float(one.unbiased_labels[member].sum()) + 1) / (40 + 2)
        assert weights[member].tolist() == pytest.approx([(1 - q) / (1 - pi), q / pi], rel=1e-12)
    # Plain inverse propensities p(o = 1 | r) = P(r | o) P(o) / P(r) sum to |D| over O.
    assert (1 / one.density / naive_bayes(one, CLIP)(all_observed(one))).isfinite().all()


@pytest.mark.parametrize("make", [naive_bayes, logistic, known])
@pytest.mark.parametrize("clip", [1.2, 3.0, 1000.0])
def test_weights_have_mean_one_over_the_observed_and_the_clip_binds(make, clip: float) -> None:
    one = data()
    weights = make(one, torch.full((2,), clip, dtype=torch.float64))(all_observed(one))
    assert weights.mean(-1).tolist() == pytest.approx([1, 1], rel=1e-9)
    free = make(one, torch.full((2,), 1e9, dtype=torch.float64))(all_observed(one))
    for member in range(2):
        below = free[member] < clip
        ratio = weights[member] / free[member]
        # Below the clip all weights grow by one factor; above it they are all the largest.
        assert float(ratio[below].max() - ratio[below].min()) < 1e-9
        assert bool((weights[member][~below] == weights[member].max()).all())


def test_one_class_only_in_a_gives_finite_weights() -> None:
    one = data()
    one = replace(one, unbiased_labels=torch.zeros_like(one.unbiased_labels))
    weights = naive_bayes(one, CLIP).values
    assert bool((weights > 0).all()) and bool(weights.isfinite().all())


def test_the_logistic_fit_reproduces_every_users_and_items_number_of_ratings() -> None:
    """The score equations of the maximum-likelihood fit."""
    one = data(n=250)
    user, item = logistic_propensity(one)
    p = torch.sigmoid(user[:, None] + item)
    n_user = torch.bincount(one.users, minlength=30).double()
    n_item = torch.bincount(one.items, minlength=20).double()
    seen = n_user > 0
    torch.testing.assert_close(p.sum(1)[seen], n_user[seen], rtol=0.02, atol=1e-6)
    torch.testing.assert_close(p.sum(0), n_item, rtol=0.02, atol=0.6)
    assert float(p.sum()) == pytest.approx(250, rel=0.01)


def test_ips_with_equal_weights_is_mf() -> None:
    """Where A has O's share of positives, naive Bayes changes nothing."""
    one = data()
    share = float(one.labels.mean())
    labels = torch.zeros(1, 998, dtype=torch.float64)
    labels[0, : round(share * 1000 - 1)] = 1
    empty = torch.zeros(1, 998, dtype=torch.int64)
    one = replace(
        one,
        seeds=(0,),
        seed_row=torch.tensor([0]),
        unbiased_users=empty,
        unbiased_items=empty,
        unbiased_labels=labels,
    )
    found = []
    for key in ("mf", "ips"):
        kind = methods.get(key)
        method = kind([kind.Config(embedding_size=3)], [0], one)
        batch = Batch(one.users[None], one.items[None], one.labels[None], torch.ones(1, len(one.labels)))

        class Whole:
            def observed(self, batch: Batch = batch) -> Batch:
                return batch

        for _ in range(5):
            method.step(Whole())  # type: ignore[arg-type]
        found.append(method.prediction.tables["users"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_mf_gradient_is_autograds() -> None:
    one = data()
    kind = methods.get("mf")
    method = kind([kind.Config(embedding_size=3)] * 2, [0, 1], one)
    batch = all_observed(one)
    tables = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    logits = torch.stack(
        [
            (tables["users"][g][one.users] * tables["items"][g][one.items]).sum(-1)
            + tables["user_bias"][g][one.users]
            + tables["item_bias"][g][one.items]
            + tables["bias"][g]
            for g in range(2)
        ]
    )
    torch.testing.assert_close(method.prediction(batch), logits)
    expected = torch.autograd.grad(
        method.pointwise(logits, batch.labels).mean(-1).sum(), list(tables.values())
    )
    part = method.prediction
    part.leaves = []
    loss = method.pointwise(part(batch), batch.labels).mean(-1)
    (slope,) = torch.autograd.grad(loss.sum(), [part.leaves[-1].value], retain_graph=True)
    part.leaves[-1].pull(slope, part.adam.gradients)
    for (name, found), gradient in zip(part.adam.gradients.items(), expected, strict=True):
        torch.testing.assert_close(found, gradient, msg=name)
        found.zero_()
    minimise(part, loss)
    assert part.leaves == []


def test_the_push_of_a_leaf_is_the_transpose_of_its_pull() -> None:
    one = data()
    kind = methods.get("mf")
    method = kind([kind.Config(embedding_size=3)] * 2, [0, 1], one)
    part = method.prediction
    batch = all_observed(one)
    for make in (lambda: part(batch), lambda: part.rows("users", batch.users), lambda: part.whole("bias")):
        value = make()
        leaf = part.leaves[-1]
        generator = torch.Generator().manual_seed(1)
        slope = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        direction = {
            name: torch.randn(table.shape, generator=generator, dtype=torch.float64)
            for name, table in part.tables.items()
        }
        pulled = {name: torch.zeros_like(table) for name, table in part.tables.items()}
        leaf.pull(slope, pulled)
        left = sum(float((pulled[name] * direction[name]).sum()) for name in pulled)
        right = float((slope * leaf.push(direction)).sum())
        assert left == pytest.approx(right, rel=1e-9)
