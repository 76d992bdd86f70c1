"""CausE: its loss, its mask, and the tie of its two tables."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import methods
from bench.config import EngineConfig
from bench.engine.sampling import Pairs
from bench.engine.training import Outcome, Validation, train
from methods.base import total
from tests.methods.small import Whole, all_observed, all_unbiased, built, data, gradients, plain_logits


def trained(key: str, **fields: float) -> Outcome:
    """Two members trained by the engine, on its batches and with its stop rule."""
    pairs = torch.tensor([[0, 1, 2, 3]] * 2)
    validation = Validation(pairs, pairs, torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2, dtype=torch.float64))
    kind = methods.get(key)
    config = kind.Config(embedding_size=3, batch_size=6, learning_rate=0.05, **fields)
    return train(
        kind([config] * 2, [0, 1], data(n_observed=24)), validation, EngineConfig(max_epochs=6, patience=3), 1
    )


@pytest.mark.parametrize(("mask", "unit", "weight"), [(True, "rating", 0.7 * 8 / 14), (False, "set", 0.7)])
def test_the_loss_is_the_formula(mask: bool, unit: str, weight: float) -> None:
    method = built("cause", distance_weight=0.3, unbiased_weight=0.7, unbiased_unit=unit, mask=mask)
    observed, unbiased = all_observed(method), all_unbiased(method)
    control = method.prediction.tables
    free = {name: table.clone().requires_grad_() for name, table in control.items()}
    twin = {name: table.clone().requires_grad_() for name, table in method.treatment.tables.items()}
    g = torch.arange(2).unsqueeze(-1)
    seen = torch.zeros(2, 5, dtype=torch.float64)
    for member in range(2):
        seen[member, method.data.unbiased_items[member]] = 1
    assert not bool(seen.all())  # the first member's A leaves an item out
    if not mask:
        seen[:] = 1
    distance = (free["items"][g, observed.items] - twin["items"].detach()[g, observed.items]).abs().sum(-1)
    expected = (
        method.pointwise(plain_logits(free, observed), observed.labels).mean(-1)
        + weight * method.pointwise(plain_logits({**free, **twin}, unbiased), unbiased.labels).mean(-1)
        + 0.3 * (seen[g, observed.items] * distance).mean(-1)
    )
    loss = total(method.losses(observed, unbiased))
    assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    slopes = torch.autograd.grad(expected.sum(), [*free.values(), *twin.values()])
    found = [*gradients(method.prediction, loss).values(), *gradients(method.treatment, loss).values()]
    for one, other in zip(found, slopes, strict=True):
        assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_by_default_every_rating_of_both_sets_counts_the_same() -> None:
    """The sum over all ratings of O and A, divided by |O|: 14 ratings, and 8 of each member's A."""
    method = built("cause", distance_weight=0.0)
    terms = method.losses(all_observed(method), all_unbiased(method))
    unbiased = all_unbiased(method)
    errors = method.pointwise(method.treatment(method.prediction, unbiased), unbiased.labels)
    assert errors.shape == (2, 8) and all_observed(method).labels.shape == (2, 14)
    assert_close(terms["unbiased"], errors.sum(-1) / 14)


def test_without_distance_and_unbiased_ratings_it_is_mf() -> None:
    cause, mf = (
        built("cause", distance_weight=0.0, unbiased_weight=0.0, spread=0.0),
        built("mf", spread=0.0),
    )
    for _ in range(5):
        cause.step(Whole(cause))
        mf.step(Whole(mf))
    for name, table in mf.prediction.tables.items():
        assert torch.equal(table, cause.prediction.tables[name])


def test_without_distance_and_unbiased_ratings_the_engine_trains_mf() -> None:
    """The same initial values, batches, criterion and choice of the best, bit for bit."""
    cause, mf = trained("cause", distance_weight=0.0, unbiased_weight=0.0), trained("mf")
    exact = {"rtol": 0, "atol": 0, "equal_nan": True}
    assert_close(cause.histories[0].criterion, mf.histories[0].criterion, **exact)
    assert int(mf.histories[0].best.max()) > 0  # somebody has moved
    for name, table in mf.method.prediction.tables.items():
        assert torch.equal(table, cause.method.prediction.tables[name])


def test_a_step_trains_both_and_the_control_predicts() -> None:
    method = built("cause")
    before = {name: table.clone() for name, table in method.treatment.tables.items()}
    method.step(Whole(method))
    reached = method.pulled > 0
    for name in ("items", "item_bias"):
        moved = method.treatment.tables[name] != before[name]
        assert bool(moved[reached].all()), name
    cells = torch.arange(30).expand(2, -1)
    pairs = Pairs(cells // 5, cells % 5)
    with torch.no_grad():
        assert torch.equal(method.score(pairs), torch.sigmoid(method.prediction(pairs)))
        assert not torch.equal(method.treatment(method.prediction, pairs), method.prediction(pairs))


def test_coverage_is_counted_in_a() -> None:
    """By hand: users 1 to 4 of 6 in both; all items but 3 in the first, all in the second."""
    found = built("cause").diagnostics()
    assert found["users_reached"].tolist() == pytest.approx([4 / 6, 4 / 6])
    assert found["items_reached"].tolist() == pytest.approx([4 / 5, 1.0])


def test_items_that_a_has_not_reached_are_not_pulled() -> None:
    method = built("cause", distance_weight=1.0, unbiased_weight=0.0)
    loss = total(method.losses(all_observed(method), all_unbiased(method)))
    found = gradients(method.prediction, loss)
    plain = built("mf")
    for name, table in plain.prediction.tables.items():
        table.copy_(method.prediction.tables[name])
    observed = all_observed(plain)
    loss = plain.pointwise(plain.prediction(observed), observed.labels).mean(-1)
    without = gradients(plain.prediction, loss)
    apart = (found["items"] - without["items"]).abs().sum(-1) > 1e-9  # (G, I); O has every item
    assert apart.tolist() == [[True, True, True, False, True], [True] * 5]


def test_the_tables_tie_on_covered_items() -> None:
    """With a frozen treatment and a large λ, within an Adam step of each of the K = 3 coordinates."""
    rate = 0.01
    method = built("cause", data(n_observed=28), distance_weight=100.0, learning_rate=rate, weight_decay=0.0)
    method.treatment.adam.learning_rate = torch.zeros_like(method.treatment.adam.learning_rate)
    start = method.treatment.tables["items"].clone()
    before = (method.prediction.tables["items"] - start).abs().sum(-1)
    for _ in range(600):
        method.step(Whole(method))
    assert torch.equal(method.treatment.tables["items"], start)
    gap = (method.prediction.tables["items"] - start).abs().sum(-1)  # (G, I)
    covered = method.pulled > 0
    assert not bool(covered.all()) and set(method.data.items.tolist()) == set(range(5))
    assert float(before[covered].min()) > 3 * rate
    assert float(gap[covered].max()) < 3 * rate
    assert float(gap[~covered].min()) > 3 * rate
